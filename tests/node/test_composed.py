"""Camera, perception and expression in one process: the same graph from outside, the picture by reference inside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
from emo_face_msgs.msg import EmotionScoresArray, FaceExpression
from sensor_msgs.msg import Image

from emo_face.bench.probes.machine import command_of, descendants
from emo_face.nodes.camera import CameraNode
from emo_face.nodes.perception import PerceptionNode
from emo_face.ros import qos
from emo_face.ros.images.local import LocalPictures

PATIENCE = 60.0  # s; a busy machine starts a process slowly


def test_perception_reads_the_camera_s_own_pixels(
    graph: Any, assets: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EMO_FACE_MODELS", str(assets))
    path = tmp_path / "grey.png"
    cv2.imwrite(str(path), np.full((48, 64, 3), 90, np.uint8))
    pictures = LocalPictures()
    camera = graph.start(partial(CameraNode, pictures=pictures), source=str(path), rate=20.0)
    perception = graph.start(
        partial(PerceptionNode, pictures=pictures), remap={"image": "camera/image_raw"}, detector__yolo="off"
    )
    scores = graph.hear(EmotionScoresArray, "emotion/scores")
    graph.up(perception)
    graph.up(camera)
    graph.until(lambda: len(scores) >= 3, seconds=PATIENCE, why="no scores")
    assert camera.count_subscribers("/camera/image_raw") == 0
    assert camera._source is not None
    assert np.shares_memory(perception._look.frame, camera._source.read())
    graph.talk(Image, "/camera/image_raw", qos.reliable(), readers=0)
    graph.until(lambda: perception.count_publishers("/camera/image_raw") == 2, why="the other camera is not seen")
    perception._images._look_for_others()
    report = perception.health.report("active", time.monotonic())
    assert "only the camera of this process is read: leave it out (--without camera)" in report.message


@pytest.fixture
def composed(domain: int, process: Any, assets: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("EMO_FACE_MODELS", str(assets))
    words = ("up", "--compose", "--without", "face_driver", "--set", "perception.detector.yolo=off")
    return partial(process, domain, "emo_face.cli.main", *words)


def nodes_process(up: subprocess.Popen[str]) -> int:
    """Process id of the composed process below ``up``; 0 without."""
    return next((pid for pid in descendants(up.pid) if "emo_face.nodes.composed" in command_of(pid)), 0)


def test_the_same_graph_from_outside_and_a_killed_process_comes_back(graph: Any, composed: Any, assets: Path) -> None:
    picture = assets / "images" / "emotion" / "max_happy-baby.jpeg"
    scores = graph.hear(EmotionScoresArray, "emotion/scores", 50)
    faces = graph.hear(FaceExpression, "face/expression", 50)
    up = composed("--source", str(picture), "--set", "camera.rate=10", "--set", "camera.width=320")

    def seen() -> bool:
        return any(msg.people for msg in scores) and bool(faces)

    graph.until(seen, seconds=PATIENCE, why="no scores or no expression")
    assert scores[-1].width == 320
    assert {"camera", "perception", "expression"} <= set(graph.helper.get_node_names())
    assert graph.helper.count_subscribers("/camera/image_raw") == 0
    first = nodes_process(up)
    os.kill(first, signal.SIGKILL)
    graph.until(lambda: nodes_process(up) not in (0, first), seconds=PATIENCE, why="not replaced")
    scores.clear()
    faces.clear()
    graph.until(seen, seconds=PATIENCE, why="nothing after the replacement")
    up.send_signal(signal.SIGINT)
    output, _ = up.communicate(timeout=PATIENCE)
    assert up.returncode == 0, output
    assert output.count("all 3 nodes active") == 2, output
    assert "Traceback" not in output


def test_a_film_s_end_ends_all_if_asked(composed: Any, tmp_path: Path) -> None:
    path = tmp_path / "short.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (64, 48))
    for level in range(10):
        writer.write(np.full((48, 64, 3), level * 20, np.uint8))
    writer.release()
    up = composed("--only", "camera,expression", "--source", str(path), "--exit-on-end")
    output, _ = up.communicate(timeout=PATIENCE)
    assert up.returncode == 0, output
    assert "camera: ended" in output
    assert "10 frames" in output


def test_a_wrong_parameter_ends_the_process_with_one_line(tmp_path: Path) -> None:
    words = ["camera", "--ros-args", "-p", "rate:=-1.0", "--", "expression", "--ros-args"]
    command = [sys.executable, "-m", "emo_face.nodes.composed", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2, done.stderr
    assert "rate" in done.stderr
    assert "Traceback" not in done.stderr
