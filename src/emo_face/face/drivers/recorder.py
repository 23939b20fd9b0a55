"""Record what a driver was told: alone, or around another driver."""

import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from emo_face.core.types import Array
from emo_face.face.drivers.base import Driver, Feedback
from emo_face.face.drivers.stop_report import StopReport, StopState


class RecorderDriver:
    """Keep every written position with its time; pass everything on to ``inner`` if there is one.

    Args:
        names: actuator names.
        inner: a driver with the same names, or None to record only.
        clock: seconds.
        limit: most rows kept; the oldest go first.

    Raises:
        ValueError: ``inner`` has other names.
    """

    def __init__(
        self,
        names: Sequence[str],
        inner: Driver | None = None,
        clock: Callable[[], float] = time.monotonic,
        limit: int = 360_000,
    ) -> None:
        if inner is not None and tuple(inner.names) != tuple(names):
            raise ValueError(f"recorder for {list(names)} around a driver for {list(inner.names)}")
        self.names, self._inner, self._clock, self._limit = tuple(names), inner, clock, limit
        self._rows: list[tuple[float, Array]] = []
        self._last = np.full(len(self.names), np.nan)
        self._on = False

    def connect(self, keep_torque: bool = False) -> None:
        if self._inner is not None:
            self._inner.connect(keep_torque)

    def enable(self, on: bool) -> None:
        self._on = on
        if self._inner is not None:
            self._inner.enable(on)

    def write(self, position: Array) -> None:
        self._last = position.copy()
        self._rows.append((self._clock(), self._last))
        if len(self._rows) > self._limit:
            del self._rows[: self._limit // 10]
        if self._inner is not None:
            self._inner.write(position)

    def read(self) -> Feedback:
        if self._inner is not None:
            return self._inner.read()
        return Feedback(self._last.copy(), np.full(len(self.names), np.nan))

    def torque(self) -> Array:
        return np.full(len(self.names), float(self._on)) if self._inner is None else self._inner.torque()

    def estop(self, patience: float = 0.15) -> StopReport:
        self._on = False
        return StopReport(StopState.STOPPED) if self._inner is None else self._inner.estop(patience)

    def interrupt(self) -> None:
        if self._inner is not None:
            self._inner.interrupt()

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()

    def frames(self) -> tuple[Array, Array]:
        """(k,) times in seconds and (k, n) positions in actuator units."""
        if not self._rows:
            return np.zeros(0), np.zeros((0, len(self.names)))
        return np.array([t for t, _ in self._rows]), np.stack([p for _, p in self._rows])

    def save(self, path: Path) -> None:
        """Write a CSV file: ``time`` in seconds from the first row, then one column per actuator."""
        times, positions = self.frames()
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["time", *self.names])
            for t, row in zip(times - (times[0] if times.size else 0.0), positions, strict=True):
                out.writerow([f"{t:.6f}", *(f"{v:.6f}" for v in row)])
