"""A fixed-rate loop in a thread of its own, on the steady clock, that knows how punctual it is."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np


class FixedRate:
    """Calls ``tick(now)`` every ``period`` seconds, on a schedule: a late tick does not delay the next one.

    Args:
        tick: called in the thread with steady seconds.
        failed: called in the thread with what ``tick`` raised; the loop goes on.

    Attributes:
        missed: periods left out because a tick came later than the next was due.
    """

    def __init__(
        self, name: str, rate: float, tick: Callable[[float], None], failed: Callable[[Exception], None]
    ) -> None:
        self.period = 1.0 / rate
        self.missed = 0
        self._tick = tick
        self._failed = failed
        self._late: deque[float] = deque(maxlen=600)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> FixedRate:
        """Begin now; returns itself."""
        self._thread.start()
        return self

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            now = time.monotonic()
            self._late.append(now - due)
            try:
                self._tick(now)
            except Exception as error:
                self._failed(error)
            due += self.period
            behind = int((time.monotonic() - due) / self.period)
            if behind > 0:
                self.missed += behind
                due += behind * self.period

    def wait_for(self, done: Callable[[], bool], timeout: float) -> bool:
        """Block another thread until ``done()`` holds after a tick; False after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while not done():
            if time.monotonic() > deadline or self._stop.wait(self.period):
                return False
        return True

    def jitter(self) -> tuple[float, float]:
        """(p50, p99) of the lateness of the last ticks, seconds."""
        late = np.array(self._late) if self._late else np.zeros(1)
        p50, p99 = np.percentile(late, (50, 99))
        return float(p50), float(p99)

    def stop(self, timeout: float = 2.0) -> bool:
        """End after the tick in hand; False when that takes longer than ``timeout`` seconds."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()
