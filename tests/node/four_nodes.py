"""The four nodes on one graph, with the topics that `emo-face up` gives them, and what they do there."""

from __future__ import annotations

from typing import Any

NODES = ("camera", "perception", "expression", "face_driver")


def start(graph: Any, **camera: Any) -> None:
    """Start all four; ``camera`` are parameters of the camera."""
    from emo_face.nodes import camera as eye
    from emo_face.nodes import expression, face_driver, perception

    graph.start(eye.CameraNode, **camera)
    graph.start(perception.PerceptionNode, remap={"image": "camera/image_raw", "speech": "speech/text"})
    graph.start(expression.ExpressionNode, remap={"speech": "speech/text"})
    graph.start(face_driver.FaceDriverNode)


def done(graph: Any) -> set[tuple[str, str, str, str]]:
    """(node, ``publish``, ``subscribe``, ``reply`` or ``request``, full name, type) of all that they do now."""
    helper = graph.helper
    asks = {
        "publish": helper.get_publisher_names_and_types_by_node,
        "subscribe": helper.get_subscriber_names_and_types_by_node,
        "reply": helper.get_service_names_and_types_by_node,
        "request": helper.get_client_names_and_types_by_node,
    }
    return {
        (node, rule, name, types[0]) for node in NODES for rule, ask in asks.items() for name, types in ask(node, "/")
    }
