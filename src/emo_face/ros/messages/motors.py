"""Motors of an animatronic head and ROS: their topics, how they are opened, and what diagnostics report about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emo_face.face.control.controller import FaceController
from emo_face.face.drivers.trajectory import Trajectory, TrajectoryDriver
from emo_face.ros import qos
from emo_face.ros.clock import duration_message
from emo_face.ros.diagnostics import ERROR, WARN

if TYPE_CHECKING:
    from emo_face.ros.lifecycle import EmoNode


class MotorTopics:
    """``face/joint_trajectory`` for ros2_control, and ``joint_states`` that tell where the joints are.

    Make one for the life of the node: topics are never destroyed.
    """

    def __init__(self, node: EmoNode) -> None:
        from sensor_msgs.msg import JointState
        from trajectory_msgs.msg import JointTrajectory

        self._trajectory = node.publisher(JointTrajectory, "face/joint_trajectory", qos.reliable())
        node.subscription(JointState, "joint_states", self._on_joints, qos.sensor())
        self.driver: TrajectoryDriver | None = None

    def publish(self, trajectory: Trajectory) -> None:
        """Send a trajectory that starts now (a zero stamp asks the controller for that)."""
        from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

        msg = JointTrajectory(joint_names=list(trajectory.joint_names))
        msg.points = [
            JointTrajectoryPoint(
                positions=point.positions,
                velocities=point.velocities,
                time_from_start=duration_message(point.time_from_start),
            )
            for point in trajectory.points
        ]
        self._trajectory.publish(msg)

    def _on_joints(self, msg: Any) -> None:
        if self.driver is not None:
            self.driver.measured(msg.name, msg.position)


def observe_motors(node: EmoNode, control: FaceController) -> None:
    """Put bus, gate and emergency stop into the node's diagnostics."""
    bus, gate = control.health, control.gate
    node.health.facts(
        {
            "bus.connected": bus.connected,
            "bus.failures": bus.failures,
            "bus.reconnects": bus.reconnects,
            "gate.state": gate.state.value,
            "gate.accepted": gate.accepted,
            "gate.clamped": gate.clamped,
            "gate.rejected": sum(gate.rejected.values()),
            "gate.held_by_rules": gate.held_by_rules,
            "gate.late_ticks": gate.late_ticks,
        }
    )
    node.report_while(bus.error, "bus", ERROR, f"motors: {bus.error}; connecting again")
    faults = ", ".join(f"{name}: {fault}" for name, fault in sorted(bus.faults.items()))
    node.report_while(faults, "motors", WARN, f"motors report {faults}")
