"""Drive a head: faces in, safe motion of its actuators out, in a loop of its own."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike

from emo_face.api.say import SayResult
from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.errors import UserError
from emo_face.core.types import Array
from emo_face.face.control.bus_health import BusHealth
from emo_face.face.control.controller import FaceController
from emo_face.face.control.loop import FixedRateLoop
from emo_face.face.drivers import StopReport, open_driver
from emo_face.face.motion.motion import FaceMotion
from emo_face.face.rig.rig import Rig, load_rig

CONNECT_LIMIT = 5.0
"""Seconds that entering the ``with`` block waits at most for the bus."""

EASE_LIMIT = 3.0
"""Seconds that leaving the ``with`` block waits at most for the head to come to rest at neutral."""

REST = 0.01
"""Share of its range within which an actuator counts as back at neutral."""


class DrivenHead:
    """A head that moves: motion -> rig -> safety gate -> driver, at a fixed rate in a thread. Made by :func:`drive`.

    Use it in a ``with`` block: entering connects and switches torque on, leaving eases to neutral, switches torque off
    and releases the bus. Every method may be called from any thread. Entering raises UserError if the bus does not
    answer; if it fails later, :attr:`health` says so and the loop reconnects.
    """

    def __init__(self, rig: Rig, control: FaceController, motion: FaceMotion, loop: FixedRateLoop) -> None:
        self._rig = rig
        self._control, self._motion, self._loop = control, motion, loop

    def show(self, face: SayResult | Mapping[str, float] | ArrayLike, seconds: float = 5.0) -> None:
        """Move to a face and hold it; without another one the head then eases to neutral.

        Args:
            face: what :func:`emo_face.say` returned, ARKit name -> value, or 52 values in the order of ``ARKIT_52``.
                Values outside [0, 1] are cut.
            seconds: more than 0.

        Raises:
            UserError: an unknown channel, not 52 finite values, or ``seconds`` is not positive.
        """
        if not (math.isfinite(seconds) and seconds > 0):
            raise UserError(f"seconds: {seconds}, expected more than 0")
        arousal = face.emotion.arousal if isinstance(face, SayResult) else 0.0
        self._motion.set_target(_arkit(face), time.monotonic(), seconds, arousal=arousal)

    def neutral(self) -> None:
        """Ease to neutral."""
        self._motion.neutral(time.monotonic())

    def estop(self) -> StopReport:
        """Stop now, as the rig says, and stay stopped; says what is true of the motors after at most half a second."""
        return self._control.estop()

    @property
    def units(self) -> dict[str, str]:
        """Actuator -> unit of its positions: ``rad``, ``us`` (pulse width), ``ticks`` or ``share``."""
        return dict(zip(self._rig.names, self._rig.units, strict=True))

    @property
    def positions(self) -> dict[str, float]:
        """Actuator -> commanded position, in its own unit."""
        return dict(zip(self._rig.names, map(float, self._control.output.position), strict=True))

    @property
    def health(self) -> BusHealth:
        """Whether the bus works, and what it reported."""
        return self._control.health

    def __enter__(self) -> DrivenHead:
        self._loop.start()
        limit = time.monotonic() + CONNECT_LIMIT
        while not (self.health.connected or self.health.failures) and time.monotonic() < limit:
            time.sleep(self._loop.period)
        if not self.health.connected:
            reason = self.health.error or f"no answer within {CONNECT_LIMIT:.0f} s"
            self._loop.stop()
            self._control.close()
            raise UserError(f"rig {self._rig.name!r}, driver {type(self._control.driver).__name__}: {reason}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.neutral()
        limit = time.monotonic() + EASE_LIMIT
        while time.monotonic() < limit and self.health.connected and not self._at_rest():
            time.sleep(self._loop.period)
        self._loop.stop()
        self._control.close()

    def _at_rest(self) -> bool:
        limits = self._rig.limits
        away = np.abs(self._control.output.position - self._rig.targets(np.zeros(len(ARKIT_52))))
        return self._motion.settled and bool((away <= REST * (limits.upper - limits.lower)).all())


def drive(
    rig: str | os.PathLike[str],
    driver: str | None = None,
    rate: float = 100.0,
    layers: Sequence[str] = ("blink",),
    **options: str | float | bool,
) -> DrivenHead:
    """Open a head for driving; nothing moves before the ``with`` block is entered.

    Args:
        rig: a rig file, or the name of a packaged one (``minimal_4servo``, ``head_12servo``, ``head_25channel``).
        driver: another driver than the rig's: ``mock`` moves nothing, on any machine.
        rate: Hz of the loop.
        layers: what keeps the face alive: ``blink``, ``saccades``, ``gaze``, ``breathing``, ``lips``.
        options: of the driver, for example ``port="/dev/ttyUSB0"``.

    Raises:
        ConfigError: the rig or the driver's options are wrong; names file, line and field.
        ValueError: an unknown layer, or a rate outside 1 to 1000 Hz.
    """
    checked, period = load_rig(os.fspath(rig)), 1.0 / rate
    motion = FaceMotion(period, layers=layers)
    control = FaceController(motion, checked, open_driver(checked, period, driver, **options), period)
    return DrivenHead(checked, control, motion, FixedRateLoop(control.step, rate, realtime=False))


def _arkit(face: SayResult | Mapping[str, float] | ArrayLike) -> Array:
    if isinstance(face, SayResult):
        return face.arkit
    if isinstance(face, Mapping):
        strange = sorted(set(face) - set(ARKIT_INDEX))
        if strange:
            raise UserError(f"face: unknown channel {strange[0]!r}, expected ARKit names such as mouthSmileLeft")
        face = [face.get(name, 0.0) for name in ARKIT_52]
    values = np.asarray(face, dtype=np.float64)
    if values.shape != (len(ARKIT_52),) or not np.isfinite(values).all():
        raise UserError(f"face: expected {len(ARKIT_52)} finite values, got shape {values.shape}")
    return values
