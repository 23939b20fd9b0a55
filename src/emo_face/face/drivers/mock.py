"""A simulated bus: first-order lag, friction and optional faults. For tests, demos and machines without motors."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from emo_face.core.types import Array
from emo_face.face.drivers.base import Driver, DriverError, Feedback
from emo_face.face.drivers.stop_report import StopReport, StopState


class MockDriver(Driver):
    """Actuators that follow their target with a lag and stick if the error is too small to overcome friction.

    Args:
        names: actuator names.
        start: (n,) position at power-on, actuator units.
        lag: time constant in seconds, > 0.
        friction: (n,) or scalar, position error in actuator units below which an actuator at rest does not move.
        dt: seconds between two writes.
        full_load: (n,) or scalar, position error in actuator units that takes all of the motor's strength.
        stops: lowest and highest position, (n,) or scalar each, that the mechanics allow.

    Attributes:
        torque_on: whether the motors have torque; they keep it while unplugged.
    """

    def __init__(
        self,
        names: Sequence[str],
        start: ArrayLike = 0.0,
        lag: float = 0.02,
        friction: ArrayLike = 0.0,
        dt: float = 0.01,
        full_load: ArrayLike = np.inf,
        stops: tuple[ArrayLike, ArrayLike] = (-np.inf, np.inf),
    ) -> None:
        self.names = tuple(names)
        n = len(self.names)
        self._position = np.array(np.broadcast_to(np.asarray(start, dtype=np.float64), (n,)))
        self._target = self._position.copy()
        self._friction = np.array(np.broadcast_to(np.asarray(friction, dtype=np.float64), (n,)))
        self._share = 1.0 - float(np.exp(-dt / lag))
        self._moving = np.zeros(n, dtype=bool)
        self._full_load = np.array(np.broadcast_to(np.asarray(full_load, dtype=np.float64), (n,)))
        self._stops = np.asarray(stops[0], dtype=np.float64), np.asarray(stops[1], dtype=np.float64)
        self.connected = self.torque_on = False
        self.unplugged = False
        self.writes = 0

    @property
    def target(self) -> Array:
        """(n,) last written target; a copy."""
        return self._target.copy()

    def connect(self, keep_torque: bool = False) -> None:
        if self.unplugged:
            raise DriverError("mock bus: unplugged; plug it in again")
        self.connected = True
        self.torque_on &= keep_torque

    def enable(self, on: bool) -> None:
        self._check()
        if on and self.torque_on:
            return
        self._target[:] = self._position
        self.torque_on = on

    def write(self, position: Array) -> None:
        self._check()
        if position.shape != self._target.shape or not np.isfinite(position).all():
            raise DriverError(f"mock bus: expected {self._target.shape} finite positions, got {position!r}")
        self.writes += 1
        if not self.torque_on:
            return
        self._target[:] = position
        error = self._target - self._position
        self._moving = np.abs(error) > np.where(self._moving, 0.25, 1.0) * self._friction
        self._position += np.where(self._moving, self._share * error, 0.0)
        np.clip(self._position, *self._stops, out=self._position)

    def read(self) -> Feedback:
        self._check()
        strain = (self._target - self._position) / self._full_load if self.torque_on else np.zeros_like(self._position)
        return Feedback(self._position.copy(), np.clip(strain, -1.0, 1.0), torque=self.torque())

    def torque(self) -> Array:
        if self.unplugged:
            raise DriverError("mock bus: unplugged; plug it in again")
        return np.full(len(self.names), float(self.torque_on))

    def estop(self, patience: float = 0.15) -> StopReport:
        if self.unplugged:
            return StopReport(StopState.NOT_OFF, self.names, "mock bus: unplugged; plug it in again")
        self.torque_on = False
        return StopReport(StopState.STOPPED)

    def close(self) -> None:
        self.connected = False

    def push(self, position: ArrayLike) -> None:
        """Move the actuators by hand, as a person could while torque is off."""
        self._position[:] = position

    def _check(self) -> None:
        if self.unplugged:
            self.connected = False
            raise DriverError("mock bus: unplugged; plug it in again")
        if not self.connected:
            raise DriverError("mock bus: not connected; call connect()")
