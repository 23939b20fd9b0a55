"""A head for MuJoCo, made from a rig file and a small table of parts: servos that move, and a face that shows where.

Each actuator is a hinge with a position servo, the rig's own way, friction and inertia. The parts of the face
(brows, eyes, lids, lips, chin) stand where the rig says that a face with its actuators there is
(:meth:`emo_face.face.rig.rig.Rig.shown_at`): so any rig has a face, and one without a brow has a still one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.paths import data_table
from emo_face.core.types import FloatArray
from emo_face.face.rig.rig import Rig

TABLE = "sim_head.yaml"
EYE = 0.021  # m, radius
LID = 1.13  # of the eye's radius
SIDES = {"Left": 1.0, "Right": -1.0}
AXES = {"x": "slide", "z": "slide", "turn": "hinge", "pan": "hinge", "tilt": "hinge"}
LIPS = ("upper", "lower")
BETWEEN = {f"{lip}{side}": (f"corner{side}", f"{lip}_lip") for lip in LIPS for side in SIDES}
"""Points of the lips between a corner and the middle."""
ACROSS, HIGH, OUT = 0.5, 0.8, 0.002
"""Shares of the way from corner to middle that they stand across and high, and how far out, m."""
SKIN, DARK, LIP, WHITE = "0.93 0.80 0.68 1", "0.16 0.11 0.10 1", "0.72 0.27 0.27 1", "0.97 0.97 0.95 1"
EYELID = "0.86 0.71 0.60 1"
SERVO = {"kp": 12.0, "damping": 0.25, "friction": 0.02, "inertia": 0.004, "force": 6.0}
"""Of a small servo at the scale of 1 rad for its whole way: N m/rad, N m s/rad, N m, kg m2, N m."""


@dataclass(frozen=True)
class Joint:
    """One moving part's freedom: (52,) metres or radians per channel."""

    name: str
    weights: FloatArray


def _table() -> Any:
    return data_table(TABLE)["parts"]


def face_joints() -> list[Joint]:
    """Every joint of the face, in the order of the model."""
    return list(_joints())


def _joints() -> Iterator[Joint]:
    for part, body in _table().items():
        for side, sign in SIDES.items() if _paired(part) else (("", 1.0),):
            for axis in AXES:
                if axis not in body:
                    continue
                weights = np.zeros(len(ARKIT_INDEX))
                for channel, value in body[axis].items():
                    weights[ARKIT_INDEX[channel.format(side=side)]] += value
                scale = math.pi / 180 if AXES[axis] == "hinge" else 1.0
                mirrored = sign if axis in ("x", "pan", "turn") and part != "lid" else 1.0
                yield Joint(f"{part}{side}.{axis}", scale * mirrored * weights)


def pose(arkit: FloatArray) -> FloatArray:
    """(k,) positions of :func:`face_joints`, m and rad, of a face (52,)."""
    return np.array([joint.weights @ arkit for joint in face_joints()])


def origin(part: str) -> tuple[float, float, float]:
    """Metres, in the model's own axes, of a part with its side: ``browLeft``."""
    side = next((side for side in SIDES if part.endswith(side)), "")
    x, y, z = _table()[part.removesuffix(side)]["at"]
    return SIDES.get(side, 1.0) * x, y, z


def model_xml(rig: Rig) -> str:
    """The model as MJCF: first one hinge per actuator, then the joints of the face. Angles in radians."""
    servos = "".join(
        f'<body pos="0 0.03 0"><joint name="servo.{name}" type="hinge" axis="1 0 0" range="-1 1" limited="true" '
        f'damping="{SERVO["damping"]}" frictionloss="{SERVO["friction"]}" armature="{SERVO["inertia"]}"/>'
        '<geom type="sphere" size="0.002" mass="0.001" rgba="0 0 0 0"/></body>'
        for name in rig.names
    )
    motors = "".join(
        f'<position name="{name}" joint="servo.{name}" kp="{SERVO["kp"]}" ctrlrange="-1 1" '
        f'forcerange="-{SERVO["force"]} {SERVO["force"]}"/>'
        for name in rig.names
    )
    return f"""<mujoco model="{rig.name}">
  <compiler angle="radian" autolimits="true"/>
  <option gravity="0 0 0" timestep="0.002" integrator="implicitfast"><flag contact="disable"/></option>
  <visual><headlight ambient="0.38 0.38 0.38" diffuse="0.45 0.45 0.45" specular="0.1 0.1 0.1"/>
    <quality offsamples="0" shadowsize="0"/><global offwidth="1280" offheight="1280"/></visual>
  <asset><mesh name="lid" vertex="{_lid()}"/>
    <texture type="skybox" builtin="gradient" rgb1="0.16 0.19 0.24" rgb2="0.08 0.09 0.12" width="64"
      height="384"/></asset>
  <worldbody>
    <light pos="-0.4 -0.8 0.7" dir="0.4 0.8 -0.6" diffuse="0.5 0.5 0.5" castshadow="false"/>
    <camera name="front" pos="0 -0.62 0" xyaxes="1 0 0 0 0 1" fovy="27"/>
    {servos}
    {_still()}
    {"".join(_face())}
  </worldbody>
  <tendon>{_tendon("upper")}{_tendon("lower")}</tendon>
  <actuator>{motors}</actuator>
</mujoco>"""


def _still() -> str:
    """What does not move: skull, ears, nose, neck, the dark behind the lips."""
    return (
        f'<geom type="ellipsoid" size="0.088 0.092 0.118" pos="0 0.012 0.012" rgba="{SKIN}"/>'
        f'<geom type="ellipsoid" size="0.010 0.012 0.018" pos="0 -0.086 -0.012" rgba="{SKIN}"/>'
        f'<geom type="ellipsoid" size="0.012 0.02 0.024" pos="0.089 0.02 0.01" rgba="{SKIN}"/>'
        f'<geom type="ellipsoid" size="0.012 0.02 0.024" pos="-0.089 0.02 0.01" rgba="{SKIN}"/>'
        '<geom type="capsule" size="0.042" fromto="0 0.03 -0.09 0 0.03 -0.19" rgba="0.30 0.34 0.40 1"/>'
        '<geom type="ellipsoid" size="0.028 0.022 0.022" pos="0 -0.057 -0.068" rgba="0.22 0.07 0.07 1"/>'
    )


def _face() -> Iterator[str]:
    for part in _table():
        for side in SIDES if _paired(part) else ("",):
            yield _body(part, side)
    for name in BETWEEN:  # between corner and middle of a lip; they have no joints, whoever draws puts them there
        yield f'<body name="{name}" mocap="true"><site name="{name}" size="0.001"/></body>'


def _body(part: str, side: str) -> str:
    x, y, z = origin(f"{part}{side}")
    return f'<body name="{part}{side}" pos="{x} {y} {z}">{_axes(part, side)}{_shape(part, side)}</body>'


def _axes(part: str, side: str) -> str:
    directions = {"x": "1 0 0", "z": "0 0 1", "turn": "0 1 0", "pan": "0 0 1", "tilt": "-1 0 0"}
    if part == "lid":
        directions["turn"] = "1 0 0"
    return "".join(
        f'<joint name="{part}{side}.{axis}" type="{kind}" axis="{directions[axis]}" armature="0.001"/>'
        for axis, kind in AXES.items()
        if axis in _table()[part]
    )


def _shape(part: str, side: str) -> str:
    if part == "brow":
        return f'<geom type="capsule" size="0.0062" fromto="-0.021 0 0 0.021 0 0" rgba="{DARK}" mass="0.01"/>'
    if part == "lid":
        return f'<geom type="mesh" mesh="lid" rgba="{EYELID}" mass="0.01"/>'
    if part == "chin":
        return f'<geom type="ellipsoid" size="0.050 0.046 0.040" rgba="{SKIN}" mass="0.01"/>'
    if part == "eye":
        rings = ((0.0105, 0.0040, 0.87, "0.10 0.47 0.45 1"), (0.0052, 0.0036, 0.94, "0.03 0.04 0.05 1"))
        painted = "".join(
            f'<geom type="ellipsoid" size="{r} {deep} {r}" pos="0 {-EYE * out} 0" rgba="{colour}" mass="0.001"/>'
            for r, deep, out, colour in rings
        )
        return f'<geom type="sphere" size="{EYE}" rgba="{WHITE}" mass="0.01"/>{painted}'
    dot = f'<geom type="sphere" size="0.0022" rgba="{LIP}" mass="0.001"/>'
    return f'{dot}<site name="{part}{side}" size="0.001"/>'


def _lid() -> str:
    """Points of a visor on a sphere around the eye: from 30 degrees above straight ahead backwards over the top."""
    radius = LID * EYE
    points = []
    for across in np.radians(np.linspace(-82, 82, 13)):
        for up in np.radians(np.linspace(30, 130, 11)):
            wide, deep = np.sin(across), np.cos(across)
            points.append((radius * wide, -radius * deep * np.cos(up), radius * deep * np.sin(up)))
    return " ".join(f"{v:.5f}" for point in points for v in point)


def _tendon(lip: str) -> str:
    sites = ("cornerRight", f"{lip}Right", f"{lip}_lip", f"{lip}Left", "cornerLeft")
    path = "".join(f'<site site="{name}"/>' for name in sites)
    return f'<spatial name="{lip}" width="0.0042" rgba="{LIP}">{path}</spatial>'


def _paired(part: str) -> bool:
    return part in ("brow", "eye", "lid", "corner")
