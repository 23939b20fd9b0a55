"""Two robots on one host, as docs/network.md has it: a namespace and a free port each, one ROS domain."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="run scripts/setup.sh")
pytest.importorskip("emo_face_msgs", reason="run scripts/setup.sh")

from diagnostic_msgs.msg import DiagnosticArray
from emo_face_msgs.msg import FaceExpression
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.nodes.generating import shown
from emo_face.ros.messages.convert import expression_message

pytestmark = pytest.mark.ros
ROBOTS = ("left", "right")
WORDS = ("screen.port=0", "rig=minimal_4servo", "rig_driver=mock", "diagnostics.period=0.2", "layers.breathing=false")


class Seen:
    """What is seen of one robot's face driver."""

    def __init__(self, node: Any, robot: str) -> None:
        self.name, self.smile, self.facts = f"{robot}/face_driver", 0.0, dict[str, str]()
        node.create_subscription(JointState, f"/{robot}/face/blendshapes", self._face, 10)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._told, 50)

    def _face(self, msg: JointState) -> None:
        self.smile = msg.position[ARKIT_INDEX["mouthSmileLeft"]]

    def _told(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            if status.name.split(":")[0] == self.name:
                self.facts = {pair.key: pair.value for pair in status.values}


def test_each_has_its_face_its_page_its_stop_and_its_memory(up, node, spin_until, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    seen = {robot: Seen(node, robot) for robot in ROBOTS}
    for robot in ROBOTS:
        settings = [word for setting in WORDS for word in ("--set", f"face_driver.{setting}")]
        up("--namespace", robot, "--only", "face_driver", *settings)
    left, right = seen.values()

    def both_have_a_page() -> bool:
        return bool(left.facts.get("screen") and right.facts.get("screen"))

    spin_until(both_have_a_page, 120.0)
    assert left.facts["screen"] != right.facts["screen"], "a free port each"
    for one in seen.values():
        with urllib.request.urlopen(f"{one.facts['screen']}healthz", timeout=10) as answer:
            assert json.load(answer)["clients"] == 0

    out = node.create_publisher(FaceExpression, "/left/face/expression", 10)

    def left_smiles() -> bool:
        target = shown("Happy", 1.0, "mirror", 1.0, node.get_clock().now().nanoseconds * 1e-9)
        out.publish(expression_message(target, frame_id="", latency=0.0))
        return left.smile > 0.5

    spin_until(left_smiles, 60.0)
    assert right.smile < 0.1

    stop = node.create_client(SetBool, "/left/face_driver/estop")
    spin_until(stop.service_is_ready)
    answer = stop.call_async(SetBool.Request(data=True))
    spin_until(answer.done)
    assert answer.result().success, answer.result().message

    def left_is_stopped() -> bool:
        return left.facts.get("estop") == "stopped"

    spin_until(left_is_stopped)
    assert right.facts["estop"] == ""

    def remembered() -> bool:  # a stop does not wait for the disk
        files = tmp_path.glob("emo_face/stops/*.json")
        memory = {path.name.split("-")[0]: json.loads(path.read_text())["stopped"] for path in files}
        return memory == {"left.face_driver": True, "right.face_driver": False}

    spin_until(remembered)
