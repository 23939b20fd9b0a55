"""The face driver's rigs, further inputs and outputs, and imported bases."""

from __future__ import annotations

import importlib.util
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
from emo_face_msgs.msg import Visemes
from facing import SMILE, Face
from geometry_msgs.msg import Point, PointStamped
from live_link import decode
from std_srvs.srv import SetBool

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.errors import ConfigError
from emo_face.core.paths import share_dir
from emo_face.face.expressions.basis import find_basis
from emo_face.nodes.face.inputs import FaceInputs, face_of, hri_faces
from emo_face.nodes.face.look_at import rotated
from emo_face.nodes.face_driver import FaceDriverNode
from emo_face.ros import qos
from emo_face.runtime.store import entry_of, register


def test_a_rig_moves_through_its_gate_and_stops(graph: Any) -> None:
    face = Face(graph, rig="minimal_4servo", rig_driver="mock", rate=100.0, neutral_hold=0.0)
    control = face.node.face.control
    rest = control.gate.position
    graph.until(face.smiling)
    moved = control.output.position
    assert control.output.torque
    assert np.abs(moved - rest).max() > 10
    assert (control.rig.limits.lower <= moved).all()
    assert (moved <= control.rig.limits.upper).all()
    assert graph.call(SetBool, "/face_driver/estop", data=True).success
    graph.until(lambda: not control.output.torque)
    assert not control.driver.torque_on
    answer = graph.call(SetBool, "/face_driver/estop", data=False)
    assert "nothing moves until ~/enable" in answer.message
    graph.until(face.smiling)
    assert not control.output.torque  # a release moves nothing
    assert graph.call(SetBool, "/face_driver/enable", data=True).success
    graph.until(lambda: control.output.torque)
    assert graph.call(SetBool, "/face_driver/enable", data=False).success
    graph.until(lambda: not control.output.torque)


def test_what_the_gate_counts_is_told(graph: Any) -> None:
    face = Face(graph, rig="minimal_4servo", rig_driver="mock")
    gate = face.node.face.control.gate
    graph.until(lambda: int(face.values().get("gate.accepted", 0)) > 10)
    late, start = gate.late_ticks, time.monotonic()
    with face.node.face.player._lock:  # the loop waits for this
        graph.until(lambda: time.monotonic() > start + 0.2)
    graph.until(lambda: int(face.values()["gate.late_ticks"]) > late)
    assert face.values()["gate.held_by_rules"] == "0"  # this rig has no rules
    assert "screen.clients" not in face.values()


def test_a_bus_unplugged_is_diagnosed_and_comes_back(graph: Any) -> None:
    face = Face(graph, rig="minimal_4servo", rig_driver="mock")
    control = face.node.face.control
    graph.until(lambda: control.output.torque)
    control.driver.unplugged = True
    face.complaint("unplugged; plug it in again; connecting again")
    control.driver.unplugged = False
    graph.until(lambda: control.health.reconnects == 1 and control.output.torque)
    face.status.clear()
    graph.until(lambda: face.status and "unplugged" not in face.status[-1].status[0].message)


def test_a_bus_that_hangs_is_told_while_everything_else_goes_on(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    face = Face(graph, rig="minimal_4servo", rig_driver="mock")
    graph.until(lambda: face.node.face.control.output.torque)
    hangs = threading.Event()
    driver = face.node.face.control.driver
    monkeypatch.setattr(driver, "write", lambda position: hangs.wait())
    try:
        face.complaint("the face stands still: no tick for ")
        answer = graph.call(SetBool, "/face_driver/estop", data=True)
        assert (answer.success, answer.message) == (
            False,
            "NOT off: cut the power (brows, lids, mouth_corners, jaw): the bus has not let the stop through yet",
        )
        answer = graph.call(SetBool, "/face_driver/estop", data=False)
        assert (answer.success, answer.message) == (False, "not released: the bus hangs, and the stop stays")
        assert not graph.call(SetBool, "/face_driver/estop", data=True).success, "and whoever presses is answered"
    finally:
        hangs.set()
    face.complaint("emergency stop: stopped")
    graph.until(lambda: "stands still" not in face.status[-1].status[0].message)


def test_ros2_control_gets_trajectories(graph: Any) -> None:
    from trajectory_msgs.msg import JointTrajectory

    points = graph.hear(JointTrajectory, "face/joint_trajectory", qos.reliable(20))
    face = Face(graph, rig="head_25channel", rig_driver="trajectory")
    graph.until(face.smiling)
    control = face.node.face.control
    # the first ones are due later, for nobody has said where the joints are; then 1.5 periods of 60 Hz from now
    due = pytest.approx(1.5e9 / 60, rel=0.01)
    last = graph.until(lambda: next((p for p in points if p.points[0].time_from_start.nanosec == due), None))
    assert tuple(last.joint_names) == control.rig.names
    assert len(last.points[0].positions) == len(last.points[0].velocities) == 25
    assert set(last.points[-1].velocities) == {0.0}  # or the controller refuses it


def test_a_wrong_rig_fails_configure_with_the_names(graph: Any) -> None:
    node = graph.start(FaceDriverNode, screen__enabled=False, rig="nobody")
    assert node.trigger_configure().name == "FAILURE"
    assert "known are head_12servo" in node.health.report("", time.monotonic()).message


def test_the_eyes_follow_look_at_points(graph: Any) -> None:
    from geometry_msgs.msg import PointStamped

    face = Face(graph)
    out = graph.talk(PointStamped, "look_at")
    left = ARKIT_INDEX["eyeLookOutLeft"]

    def look(frame: str, y: float) -> None:
        msg = PointStamped()
        msg.header.frame_id, msg.point.x, msg.point.y = frame, 1.0, y
        out.publish(msg)

    def looking_left() -> bool:
        look("sellion_link", 0.3)
        return face.states[-1].position[left] > 0.3

    graph.until(looking_left)
    look("map", 0.3)
    face.complaint("point in frame 'map', expected 'sellion_link' (look_at.frame) or one that tf leads there")
    look("", float("nan"))
    graph.until(lambda: face.node.health.counts().get("dropped.look_at") == 2)


def test_a_point_of_another_frame_is_looked_at_through_tf(graph: Any) -> None:
    """tf2_ros is no wheel: built by hand here once (docs/ros4hri.md), there on every robot."""
    pytest.importorskip("tf2_ros", reason="tf2_ros is not on PyPI: a ROS distribution has it")
    from geometry_msgs.msg import TransformStamped
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from tf2_msgs.msg import TFMessage

    face = Face(graph)
    out = graph.talk(PointStamped, "look_at")
    frames = [TransformStamped(child_frame_id="base_link"), TransformStamped(child_frame_id="sellion_link")]
    frames[0].header.frame_id, frames[1].header.frame_id = "map", "base_link"
    frames[0].transform.translation.x, frames[0].transform.translation.y = 1.0, 2.0
    frames[1].transform.translation.z = 0.5
    frames[1].transform.rotation.z = frames[1].transform.rotation.w = 0.5**0.5  # looks along y of the map
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    graph.helper.create_publisher(TFMessage, "/tf_static", latched).publish(TFMessage(transforms=frames))
    msg = PointStamped()
    msg.header.frame_id = "map"
    msg.point.x, msg.point.y, msg.point.z = 0.7, 3.0, 0.5  # 1 m ahead of the face, 0.3 m to its left
    left, right = ARKIT_INDEX["eyeLookOutLeft"], ARKIT_INDEX["eyeLookOutRight"]

    def looking_left() -> bool:
        out.publish(msg)
        return face.states[-1].position[left] > 0.3

    graph.until(looking_left)
    assert face.states[-1].position[right] < 0.1
    dropped = face.node.health.counts().get("dropped.look_at", 0)
    msg.header.frame_id = "nowhere"
    out.publish(msg)
    face.complaint("point in frame 'nowhere', expected 'sellion_link'")
    assert face.node.health.counts()["dropped.look_at"] == dropped + 1


def test_a_quaternion_turns_a_point() -> None:
    half = 0.5**0.5
    assert rotated(np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.0, half]), half) == pytest.approx([-2.0, 1.0, 3.0])
    assert rotated(np.array([1.0, 2.0, 3.0]), np.array([half, 0.0, 0.0]), half) == pytest.approx([1.0, -3.0, 2.0])


def test_the_mouth_moves_while_the_robot_speaks(graph: Any) -> None:
    from std_msgs.msg import Float32, String

    face = Face(graph, layers__lips=True)
    visemes, level = graph.talk(String, "face/viseme"), graph.talk(Float32, "face/voice_level")
    jaw = ARKIT_INDEX["jawOpen"]

    def wide() -> bool:
        visemes.publish(String(data="aa"))
        return face.states[-1].position[jaw] > 0.2

    graph.until(wide)
    graph.until(lambda: face.states[-1].position[jaw] < 0.05)

    def loud() -> bool:
        level.publish(Float32(data=1.0))
        return face.states[-1].position[jaw] > 0.2

    graph.until(loud)
    visemes.publish(String(data="xx"))
    level.publish(Float32(data=float("nan")))
    counts = face.node.health.counts
    graph.until(lambda: counts().get("dropped.viseme") == 1 and counts().get("dropped.voice_level") == 1)


def test_avatars_get_live_link_packets(graph: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as avatar:
        avatar.bind(("127.0.0.1", 0))
        avatar.settimeout(5)
        face = Face(graph, live_link__host="127.0.0.1", live_link__port=avatar.getsockname()[1])
        graph.until(face.smiling)
        smile = 0.0
        deadline = time.monotonic() + 5
        while smile < 0.5 and time.monotonic() < deadline:
            frame = decode(avatar.recv(2048))
            smile = float(frame.values[SMILE])
    assert smile > 0.5


def test_faces_that_do_not_leave_for_the_avatar_are_told(graph: Any) -> None:
    # the kernel sends nothing to everybody's address from a plain socket
    face = Face(graph, live_link__host="255.255.255.255", live_link__port=11111)
    face.complaint("faces do not leave for 255.255.255.255:11111")
    graph.until(lambda: int(face.values().get("live_link.dropped", 0)) > 10)
    assert not any(key.startswith(("gate.", "screen.")) for key in face.values())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as avatar:
        avatar.bind(("127.0.0.1", 0))
        face.node.face.avatars["live_link"]._address = avatar.getsockname()
        graph.until(lambda: "do not leave" not in face.status[-1].status[0].message)


@pytest.mark.parametrize(
    ("label", "valence", "arousal", "shape"),
    [
        ("happy", 0.0, 0.0, "mouthSmileLeft"),
        ("", 0.8, 0.5, "mouthSmileLeft"),
        ("excited", 0.8, 0.5, "mouthSmileLeft"),
        ("", -0.6, -0.3, "browInnerUp"),
        ("scared", 0.0, 0.0, "eyeWideLeft"),
        ("Asleep", 0.0, 0.0, "eyeBlinkRight"),
        ("furious", 0.0, 0.0, "browDownLeft"),
        ("amazed", 0.0, 0.0, "jawOpen"),
    ],
)
def test_hri_expressions_become_faces(label: str, valence: float, arousal: float, shape: str) -> None:
    assert face_of(label, valence, arousal)[ARKIT_INDEX[shape]] > 0.2


def test_every_hri_label_is_a_face_of_its_own() -> None:
    faces = np.array(list(hri_faces().values()))
    assert faces.shape == (25, 52)
    assert 0.0 <= faces.min() <= faces.max() <= 1.0
    apart = np.abs(faces[:, None] - faces[None]).max(axis=2)
    assert apart[~np.eye(25, dtype=bool)].min() > 0.1


def test_what_says_nothing_is_no_face_and_strength_follows_the_vector() -> None:
    assert face_of("smug", 0.0, 0.0) is None
    assert face_of("", float("nan"), 0.0) is None
    assert face_of("", 3.0, 0.0) is None
    assert not face_of("", 0.0, 0.0).any()
    assert face_of("", 0.2, 0.125)[SMILE] < 0.5 * face_of("", 0.8, 0.5)[SMILE]


def test_robot_face_expression_needs_hri_msgs(graph: Any) -> None:
    if importlib.util.find_spec("hri_msgs") is None:
        with pytest.raises(ConfigError, match=r"robot_face\.enabled needs hri_msgs"):
            graph.start(FaceDriverNode, robot_face__enabled=True)
        return
    from hri_msgs.msg import Expression

    face = Face(graph, robot_face__enabled=True, timeout=0.3, layers__lips=True)
    out = graph.talk(Expression, "/robot_face/expression")
    out.publish(Expression(expression="happy", confidence=1.0))
    graph.until(lambda: face.smile() > 0.5)
    shown = graph.now()
    graph.until(lambda: graph.now() - shown > 1.5)
    assert face.smile() > 0.5  # until the next one, whatever timeout says of our own expressions
    aside = PointStamped(point=Point(x=1.0, y=0.3))
    aside.header.frame_id = "sellion_link"
    graph.talk(PointStamped, "/robot_face/look_at").publish(aside)
    left = ARKIT_INDEX["eyeLookOutLeft"]
    graph.until(lambda: face.states[-1].position[left] > 0.3)
    track = Visemes(names=["aa"], offsets=[0.0], duration=1.0)
    graph.talk(Visemes, "/tts/visemes").publish(track)
    graph.until(lambda: face.states[-1].position[ARKIT_INDEX["jawOpen"]] > 0.4)
    out.publish(Expression(expression="neutral"))
    graph.until(lambda: face.smile() < 0.05)
    out.publish(Expression(expression="smug"))
    face.complaint("/robot_face/expression not used")


def test_an_hri_expression_that_the_face_is_not_free_for_is_counted(graph: Any) -> None:
    face = Face(graph)
    inputs = FaceInputs(face.node)  # its callback needs no hri_msgs
    happy = SimpleNamespace(expression="happy", valence=0.0, arousal=0.0)
    inputs._express(happy)
    graph.until(lambda: face.smile() > 0.5)
    assert "dropped.robot_face" not in face.values()
    assert graph.call(SetBool, "/face_driver/estop", data=True).success
    inputs._express(happy)
    face.complaint("/robot_face/expression not shown: emergency stop")
    assert face.values()["dropped.robot_face"] == "1"


def test_a_flame_basis_of_the_users_own_is_decoded(graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map as `emo-face flame import` registers it: here the open basis under another name."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with np.load(share_dir() / "models" / "open_ict_1.npz") as arrays:
        renamed = {**arrays, "basis": np.array("flame2023")}
    file = tmp_path / "emo_face" / "flame2023_arkit.npz"
    file.parent.mkdir()
    np.savez(file, **renamed)
    register(entry_of(file, "flame2023-arkit", licence="test", purpose="test"))
    find_basis.cache_clear()
    face = Face(graph)

    def smiling() -> bool:
        face.show(basis="flame2023")
        return face.smile() > 0.5

    graph.until(smiling)
    find_basis.cache_clear()
