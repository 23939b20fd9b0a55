"""The command lines that `emo-face up` starts, with and without --compose."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("rclpy", reason="run scripts/setup.sh")
pytest.importorskip("emo_face_msgs", reason="run scripts/setup.sh")

from emo_face.cli import up
from emo_face.core.errors import UserError
from emo_face.nodes import composed

WORDS = (
    "--set",
    "camera.rate=5",
    "--set",
    "perception.detector.imgsz=416",
    "--namespace",
    "robot",
    "--log-level",
    "warn",
)


def started(*words: str) -> dict[tuple[str, ...], list[str]]:
    return dict(up.commands(up.parse([*WORDS, *words])))


def test_composed_nodes_have_the_words_that_each_has_alone() -> None:
    alone, together = started(), started("--compose")
    assert list(together) == [("face_driver",), ("expression", "perception", "camera")]
    assert together["face_driver",] == alone["face_driver",]
    command = together["expression", "perception", "camera"]
    assert command[:3] == [sys.executable, "-m", "emo_face.nodes.composed"]
    parts = composed.parts(command[3:])
    assert [part.create.__name__ for part in parts] == ["CameraNode", "PerceptionNode", "ExpressionNode"]
    for part, name in zip(parts, ("camera", "perception", "expression"), strict=True):
        assert list(part.words) == alone[name,][3:]
    assert parts[1].remaps


def test_what_is_left_out_is_not_composed() -> None:
    assert list(started("--compose", "--without", "camera")) == [("face_driver",), ("expression", "perception")]
    assert started("--compose", "--only", "camera,face_driver") == started("--only", "camera,face_driver")


@pytest.mark.parametrize("words", [[], ["face_driver"], ["camera", "--ros-args", "--", "lamp"]])
def test_only_nodes_that_can_share_a_process(words: list[str]) -> None:
    with pytest.raises(UserError, match="expected some of camera, perception, expression"):
        composed.parts(words)
