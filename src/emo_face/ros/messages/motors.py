"""Motors of an animatronic head behind the face driver node: rig, safety gate and bus, and their topics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emo_face.face.control.controller import FaceController
from emo_face.face.drivers import open_driver
from emo_face.face.drivers.trajectory import TrajectoryDriver, TrajectoryPoint
from emo_face.face.rig.rig import load_rig
from emo_face.ros import qos
from emo_face.ros.clock import duration_message
from emo_face.ros.diagnostics import ERROR, WARN

if TYPE_CHECKING:
    from emo_face.face.motion.player import FacePlayer
    from emo_face.ros.lifecycle import EmoNode


class Motors:
    """Moves the rig's motors as the player shows the face; every command passes the safety gate.

    With the rig's driver ``trajectory`` each pose goes to ``face/joint_trajectory`` for ros2_control, and
    ``joint_states`` tells where the joints are. Make one for the life of the node: topics are never destroyed.
    Without a rig it does nothing.

    Args:
        rig: file, or name in ``config/rigs``; empty for a screen only.
    """

    def __init__(self, node: EmoNode, rig: str) -> None:
        self._node, self._rig = node, rig
        self._control: FaceController | None = None
        if not rig:
            return
        from sensor_msgs.msg import JointState
        from trajectory_msgs.msg import JointTrajectory

        self._trajectory = node.publisher(JointTrajectory, "face/joint_trajectory", qos.reliable())
        node.subscription(JointState, "joint_states", self._on_joints, qos.sensor())

    @property
    def present(self) -> bool:
        """Whether there is a rig."""
        return bool(self._rig)

    def load(self, player: FacePlayer, kind: str, period: float) -> Callable[[float], object]:
        """Load the rig and its driver; returns what the loop must call at every tick.

        Args:
            kind: driver that replaces the rig's; empty keeps it. period: of the loop, seconds.

        Raises:
            ConfigError: the rig or its driver's options are wrong; names file, line and field.
        """
        if not self._rig:
            return player.tick
        rig = load_rig(self._rig)
        driver = open_driver(rig, period, kind or None)
        if isinstance(driver, TrajectoryDriver):
            driver.publish = self._publish
        self._control = FaceController(player, rig, driver, period)
        self._node.health.fact("rig", rig.name)
        return self._control.step

    def _publish(self, point: TrajectoryPoint) -> None:
        from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

        # a zero stamp asks the controller to start now
        msg = JointTrajectory(joint_names=list(point.joint_names))
        due = duration_message(point.time_from_start)
        pose = JointTrajectoryPoint(positions=point.positions, velocities=point.velocities, time_from_start=due)
        msg.points = [pose]
        self._trajectory.publish(msg)

    def _on_joints(self, msg: Any) -> None:
        driver = self._control.driver if self._control is not None else None
        if isinstance(driver, TrajectoryDriver):
            driver.measured(msg.name, msg.position)

    def enable(self, on: bool) -> None:
        """Torque on from the present pose, or off."""
        if self._control is not None:
            self._control.enable(on)

    def estop(self, on: bool) -> None:
        """Stop as the rig says; released, torque stays off until :meth:`enable`."""
        if self._control is None:
            return
        if on:
            self._control.estop()
        else:
            self._control.clear_estop()

    def close(self) -> None:
        """Torque off, bus released."""
        if self._control is not None:
            self._control.close()
        self._control = None

    def observe(self) -> None:
        """Put bus and gate into the node's diagnostics."""
        control, health = self._control, self._node.health
        if control is None:
            return
        bus = control.health
        for name, value in (
            ("bus.connected", bus.connected), ("bus.failures", bus.failures), ("bus.reconnects", bus.reconnects),
            ("gate.state", control.gate.state.value), ("gate.accepted", control.gate.accepted),
            ("gate.clamped", control.gate.clamped), ("gate.rejected", sum(control.gate.rejected.values())),
            ("gate.held_by_rules", control.gate.held_by_rules), ("gate.late_ticks", control.gate.late_ticks),
        ):  # fmt: skip
            health.fact(name, value)
        if bus.error:
            self._node.complain("bus", ERROR, f"motors: {bus.error}; connecting again")
        else:
            health.clear_condition("bus")
        if bus.faults:
            faults = ", ".join(f"{name}: {fault}" for name, fault in sorted(bus.faults.items()))
            self._node.complain("motors", WARN, f"motors report {faults}")
        else:
            health.clear_condition("motors")
