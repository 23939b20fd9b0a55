"""Joint trajectories for ros2_control, as data: the node turns them into ``trajectory_msgs``.

joint_trajectory_controller refuses a message whose last point has a velocity, unless
``allow_nonzero_velocity_at_trajectory_end`` is set. So each one has two points: the pose that is due, with its
velocity, and a rest behind it, braked to gently. The next message replaces the rest before it is reached; if none
comes, because this program is gone, the controller brakes and holds by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emo_face.core.types import Array
from emo_face.face.drivers.base import Driver, DriverError, Feedback
from emo_face.face.drivers.stop_report import StopReport, StopState

LEAD = 1.5
"""Periods from now at which the pose of a tick is due."""
SHORTEST_BRAKE = 4.0
"""Periods that braking takes at least, so that the rest lies beyond the next message."""


@dataclass(frozen=True, slots=True)
class TrajectoryPoint:
    """Where the joints are due: ``positions`` and ``velocities`` (n,) in rad and rad/s, ``time_from_start`` in s."""

    positions: tuple[float, ...]
    velocities: tuple[float, ...]
    time_from_start: float


@dataclass(frozen=True, slots=True)
class Trajectory:
    """What one tick asks of a joint trajectory controller: ``joint_names`` (n,), ``points`` in order of time."""

    joint_names: tuple[str, ...]
    points: tuple[TrajectoryPoint, ...]

    @property
    def velocities(self) -> tuple[float, ...]:
        """(n,) of the last point: what the controller looks at before it accepts."""
        return self.points[-1].velocities


class TrajectoryDriver(Driver):
    """Hand each tick's pose to ``publish``.

    Args:
        names: joint names.
        publish: takes a :class:`Trajectory`; called in the loop's thread. May be set later (:attr:`publish`).
        period: seconds between two writes.
        limits: lowest and highest position and the acceleration of braking, (n,) or scalar each.
    """

    def __init__(
        self,
        names: Sequence[str],
        publish: Callable[[Trajectory], None] | None = None,
        period: float = 0.01,
        limits: tuple[ArrayLike, ArrayLike, ArrayLike] = (-np.inf, np.inf, np.inf),
    ) -> None:
        self.names, self.publish, self.period = tuple(names), publish, period
        self._lower, self._upper, self._acceleration = (np.asarray(v, np.float64) for v in limits)
        self._last: Array | None = None
        self._measured = np.full(len(self.names), np.nan)

    def connect(self, keep_torque: bool = False) -> None:
        if self.publish is None:
            raise DriverError("trajectory driver: nothing to publish to; the node sets `publish` when it is configured")

    def enable(self, on: bool) -> None:
        self._last = None

    def write(self, position: Array) -> None:
        if self.publish is None:
            raise DriverError("trajectory driver: nothing to publish to")
        before = position if self._last is None else self._last
        rate = (position - before) / self.period
        self._last = position.copy()
        brake = max(SHORTEST_BRAKE * self.period, float((np.abs(rate) / self._acceleration).max()))
        rest = np.clip(position + 0.5 * brake * rate, self._lower, self._upper)
        due, still = LEAD * self.period, (0.0,) * len(self.names)
        pose = TrajectoryPoint(tuple(position.tolist()), tuple(rate.tolist()), due)
        self.publish(Trajectory(self.names, (pose, TrajectoryPoint(tuple(rest.tolist()), still, due + brake))))

    def measured(self, names: Sequence[str], positions: Sequence[float]) -> None:
        """Take joint states, so that enabling starts from the present pose; unknown joints are ignored."""
        for name, value in zip(names, positions, strict=False):
            if name in self.names:
                self._measured[self.names.index(name)] = value

    def read(self) -> Feedback:
        return Feedback(self._measured.copy(), np.full(len(self.names), np.nan))

    def torque(self) -> Array:
        return np.full(len(self.names), np.nan)

    def estop(self, patience: float = 0.15) -> StopReport:
        """Nothing to send: without new points the controller brakes and holds."""
        self._last = None
        detail = "the controller brakes and holds; deactivate it or cut the power"
        return StopReport(StopState.CANNOT, self.names, detail)

    def close(self) -> None:
        self._last = None
