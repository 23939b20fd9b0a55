"""config/qos_overrides.yaml lists the QoS that the nodes really have."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")

from emo_face.core.paths import share_dir
from emo_face.nodes.camera import CameraNode
from emo_face.nodes.expression import ExpressionNode
from emo_face.nodes.face_driver import FaceDriverNode
from emo_face.nodes.perception import PerceptionNode

NODES: dict[str, tuple[Any, dict[str, Any]]] = {
    "camera": (CameraNode, {"publish": "both"}),
    "perception": (PerceptionNode, {"remap": {"image": "camera/image_raw", "speech": "speech/text"}}),
    "expression": (ExpressionNode, {"remap": {"speech": "speech/text"}}),
    "face_driver": (FaceDriverNode, {"rig": "minimal_4servo"}),
}


@pytest.mark.parametrize("name", NODES)
def test_file_and_node_agree(graph: Any, name: str) -> None:
    create, how = NODES[name]
    node = graph.start(create, **how)
    text = (share_dir() / "config" / "qos_overrides.yaml").read_text(encoding="utf-8")
    written = yaml.safe_load(text)[f"/**/{name}"]["ros__parameters"]
    declared = {p.name: p.value for p in node.get_parameters_by_prefix("qos_overrides").values()}
    assert written == declared
