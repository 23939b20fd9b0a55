"""A rig as the files that ROS's own tools take: a URDF for RViz and ros2_control, and the controllers' parameters.

Each actuator is a joint on a link of its own below the head: a pointer that stands where the actuator moves the face,
and tips the way the face goes.
"""

from xml.sax.saxutils import quoteattr

import numpy as np

from emo_face.core.errors import UserError
from emo_face.face.rig.rig import Rig
from emo_face.face.sim.head import AXES, face_joints, origin, pose

LEVER = 0.02
"""Metres that a radian of a face's part counts, to compare it with parts that slide."""
ELSEWHERE = (0.046, 0.0, -0.088)
"""Where what moves nothing of the simulated face has its pointer: at the chin."""
TIPS = {"x": "0 0 {}", "z": "0 {} 0", "turn": "{} 0 0", "pan": "0 0 {}", "tilt": "0 {} 0"}
"""Axis of the face's part -> of the joint; x ahead, y to the robot's left, z up. Up is a negative turn about y."""


def urdf(rig: Rig) -> str:
    """The robot description, with ros2_control's simulated hardware (mock_components/GenericSystem).

    Raises:
        UserError: an actuator is not in rad; names it.
    """
    _in_radians(rig)
    links = "".join(_joint(rig, i) for i in range(len(rig.names)))
    interfaces = "".join(_interface(rig, i) for i in range(len(rig.names)))
    return f"""<?xml version="1.0"?>
<!-- Made from a rig by `emo-face rig urdf`. Ranges and speeds are the rig's, in rad and rad/s.
     GenericSystem simulates the motors: replace the plugin by the one of your bus. -->
<robot name={quoteattr(rig.name)}>
  <link name="head">
    <visual>
      <origin xyz="-0.012 0 0.012"/>
      <geometry><sphere radius="0.085"/></geometry>
      <material name="skin"><color rgba="0.93 0.80 0.68 1"/></material>
    </visual>
  </link>
{links}  <ros2_control name={quoteattr(rig.name)} type="system">
    <hardware>
      <plugin>mock_components/GenericSystem</plugin>
      <param name="calculate_dynamics">true</param>
    </hardware>
{interfaces}  </ros2_control>
</robot>
"""


def controllers(rig: Rig) -> str:
    """Parameters of ``ros2_control_node``: a joint_trajectory_controller that takes what the face driver publishes.

    Raises:
        UserError: as :func:`urdf`.
    """
    _in_radians(rig)
    joints = "".join(f"      - {name}\n" for name in rig.names)
    return f"""# Made from the rig {rig.name} by `emo-face rig controllers`; the URDF by `emo-face rig urdf`.
# A joint_trajectory_controller with its defaults takes what the face driver publishes on face/joint_trajectory:
#
#   ros2 run robot_state_publisher robot_state_publisher {rig.name}.urdf
#   ros2 run controller_manager ros2_control_node --ros-args --params-file controllers.yaml \\
#     -r ~/robot_description:=/robot_description
#   ros2 run controller_manager spawner joint_state_broadcaster face_controller
#   emo-face up --set face_driver.rig={rig.name} --set face_driver.rig_driver=trajectory \\
#     --remap face/joint_trajectory:=face_controller/joint_trajectory
#   rviz2 -d config/views/face.rviz
#
# Not run by the developers against a real controller_manager (it is not on PyPI); the rules of the messages are tested.
controller_manager:
  ros__parameters:
    update_rate: 200
    joint_state_broadcaster:
      type: joint_state_broadcaster/JointStateBroadcaster
    face_controller:
      type: joint_trajectory_controller/JointTrajectoryController

face_controller:
  ros__parameters:
    joints:
{joints}    command_interfaces: [position]
    state_interfaces: [position, velocity]
    # every message continues the one before it: start from what was commanded, not from where the motors lag behind
    interpolate_from_desired_state: true
    # the default, named here because it decides what is accepted: each message ends at rest
    allow_nonzero_velocity_at_trajectory_end: false
    # the time-out of this bus: seconds after the end of the last message until the controller holds by itself
    cmd_timeout: 0.5
    constraints:
      goal_time: 0.2
"""


def _in_radians(rig: Rig) -> None:
    for name, unit in zip(rig.names, rig.units, strict=True):
        if unit != "rad":
            raise UserError(
                f"{rig.source.path}: actuator {name}: expected unit rad, got {unit}: joints of ROS turn in radians"
            )


def _joint(rig: Rig, i: int) -> str:
    name, limits = rig.names[i], rig.limits
    at, axis = _pointer(rig, i)
    place = " ".join(f"{value:.4g}" for value in at)
    return f"""  <link name="{name}_link">
    <visual>
      <origin xyz="0.03 0 0"/>
      <geometry><box size="0.06 0.006 0.006"/></geometry>
      <material name="dark"><color rgba="0.16 0.11 0.10 1"/></material>
    </visual>
  </link>
  <joint name="{name}" type="revolute">
    <parent link="head"/>
    <child link="{name}_link"/>
    <origin xyz="{place}"/>
    <axis xyz="{axis}"/>
    <limit lower="{limits.lower[i]:g}" upper="{limits.upper[i]:g}" velocity="{limits.velocity[i]:g}" effort="1.0"/>
  </joint>
"""


def _pointer(rig: Rig, i: int) -> tuple[tuple[float, float, float], str]:
    """Where the actuator moves the face most, and the axis about which its joint turns the way the face goes."""
    rest, best, found = pose(rig.shown_at(np.zeros(len(rig.names)))), 1e-6, (ELSEWHERE, "0 0 1")
    for position in (rig.limits.upper[i], rig.limits.lower[i]):
        there = rig.limits.neutral.copy()
        there[i] = position
        moved = pose(rig.shown_at(rig.drive(there))) - rest
        for joint, way in zip(face_joints(), moved, strict=True):
            part, axis = joint.name.split(".")
            size = abs(way) * (LEVER if AXES[axis] == "hinge" else 1.0)
            if size > best:
                closes = part.startswith("lid")
                kind, sign = ("tilt", -1.0) if closes else (axis, 1.0)
                sign *= (
                    np.sign(way) * np.sign(position - rig.limits.neutral[i]) * (-1.0 if kind in ("z", "tilt") else 1.0)
                )
                x, y, z = origin(part)
                best, found = size, ((-y - 0.02, x, z), TIPS[kind].format(f"{sign:g}"))
    return found


def _interface(rig: Rig, i: int) -> str:
    limits = rig.limits
    return f"""    <joint name="{rig.names[i]}">
      <command_interface name="position">
        <param name="min">{limits.lower[i]:g}</param>
        <param name="max">{limits.upper[i]:g}</param>
      </command_interface>
      <state_interface name="position">
        <param name="initial_value">{limits.neutral[i]:g}</param>
      </state_interface>
      <state_interface name="velocity"/>
    </joint>
"""
