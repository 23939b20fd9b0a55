"""`ros2 launch emo_face bringup.launch.py` for real, where launch_ros is installed."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="run scripts/setup.sh")
pytest.importorskip("launch_ros", reason="launch_ros is not on PyPI; it comes with a ROS distribution")

LAUNCH_FILE = Path(__file__).resolve().parents[2] / "launch" / "bringup.launch.py"
DOMAIN = 62
pytestmark = pytest.mark.ros


def description():
    spec = importlib.util.spec_from_file_location("bringup", LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


def test_every_argument_explains_itself():
    arguments = {argument.name: argument for argument in description().get_launch_arguments()}
    assert {"params_file", "source", "image", "speech", "namespace", "autostart", "camera"} <= set(arguments)
    assert all(argument.description for argument in arguments.values())


def test_the_nodes_become_active_and_end_cleanly(tmp_path, monkeypatch):
    import cv2
    from lifecycle_msgs.srv import GetState

    picture = tmp_path / "grey.png"
    cv2.imwrite(str(picture), np.full((48, 64, 3), 90, np.uint8))
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
    ros2 = Path(sys.executable).with_name("ros2")
    words = ["launch", str(LAUNCH_FILE), f"source:={picture}"]
    command = [str(ros2 if ros2.exists() else "ros2"), *words]
    launch = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = rclpy.create_node("observer", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        for name in ("camera", "perception", "expression", "face_driver"):
            client = node.create_client(GetState, f"{name}/get_state")
            deadline = time.monotonic() + 60
            label = ""
            while label != "active":
                assert time.monotonic() < deadline, f"{name} is {label or 'silent'}"
                if not client.service_is_ready():
                    executor.spin_once(timeout_sec=0.1)
                    continue
                future = client.call_async(GetState.Request())
                executor.spin_until_future_complete(future, timeout_sec=2.0)
                label = future.result().current_state.label if future.done() else ""
        launch.send_signal(signal.SIGINT)
        output, _ = launch.communicate(timeout=30)
        assert output.count("process has finished cleanly") == 4, output
    finally:
        if launch.poll() is None:
            os.kill(launch.pid, signal.SIGKILL)
        node.destroy_node()
        rclpy.shutdown(context=context)
