"""One-point joint trajectories for ros2_control, as data: the node turns them into ``trajectory_msgs``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_face.face.drivers.base import DriverError, Feedback

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrajectoryPoint:
    """What one tick asks of a joint trajectory controller.

    Attributes:
        joint_names: (n,). positions: (n,), actuator units (rad for ros2_control).
        velocities: (n,) unit/s, so that the controller's spline does not stop at every point.
        time_from_start: seconds from now at which the pose is due.
    """

    joint_names: tuple[str, ...]
    positions: tuple[float, ...]
    velocities: tuple[float, ...]
    time_from_start: float


class TrajectoryDriver:
    """Hand each tick's pose to ``publish``.

    Args:
        names: joint names.
        publish: takes a :class:`TrajectoryPoint`; called in the loop's thread. May be set later (:attr:`publish`).
        period: seconds between two writes; points are due one and a half periods ahead.
    """

    def __init__(
        self, names: Sequence[str], publish: Callable[[TrajectoryPoint], None] | None = None, period: float = 0.01
    ) -> None:
        self._names, self.publish, self.period = tuple(names), publish, period
        self._last: Array | None = None
        self._measured = np.full(len(self._names), np.nan)

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    def connect(self) -> None:
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
        self.publish(TrajectoryPoint(self._names, tuple(position.tolist()), tuple(rate.tolist()), 1.5 * self.period))

    def measured(self, names: Sequence[str], positions: Sequence[float]) -> None:
        """Take joint states, so that enabling starts from the present pose; unknown joints are ignored."""
        for name, value in zip(names, positions, strict=False):
            if name in self._names:
                self._measured[self._names.index(name)] = value

    def read(self) -> Feedback:
        return Feedback(self._measured.copy(), np.full(len(self._names), np.nan))

    def estop(self) -> None:
        """Nothing to send: without new points the controller holds; cut power by the hardware's own means."""
        self._last = None

    def close(self) -> None:
        self._last = None
