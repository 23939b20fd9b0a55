"""The nodes as processes: exit codes, signals, wrong parameters, default remaps."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from sensor_msgs.msg import Image, JointState

from emo_face.core.paths import share_dir
from emo_face.ros import qos

PATIENCE = 60.0
"""Seconds; a busy machine starts a process slowly."""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(domain: int, process: Start) -> Start:
    """Starts a node with ROS arguments."""

    def begin(node: str, *words: str) -> subprocess.Popen[str]:
        return process(domain, f"emo_face.nodes.{node}", *(("--ros-args", *words) if words else ()))

    return begin


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((48, 64, 3), 60 * i, np.uint8))
    return tmp_path


def change(graph: Any, node: str, transition: int) -> bool:
    client = graph.helper.create_client(ChangeState, f"/{node}/change_state")
    knock(graph, node)
    future = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
    graph.until(future.done, seconds=PATIENCE, why=f"{node} does not answer")
    graph.helper.destroy_client(client)
    return bool(future.result().success)


def knock(graph: Any, node: str) -> None:
    """Ask for the state until an answer comes: a new process' first answers get lost while it discovers its clients."""
    client = graph.helper.create_client(GetState, f"/{node}/get_state")
    asked: list[Any] = []

    def answered() -> bool:
        if client.service_is_ready() and (not asked or time.monotonic() - asked[-1][0] > 1.0):
            asked.append((time.monotonic(), client.call_async(GetState.Request())))
        return any(future.done() for _, future in asked)

    graph.until(answered, seconds=PATIENCE, why=f"{node} does not come up")
    graph.helper.destroy_client(client)


def bring_up(graph: Any, node: str) -> None:
    assert change(graph, node, Transition.TRANSITION_CONFIGURE)
    assert change(graph, node, Transition.TRANSITION_ACTIVATE)


def ended(graph: Any, process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and output."""
    graph.until(lambda: process.poll() is not None, seconds=PATIENCE, why="the process goes on")
    return process.returncode, process.communicate()[0]


def test_the_end_of_a_folder_is_exit_code_0(graph: Any, start: Start, folder: Path) -> None:
    heard = graph.hear(Image, "camera/image_raw", qos.reliable(10))
    camera = start("camera", "-p", f"source:={folder}", "-p", "rate:=1.0")  # 3 s, in which a busy machine discovers
    bring_up(graph, "camera")
    code, output = ended(graph, camera)
    assert code == 0, output
    assert "end of" in output
    assert "Traceback" not in output
    assert heard


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_an_active_node_cleanly(graph: Any, start: Start, folder: Path, number: int) -> None:
    heard = graph.hear(Image, "camera/image_raw", qos.reliable(10))
    camera = start("camera", "-p", f"source:={folder}", "-p", "rate:=20.0", "-p", "loop:=true")
    bring_up(graph, "camera")
    graph.until(lambda: heard)
    camera.send_signal(number)
    code, output = ended(graph, camera)
    assert code == 0, output
    assert "Traceback" not in output
    assert "unclean" not in output


def test_an_interrupted_driver_eases_to_neutral_before_it_goes(graph: Any, start: Start) -> None:
    from emo_face_msgs.msg import FaceExpression
    from facing import expression

    from emo_face.core.arkit import ARKIT_INDEX

    smile = ARKIT_INDEX["mouthSmileLeft"]
    faces = graph.hear(JointState, "face/blendshapes", qos.reliable(200))
    driver = start("face_driver", "-p", "screen.enabled:=false", "-p", "neutral_time:=0.3")
    bring_up(graph, "face_driver")
    out = graph.talk(FaceExpression, "face/expression")

    def smiling() -> bool:
        out.publish(expression(graph.now()))
        return bool(faces) and faces[-1].position[smile] > 0.6

    graph.until(smiling)
    driver.send_signal(signal.SIGINT)
    exit_code, output = ended(graph, driver)
    assert exit_code == 0, output
    assert faces[-1].position[smile] < 0.05
    smiles = np.array([f.position[smile] for f in faces])
    way_down = smiles[int(smiles.argmax()) :]
    assert np.count_nonzero((way_down > 0.05) & (way_down < 0.55)) >= 5  # it eases, it does not snap


def test_timed_visemes_and_keyframes_move_a_driver_of_another_process(graph: Any, start: Start) -> None:
    from emo_face_msgs.msg import FaceExpression, Visemes
    from facing import expression

    from emo_face.core.arkit import ARKIT_INDEX
    from emo_face.ros.clock import duration_message, seconds, stamp_message

    jaw, smile = ARKIT_INDEX["jawOpen"], ARKIT_INDEX["mouthSmileLeft"]
    faces = graph.hear(JointState, "face/blendshapes", qos.reliable(2000))
    still = [w for name in ("blink", "saccades", "breathing") for w in ("-p", f"layers.{name}:=false")]
    start("face_driver", "-p", "screen.enabled:=false", *still)
    bring_up(graph, "face_driver")
    said, out = graph.talk(Visemes, "face/visemes"), graph.talk(FaceExpression, "face/expression")
    graph.until(lambda: faces)

    begin = graph.now() + 0.5
    track = Visemes(start=stamp_message(begin), names=["aa", "PP", "aa"], offsets=[0.0, 0.3, 0.38], duration=0.7)
    said.publish(track)
    graph.until(lambda: seconds(faces[-1].header.stamp) > begin + 1.2)
    times, jaws = np.array([(seconds(f.header.stamp), f.position[jaw]) for f in faces]).T
    assert jaws[times < begin - 0.05].max() < 0.02  # nothing before the sound
    assert jaws[(times > begin) & (times < begin + 0.3)].max() > 0.4
    assert jaws[(times > begin + 0.3) & (times < begin + 0.4)].min() < 0.1  # the lips meet
    assert jaws[(times > begin + 0.4) & (times < begin + 0.7)].max() > 0.3
    assert jaws[times > begin + 1.1].max() < 0.02

    msg = expression(graph.now(), valid_for=3.0)
    rest = expression(graph.now(), emotion="Neutral").keyframes[0]
    rest.offset = duration_message(1.5)
    msg.keyframes[0].offset = duration_message(0.5)
    msg.keyframes = [msg.keyframes[0], rest]
    shown = graph.now()
    out.publish(msg)
    graph.until(lambda: seconds(faces[-1].header.stamp) > shown + 2.2)
    times, smiles = np.array([(seconds(f.header.stamp), f.position[smile]) for f in faces]).T
    assert smiles[(times > shown) & (times < shown + 0.9)].max() > 0.5
    assert smiles[times > shown + 2.0].max() < 0.1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-p", "rate:=30"), "camera: parameter rate: expected a double, got 30; write 30.0"),
        (("-p", "source:=7"), "camera: parameter source: expected a string, got 7; quote it: \"'7'\""),
    ],
)
def test_a_wrong_parameter_is_one_line_and_exit_code_2(graph: Any, start: Start, words: Any, says: str) -> None:
    code, output = ended(graph, start("camera", *words))
    assert code == 2, output
    assert says in output
    assert "Traceback" not in output


def test_an_unreadable_source_is_logged_and_the_node_can_be_asked_again(graph: Any, start: Start) -> None:
    camera = start("camera", "-p", "source:=/nowhere/talk.mp4")
    assert not change(graph, "camera", Transition.TRANSITION_CONFIGURE)
    assert not change(graph, "camera", Transition.TRANSITION_CONFIGURE)
    camera.send_signal(signal.SIGINT)
    code, output = ended(graph, camera)
    assert code == 0
    assert output.count("no such file or folder") == 2
    assert "Traceback" not in output


@pytest.mark.parametrize("namespace", ["", "/robot"])
def test_the_parameter_file_fits_the_node_in_any_namespace(
    graph: Any, start: Start, folder: Path, tmp_path: Path, namespace: str
) -> None:
    text = (share_dir() / "config" / "emo_face.yaml").read_text(encoding="utf-8")
    changed = text.replace('source: "0"', f'source: "{folder}"').replace(
        'frame_id: "camera_optical_frame"', "frame_id: eye"
    )
    file = tmp_path / "mine.yaml"
    file.write_text(changed, encoding="utf-8")
    heard = graph.hear(Image, f"{namespace}/camera/image_raw", qos.reliable(10))
    words = ("--params-file", str(file), "-p", "rate:=20.0", *(("-r", f"__ns:={namespace}") if namespace else ()))
    camera = start("camera", *words)
    bring_up(graph, f"{namespace.strip('/')}/camera".strip("/"))
    graph.until(lambda: heard)
    assert heard[0].header.frame_id == "eye"
    assert ended(graph, camera)[0] == 0


def test_default_topics_and_a_users_remap(graph: Any, start: Start) -> None:
    def topics_of(node: str) -> set[str]:
        names = graph.helper.get_node_names()
        return (
            {t for t, _ in graph.helper.get_subscriber_names_and_types_by_node(node, "/")} if node in names else set()
        )

    start("expression")
    graph.until(lambda: {"/emotion/scores", "/speech/text"} <= topics_of("expression"), seconds=PATIENCE)
    start("perception", "-r", "__node:=mine", "-r", "image:=/eye/picture")
    graph.until(lambda: {"/eye/picture", "/speech/text"} <= topics_of("mine"), seconds=PATIENCE)
