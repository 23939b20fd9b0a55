"""The graph where time jumps, a second graph shares its domain, and a listener never reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="run scripts/setup.sh")
pytest.importorskip("emo_face_msgs", reason="run scripts/setup.sh")

from emo_face_msgs.msg import EmotionScoresArray
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from emo_face.bench.probes.machine import command_of, descendants

pytestmark = pytest.mark.ros

SENSOR = rclpy.qos.qos_profile_sensor_data


@pytest.fixture
def picture(tmp_path) -> str:
    import cv2

    cv2.imwrite(str(tmp_path / "grey.png"), np.full((480, 640, 3), 90, np.uint8))
    return str(tmp_path / "grey.png")


def test_simulated_time_may_stand_still_leap_and_go_back(up, node, spin_until, picture):
    clock = node.create_publisher(Clock, "/clock", 10)
    heard: list[float] = []

    def note(message: EmotionScoresArray) -> None:
        heard.append(message.header.stamp.sec + message.header.stamp.nanosec * 1e-9)

    node.create_subscription(EmotionScoresArray, "emotion/scores", note, 50)
    leaps = [100.0 - time.monotonic()]

    def simulated() -> float:
        return sum(leaps) + time.monotonic()

    def tick() -> None:
        now = simulated()
        message = Clock()
        message.clock.sec, message.clock.nanosec = int(now), int(now % 1 * 1e9)
        clock.publish(message)

    node.create_timer(0.02, tick)
    up("--only", "camera,perception", "--source", picture, "--ros-args", "-p", "use_sim_time:=true")
    for leap in (0.0, 5000.0, -3000.0, -2050.0, 1e6):
        leaps.append(leap)
        heard.clear()

        def new_scores_come() -> bool:
            return sum(abs(simulated() - stamp) < 10.0 for stamp in heard) >= 3

        spin_until(new_scores_come, 60.0)


def wait_for(process: subprocess.Popen, text: str) -> None:
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"{text!r} was not said")


def camera_of(process: subprocess.Popen) -> int:
    return next(pid for pid in descendants(process.pid) if "emo_face.nodes.camera" in command_of(pid))


def test_two_graphs_of_the_same_names_do_not_meet_in_their_supervision(up, picture):
    """Two robots on one domain: their topics mix, which the driver's diagnostics say, but each manager has its own."""
    graphs = [up("--only", "camera", "--source", picture) for _ in range(2)]
    for one in graphs:
        wait_for(one, "all 1 nodes active")
    other = camera_of(graphs[1])
    os.kill(camera_of(graphs[0]), signal.SIGKILL)
    wait_for(graphs[0], "all 1 nodes active")
    assert camera_of(graphs[1]) == other
    assert camera_of(graphs[0]) != other
    for one in graphs:
        one.send_signal(signal.SIGINT)
        one.communicate(timeout=30)
        assert one.returncode == 0


DEAF = """
import sys, rclpy
from rclpy.qos import QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("deaf")
qos = QoSProfile(history=QoSHistoryPolicy.KEEP_ALL, reliability=QoSReliabilityPolicy.RELIABLE)
heard = []
node.create_subscription(Image, "camera/image_raw", heard.append, qos)
while not heard:
    rclpy.spin_once(node, timeout_sec=0.1)
print("heard", flush=True)
import time
time.sleep(600)  # subscribed, and never reads again
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_a_reliable_listener_that_never_reads_holds_nobody_up(up, node, spin_until, picture, stopped):
    process = up("--only", "camera", "--source", picture, "--set", "camera.rate=20.0")
    wait_for(process, "all 1 nodes active")
    deaf = subprocess.Popen(
        [sys.executable, "-c", DEAF], env={**os.environ, "ROS_DOMAIN_ID": "61"}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert deaf.stdout.readline() == "heard\n"
        if stopped:
            deaf.send_signal(signal.SIGSTOP)
        images: list[Image] = []
        node.create_subscription(Image, "camera/image_raw", images.append, SENSOR)

        def images_arrive() -> bool:
            return len(images) > 3

        spin_until(images_arrive)
        images.clear()
        end = time.monotonic() + 3.0  # real time: a rate is measured
        while time.monotonic() < end:
            node.executor_for_test.spin_once(timeout_sec=0.05)
        assert len(images) >= 15  # of 60; a busy machine loses some, a publisher that waits sends next to none
        assert process.poll() is None
    finally:
        deaf.kill()
        deaf.communicate()
