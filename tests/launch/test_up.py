"""`emo-face up` with real nodes: lifecycle, restart after SIGKILL, clean end, exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="run scripts/setup.sh")
pytest.importorskip("emo_face_msgs", reason="run scripts/setup.sh")

from lifecycle_msgs.srv import GetState
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros


@pytest.fixture
def picture(tmp_path):
    import cv2

    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.full((48, 64, 3), 200, np.uint8))
    return path


def node_processes(supervisor: subprocess.Popen) -> dict[str, int]:
    """{module: pid} of the nodes that ``supervisor`` has started."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            parent = int(Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[1])
            words = Path(f"/proc/{entry}/cmdline").read_text().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == supervisor.pid and "-m" in words:
            found[words[words.index("-m") + 1]] = int(entry)
    return found


def test_a_killed_node_comes_back_and_ctrl_c_ends_all(up, node, spin_until, picture):
    images: list[Image] = []
    node.create_subscription(Image, "camera/image_raw", images.append, rclpy.qos.qos_profile_sensor_data)
    process = up("--only", "camera", "--source", str(picture))

    def images_arrive() -> bool:
        return len(images) >= 3

    spin_until(images_arrive)
    first = node_processes(process)["emo_face.nodes.camera"]
    os.kill(first, signal.SIGKILL)

    def another_process_runs() -> bool:
        return node_processes(process).get("emo_face.nodes.camera", first) != first

    spin_until(another_process_runs)
    images.clear()
    spin_until(images_arrive)

    client = node.create_client(GetState, "camera/get_state")
    spin_until(client.service_is_ready)
    state = client.call_async(GetState.Request())
    spin_until(state.done)
    assert state.result().current_state.label == "active"

    second = node_processes(process)["emo_face.nodes.camera"]
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
    assert "was ended by signal 9" in output
    assert not os.path.exists(f"/proc/{second}")


def ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_a_shell_started_it_in_the_background(up, node, spin_until, picture, number):
    images: list[Image] = []
    node.create_subscription(Image, "camera/image_raw", images.append, rclpy.qos.qos_profile_sensor_data)
    process = up("--only", "camera", "--source", str(picture), preexec_fn=ignore_interrupts)  # as `emo-face up &` does

    def images_arrive() -> bool:
        return bool(images)

    spin_until(images_arrive)
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output


def test_a_source_that_cannot_be_read_ends_with_1_and_its_name(up):
    process = up("--only", "camera", "--source", "/no/such/film.mp4")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "/no/such/film.mp4" in output


def test_the_end_of_the_source_ends_all_with_0(up, tmp_path):
    import cv2

    path = tmp_path / "short.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (64, 48))
    for level in range(10):
        writer.write(np.full((48, 64, 3), level * 20, np.uint8))
    writer.release()
    process = up("--only", "camera", "--source", str(path), "--exit-on-end")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output


def test_a_wrong_parameter_is_named_before_anything_starts(up):
    process = up("--set", "camera.rate=fast")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "camera.rate=fast: expected a double" in output
