"""Joint trajectories for ros2_control, as data: the node turns them into ``trajectory_msgs``.

joint_trajectory_controller refuses a message whose last point has a velocity, unless
``allow_nonzero_velocity_at_trajectory_end`` is set. So each one has two points: the pose that is due, with its
velocity, and a rest behind it, braked to gently. The next message replaces the rest before it is reached; if none
comes, because this program is gone, the controller brakes and holds by itself.

The controller goes as fast as the times say, whatever the joints can bear. So where it may stand elsewhere than the
path (no joint states yet, or a gap that it has braked in), the poses are due so late that no way is too fast.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emo_face.core.types import Array
from emo_face.face.drivers.base import Driver, DriverError, Feedback
from emo_face.face.drivers.stop_report import StopReport, StopState

LEAD = 1.5
"""Periods from now at which the pose of a tick is due."""
HEARD = 1.0
"""Seconds for which joint states tell where the joints are."""
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
        limits: lowest and highest position, velocity and acceleration of braking, (n,) or scalar each.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        names: Sequence[str],
        publish: Callable[[Trajectory], None] | None = None,
        period: float = 0.01,
        limits: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike] = (-np.inf, np.inf, np.inf, np.inf),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.names, self.publish, self.period = tuple(names), publish, period
        self._lower, self._upper, self._velocity, self._acceleration = (np.asarray(v, np.float64) for v in limits)
        self._span = np.nan_to_num(self._upper - self._lower, posinf=0.0)
        self._clock, self._heard = clock, -np.inf
        self._last: tuple[float, Array, Array] | None = None  # when, the pose, and the rest behind it
        self._there = -np.inf  # when the controller is on the path
        self._measured = np.full(len(self.names), np.nan)

    def connect(self, keep_torque: bool = False) -> None:
        if self.publish is None:
            raise DriverError("trajectory driver: nothing to publish to; the node sets `publish` when it is configured")

    def enable(self, on: bool) -> None:
        self._last = None

    def write(self, position: Array) -> None:
        if self.publish is None:
            raise DriverError("trajectory driver: nothing to publish to")
        now = self._clock()
        when, before, rest = self._last or (now, position, self.read().position)
        ticks = max(1, round((now - when) / self.period))
        if self._last is None or ticks > SHORTEST_BRAKE:
            way = np.where(np.isfinite(rest), np.abs(position - rest), self._span)
            # a cubic from rest to rest has 3/2 of its mean velocity in the middle, and 6 way / time^2 at its ends
            times = np.maximum(1.5 * way / self._velocity, np.sqrt(6 * way / self._acceleration))
            self._there, before = now + float(times.max()), position
        rate = (position - before) / (ticks * self.period)
        brake = max(SHORTEST_BRAKE * self.period, float((np.abs(rate) / self._acceleration).max()))
        rest = np.clip(position + 0.5 * brake * rate, self._lower, self._upper)
        self._last = now, position.copy(), rest
        due, still = max(LEAD * self.period, self._there - now), (0.0,) * len(self.names)
        pose = TrajectoryPoint(tuple(position.tolist()), tuple(rate.tolist()), due)
        self.publish(Trajectory(self.names, (pose, TrajectoryPoint(tuple(rest.tolist()), still, due + brake))))

    def measured(self, names: Sequence[str], positions: Sequence[float]) -> None:
        """Take joint states, so that enabling starts from the present pose; unknown joints are ignored."""
        for name, value in zip(names, positions, strict=False):
            if name in self.names:
                self._measured[self.names.index(name)] = value
                self._heard = self._clock()

    def read(self) -> Feedback:
        unknown = np.full(len(self.names), np.nan)
        return Feedback(self._measured.copy() if self._clock() - self._heard < HEARD else unknown, unknown)

    def torque(self) -> Array:
        return np.full(len(self.names), np.nan)

    def estop(self, patience: float = 0.15) -> StopReport:
        """Nothing to send: without new points the controller brakes and holds."""
        self._last = None
        detail = "the controller brakes and holds; deactivate it or cut the power"
        return StopReport(StopState.CANNOT, self.names, detail)

    def close(self) -> None:
        self._last = None
