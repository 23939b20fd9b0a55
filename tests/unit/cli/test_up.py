"""The command lines that `emo-face up` starts, with and without --compose."""

from __future__ import annotations

import re
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


def test_a_further_camera_brings_a_perception_of_its_own_and_one_list_of_people() -> None:
    words = ("--also", "door=/dev/video2", "--also", "hall=topic:/hall/image_raw", "--remap", "image:=/head/image_raw")
    alone, more = started("--remap", "image:=/head/image_raw"), started(*words)
    new = {name for (name,) in more if (name,) not in alone}
    assert new == {"people", "door/perception", "door/camera", "hall/perception"}
    assert more["camera",] == alone["camera",]
    assert "emotion/scores:=perception/scores" in more["perception",]
    assert 'inputs:=["perception/scores", "door/emotion/scores", "hall/emotion/scores"]' in more["people",]
    assert "__ns:=/robot/door" in more["door/camera",]
    assert 'source:="/dev/video2"' in more["door/camera",]
    door, hall = more["door/perception",], more["hall/perception",]
    for command, image in ((door, "camera/image_raw"), (hall, "/hall/image_raw")):
        rules = [word for word in command if word.startswith("image:=")]
        assert rules == [f"image:={image}", "image:=/head/image_raw"], "ROS takes the first rule that fits"
        assert "speech:=/robot/speech/text" in command
        assert "consent:=/robot/consent" in command
        assert "detector.imgsz:=416" in command
    assert "camera_info:=/hall/camera_info" in hall


def test_words_of_another_topic_reach_every_camera() -> None:
    more = started("--also", "door=2", "--remap", "speech:=/heard")
    assert "speech:=/heard" in more["door/perception",]


@pytest.mark.parametrize("text", ["door", "door=", "=2", "Door=2", "camera=2", "people=2"])
def test_a_further_camera_has_a_name_of_its_own(text: str) -> None:
    with pytest.raises(UserError, match=r"--also .*expected NAME=SOURCE"):
        started("--also", text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("percpetion:\n  ros__parameters: {max_age: 9.0}", "called /percpetion; did you mean /robot/perception?"),
        ("perception:\n  ros__parameters: {max_age: 9.0}", "called /perception; did you mean /robot/perception?"),
        ("/**/perception:\n  max_age: 9.0", "/**/perception/max_age: expected NODE, then ros__parameters below it"),
        ("lidar:\n  ros__parameters: {rate: 9}", "no section of it (/lidar) is for /robot/face_driver, "),
        ("- 1", "the file: expected NODE"),
        ("perception:\n\tmax_age: 1", "cannot be read: while scanning"),
    ],
)
def test_a_parameter_file_that_nobody_would_hear_is_refused(text: str, says: str, tmp_path) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(says)):
        started("--params", str(tmp_path / "p.yaml"))


@pytest.mark.parametrize(
    "section", ["/**", "/**/camera", "/*/camera", "robot/camera", "/robot:\n  camera", "/robot/**"]
)
def test_a_parameter_file_is_shared_and_its_typing_errors_are_told(section: str, tmp_path, capsys) -> None:
    values = "\n    ros__parameters: {rate: 9.0}\n"
    file = tmp_path / "p.yaml"
    file.write_text(f"{section}:{values}lidar:{values}robot/face_drivr:{values}/front/camera:{values}")
    assert len(started("--params", str(file))) == 4
    said = capsys.readouterr().err
    wrong = f"emo-face: {file}: no node here is called /robot/face_drivr; did you mean /robot/face_driver?\n"
    assert said == ("" if section.endswith("**") else wrong)
