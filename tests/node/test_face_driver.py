"""nodes/face_driver.py: the real loop, basis, motion and page."""

from __future__ import annotations

import importlib.util
import json
import socket
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
from diagnostic_msgs.msg import DiagnosticArray
from emo_face_msgs.msg import FaceExpression
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.errors import ConfigError
from emo_face.core.paths import share_dir
from emo_face.core.types import ExpressionTarget
from emo_face.face.basis import find_basis, open_basis
from emo_face.face.facs import default_facs
from emo_face.nodes.face_driver import FaceDriverNode
from emo_face.nodes.face_inputs import face_of
from emo_face.ros import qos
from emo_face.ros.convert import expression_message
from emo_face.runtime.store import ModelEntry, register, sha256_of

SMILE = ARKIT_INDEX["mouthSmileLeft"]
STILL = {f"layers__{name}": False for name in ("blink", "saccades", "breathing", "lips")}


def expression(stamp: float, emotion: str = "Happy", valid_for: float = 1.0, **changes: Any) -> FaceExpression:
    code = open_basis().encode(default_facs().arkit({emotion: 1.0}))
    target = ExpressionTarget(
        stamp=stamp, person_id="p00001", perspective="mirror", emotion=emotion, label_set="basic7",
        probabilities=np.eye(7)[3], coefficients=code.coefficients, basis="open-ict-1", jaw_pose=code.jaw_pose,
        eyelids=code.eyelids, gaze=np.zeros(2), intensity=1.0, confidence=1.0, valid_for=valid_for, source="test",
    )  # fmt: skip
    msg = expression_message(target, frame_id="camera", latency=0.0)
    for name, value in changes.items():
        setattr(msg, name, value)
    return msg


class Face:
    """What is seen of the face."""

    def __init__(self, graph: Any, **params: Any) -> None:
        self.graph = graph
        self.states = graph.hear(JointState, "face/blendshapes", qos.reliable(50))
        self.status = graph.hear(DiagnosticArray, "/diagnostics")
        defaults = {"screen__enabled": False, "diagnostics__period": 0.1, "neutral_time": 0.2, **STILL}
        self.node = graph.up(graph.start(FaceDriverNode, **{**defaults, **params}))
        # the end of a test need not be graceful
        graph.at_end.append(lambda: self.node._player and self.node._player.estop(True, time.monotonic()))
        self.out = graph.talk(FaceExpression, "face/expression")
        graph.until(lambda: self.states)

    def smile(self) -> float:
        return float(self.states[-1].position[SMILE])

    def show(self, **kwargs: Any) -> None:
        self.out.publish(expression(self.graph.now(), **kwargs))

    def smiling(self) -> bool:
        """Keeps asking for a smile; true once it is there."""
        self.show()
        return self.smile() > 0.5

    def complaint(self, text: str) -> Any:
        def find() -> Any:
            return next((a.status[0] for a in self.status if text in a.status[0].message), None)

        return self.graph.until(find, why=f"no diagnostic with {text!r}")


def test_an_expression_is_eased_into_and_out_of(graph: Any) -> None:
    face = Face(graph)
    assert face.states[0].name == list(ARKIT_52)
    assert face.smile() < 1e-9
    face.show(valid_for=0.4)
    graph.until(lambda: face.smile() > 0.5)
    graph.until(lambda: face.smile() < 0.01)  # stale input eases to neutral
    smiles = np.array([s.position[SMILE] for s in face.states])
    top = int(smiles.argmax())
    for way in (smiles[:top], smiles[top:]):
        assert np.count_nonzero((way > 0.05) & (way < 0.5)) >= 5  # it eases, it does not snap
    assert all(min(s.position) >= 0 and max(s.position) <= 1 for s in face.states)


def test_the_loop_keeps_its_rate(graph: Any) -> None:
    face = Face(graph, rate=50.0)
    graph.until(lambda: len(face.states) > 60)
    stamps = np.array([s.header.stamp.sec + s.header.stamp.nanosec * 1e-9 for s in face.states[-50:]])
    assert np.diff(stamps).mean() == pytest.approx(0.02, rel=0.1)


def test_the_face_blinks(graph: Any) -> None:
    face = Face(graph, layers__blink=True, seed=1)
    lid = ARKIT_INDEX["eyeBlinkLeft"]
    graph.until(lambda: any(s.position[lid] > 0.8 for s in face.states), seconds=20)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"basis": "flame1999"}, "basis 'flame1999' is unknown here"),
        ({"flame_expression": np.full(100, np.nan, np.float32)}, "flame_expression: expected finite numbers"),
        ({"intensity": -1.0}, "intensity: expected a value in [0, 1]"),
    ],
)
def test_a_bad_expression_is_named_and_the_face_goes_on(graph: Any, changes: dict[str, Any], reason: str) -> None:
    face = Face(graph)
    face.show(**changes)
    face.complaint(reason)
    assert face.smile() < 1e-9
    graph.until(face.smiling)


@pytest.mark.parametrize(
    ("offset", "valid_for", "reason"),
    [(-30.0, 1.0, "stale"), (30.0, 1.0, "future"), (0.0, 0.0, "valid_for"), (-0.5, 0.2, "older than its valid_for")],
)
def test_untimely_expressions_are_dropped(graph: Any, offset: float, valid_for: float, reason: str) -> None:
    face = Face(graph)
    face.out.publish(expression(graph.now() + offset, valid_for=valid_for))
    face.complaint(reason)
    assert face.smile() < 1e-9


def test_stamps_that_go_backwards_are_dropped_and_two_publishers_named(graph: Any) -> None:
    face = Face(graph)
    second = graph.helper.create_publisher(FaceExpression, "face/expression", 10)
    face.complaint("several nodes publish face/expression")
    now = graph.now()
    face.out.publish(expression(now))
    graph.until(lambda: "latency.p50_ms" in {v.key for a in face.status for v in a.status[0].values})
    second.publish(expression(now - 0.3, emotion="Sad"))
    graph.until(lambda: face.node.health.counts().get("dropped.out_of_order"))


def test_neutral_service_eases_and_keeps_expressions_away_for_a_while(graph: Any) -> None:
    face = Face(graph, neutral_hold=2.0)
    graph.until(face.smiling)
    assert graph.call(Trigger, "/face_driver/neutral").success

    def neutral_despite_targets() -> bool:
        face.show()
        return face.smile() < 0.01

    graph.until(neutral_despite_targets)
    graph.until(face.smiling)  # and then follows again


def test_emergency_stop_freezes_and_release_eases_to_neutral(graph: Any) -> None:
    face = Face(graph)
    graph.until(face.smiling)
    assert graph.call(SetBool, "/face_driver/estop", data=True).message == "stopped"
    face.complaint("emergency stop")
    face.states.clear()
    for _ in range(10):
        face.show(emotion="Sad")
    graph.until(lambda: len(face.states) > 20)
    assert len({tuple(s.position) for s in face.states}) == 1
    assert graph.call(SetBool, "/face_driver/estop", data=False).message == "released"
    graph.until(lambda: face.smile() < 0.01)
    graph.until(face.smiling)


def test_deactivate_eases_to_neutral_first(graph: Any) -> None:
    face = Face(graph)
    graph.until(face.smiling)
    assert face.node.trigger_deactivate().name == "SUCCESS"
    graph.until(lambda: face.smile() < 0.02)
    count = len(face.states)
    assert face.node.trigger_activate().name == "SUCCESS"
    graph.until(lambda: len(face.states) > count + 5)


def test_disabled_it_rests(graph: Any) -> None:
    face = Face(graph, neutral_hold=0.0)
    graph.until(face.smiling)
    assert graph.call(SetBool, "/face_driver/enable", data=False).success
    face.show()
    graph.until(lambda: face.smile() < 0.01)


def test_a_storm_of_targets_is_followed(graph: Any) -> None:
    face = Face(graph)
    for _ in range(1000):
        face.show()
        graph.executor.spin_once(timeout_sec=0)
    graph.until(face.smiling)
    assert "errors" not in face.node.health.counts()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_page_shows_the_same_face(graph: Any) -> None:
    port = free_port()
    face = Face(graph, screen__enabled=True, screen__port=port)
    graph.until(face.smiling)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
        assert json.load(answer)["status"] == "ok"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        assert b"<html" in answer.read().lower()


def test_a_port_in_use_fails_configure_with_the_parameter(graph: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        node = graph.start(FaceDriverNode, screen__port=taken.getsockname()[1])
        assert node.trigger_configure().name == "FAILURE"
    report = node.health.report("", time.monotonic()).message
    assert "screen.port" in report
    graph.up(node)  # the port is free again


def test_the_tuning_page_takes_and_gives_back_the_face(graph: Any) -> None:
    face = Face(graph)
    jaw = ARKIT_INDEX["jawOpen"]
    assert face.node._on_command({"type": "tune", "values": {"jawOpen": 0.7}}) is None
    graph.until(lambda: face.states[-1].position[jaw] > 0.65)
    face.show()
    face.complaint("the tuning page holds the face")
    assert face.node._on_command({"type": "preset", "emotion": "Happy", "intensity": 1.0}) is None
    graph.until(lambda: face.smile() > 0.5)
    assert face.node._on_command({"type": "release"}) is None
    graph.until(lambda: face.smile() < 0.01)
    graph.call(SetBool, "/face_driver/estop", data=True)
    assert "emergency stop" in face.node._on_command({"type": "release"})


def test_a_rig_moves_through_its_gate_and_stops(graph: Any) -> None:
    face = Face(graph, rig="minimal_4servo", rig_driver="mock", rate=100.0, neutral_hold=0.0)
    control = face.node._motors._control
    rest = control.gate.position
    graph.until(face.smiling)
    moved = control.output.position
    assert control.output.torque
    assert np.abs(moved - rest).max() > 10
    assert (control.rig.limits.lower <= moved).all()
    assert (moved <= control.rig.limits.upper).all()
    assert graph.call(SetBool, "/face_driver/estop", data=True).success
    graph.until(lambda: not control.output.torque)
    assert not control.driver.torque
    answer = graph.call(SetBool, "/face_driver/estop", data=False)
    assert "torque stays off until ~/enable" in answer.message
    graph.until(face.smiling)
    assert not control.output.torque  # a release moves nothing
    assert graph.call(SetBool, "/face_driver/enable", data=True).success
    graph.until(lambda: control.output.torque)
    assert graph.call(SetBool, "/face_driver/enable", data=False).success
    graph.until(lambda: not control.output.torque)


def test_a_bus_unplugged_is_diagnosed_and_comes_back(graph: Any) -> None:
    face = Face(graph, rig="minimal_4servo", rig_driver="mock")
    control = face.node._motors._control
    graph.until(lambda: control.output.torque)
    control.driver.unplugged = True
    face.complaint("unplugged; plug it in again; connecting again")
    control.driver.unplugged = False
    graph.until(lambda: control.health.reconnects == 1 and control.output.torque)
    face.status.clear()
    graph.until(lambda: face.status and "unplugged" not in face.status[-1].status[0].message)


def test_ros2_control_gets_trajectories(graph: Any) -> None:
    from trajectory_msgs.msg import JointTrajectory

    points = graph.hear(JointTrajectory, "face/joint_trajectory", qos.reliable(20))
    face = Face(graph, rig="head_25channel", rig_driver="trajectory")
    graph.until(face.smiling)
    control = face.node._motors._control
    last = graph.until(lambda: points)[-1]
    assert tuple(last.joint_names) == control.rig.names
    assert len(last.points[0].positions) == len(last.points[0].velocities) == 25
    assert last.points[0].time_from_start.nanosec == pytest.approx(1.5e9 / 60, rel=0.01)


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
    face.complaint("point in frame 'map', expected 'sellion_link'")
    look("", float("nan"))
    graph.until(lambda: face.node.health.counts().get("dropped.look_at") == 2)


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
    from emo_face.face.livelink import decode

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


@pytest.mark.parametrize(
    ("label", "valence", "arousal", "shape"),
    [
        ("happy", 0.0, 0.0, "mouthSmileLeft"),
        ("", 0.8, 0.5, "mouthSmileLeft"),
        ("excited", 0.8, 0.5, "mouthSmileLeft"),
        ("", -0.6, -0.3, "browInnerUp"),
        ("scared", 0.0, 0.0, "eyeWideLeft"),
    ],
)
def test_hri_expressions_become_faces(label: str, valence: float, arousal: float, shape: str) -> None:
    assert face_of(label, valence, arousal)[ARKIT_INDEX[shape]] > 0.2


def test_what_says_nothing_is_no_face_and_strength_follows_the_vector() -> None:
    assert face_of("confused", 0.0, 0.0) is None
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

    face = Face(graph, robot_face__enabled=True)
    out = graph.talk(Expression, "/robot_face/expression")
    out.publish(Expression(expression="happy", confidence=1.0))
    graph.until(lambda: face.smile() > 0.5)
    out.publish(Expression(expression="bored"))
    face.complaint("/robot_face/expression not used")


def test_a_flame_basis_of_the_users_own_is_decoded(graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map as `emo-face flame import` registers it: here the open basis under another name."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with np.load(share_dir() / "models" / "open_ict_1.npz") as arrays:
        renamed = {**arrays, "basis": np.array("flame2023")}
    file = tmp_path / "emo_face" / "flame2023_arkit.npz"
    file.parent.mkdir()
    np.savez(file, **renamed)
    register(
        ModelEntry(
            name="flame2023-arkit", file=file.name, sha256=sha256_of(file), size=file.stat().st_size,
            licence="test", purpose="test", how="test",
        )
    )  # fmt: skip
    find_basis.cache_clear()
    face = Face(graph)

    def smiling() -> bool:
        face.show(basis="flame2023")
        return face.smile() > 0.5

    graph.until(smiling)
    find_basis.cache_clear()
