"""The library without ROS: look, say, drive; what is public, and what importing it costs."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import emo_face
from emo_face.core.arkit import ARKIT_52

ROOT = Path(__file__).resolve().parents[3]


def test_a_picture_is_read_with_boxes_probabilities_and_evidence(assets: Path) -> None:
    file = assets / "images" / "people" / "apollo11_pilots.jpg"
    seen = emo_face.look(file)
    assert len(seen.people) == 3
    heights = [person.face.box.height for person in seen.people if person.face]
    assert heights == sorted(heights, reverse=True)
    for person in seen.people:
        assert person.top == next(iter(person.probabilities))
        assert sum(person.probabilities.values()) == pytest.approx(1)
        assert set(person.evidence) == {"face"}
    assert sum(person.top == "Happy" for person in seen.people) >= 2  # the three of them smile
    again = emo_face.look(seen.image)
    assert [p.probabilities for p in again.people] == [p.probabilities for p in seen.people]
    drawn = seen.drawn()
    assert drawn.shape == seen.image.shape
    assert (drawn != seen.image).any()


def test_words_count_beside_the_nearest_face_alone(assets: Path) -> None:
    file = assets / "images" / "people" / "apollo11_pilots.jpg"
    silent, spoke = emo_face.look(file), emo_face.look(file, said="I hate you, leave me alone!")
    assert "speech" in spoke.people[0].evidence
    assert spoke.people[0].probabilities["Anger"] > silent.people[0].probabilities["Anger"]
    assert spoke.people[1].probabilities == silent.people[1].probabilities


def test_nobody_in_the_picture_is_no_error() -> None:
    assert emo_face.look(np.zeros((120, 160, 3), np.uint8)).people == ()


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(emo_face.UserError, match=r"absent\.jpg: No such file"):
        emo_face.look(tmp_path / "absent.jpg")
    with pytest.raises(emo_face.UserError, match=r"H x W x 3 uint8 in BGR, got shape \(4, 4\) of float64"):
        emo_face.look(np.zeros((4, 4)))


def test_a_sentence_has_emotions_and_a_face() -> None:
    said = emo_face.say("I am so happy to see you!")
    assert said.top == "Happy"
    assert said.blendshapes["mouthSmileLeft"] > 0.4
    assert max(said.blendshapes.values()) <= 1
    assert said.drawn(size=(64, 48)).shape == (48, 64, 3)


def test_a_listener_answers_and_a_speaker_shows() -> None:
    shown = emo_face.say("I hate you! Shut up and leave me alone!")
    answer = emo_face.say("I hate you! Shut up and leave me alone!", perspective="listener")
    assert shown.top == answer.top == "Anger"
    assert np.abs(shown.arkit - answer.arkit).max() > 0.1
    with pytest.raises(emo_face.UserError, match="perspective: 'both', expected speaker or listener"):
        emo_face.say("hello", perspective="both")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [None, 5, b"hi", ["hi"]])
def test_what_is_no_text_is_named(text: object) -> None:
    with pytest.raises(emo_face.UserError, match=f"text: expected a string, got {type(text).__name__}"):
        emo_face.say(text)


def test_unreadable_words_leave_the_face_at_rest() -> None:
    said = emo_face.say("Είμαι πολύ λυπημένος")  # Greek, which no student reads
    assert said.quality == 0
    assert said.blendshapes == {}


def test_a_head_moves_to_a_face_and_rests_when_it_is_left() -> None:
    with emo_face.drive("minimal_4servo", driver="mock", layers=()) as head:
        rest = head.positions
        assert head.health.connected
        assert set(head.units.values()) == {"us"}
        head.show({"jawOpen": 1.0})
        _wait(lambda: head.positions["jaw"] - rest["jaw"] > 50)
        assert str(head.estop()) == "stopped"
    assert not head.health.connected


def test_leaving_eases_to_neutral() -> None:
    with emo_face.drive("minimal_4servo", driver="mock", layers=()) as head:
        rest = head.positions
        head.show({"jawOpen": 1.0})
        _wait(lambda: head.positions["jaw"] - rest["jaw"] > 50)
    assert head.positions["jaw"] == pytest.approx(rest["jaw"], abs=8)


def test_a_bus_that_does_not_answer_is_an_error_at_once() -> None:
    head = emo_face.drive("minimal_4servo", driver="mock", layers=())
    head._control.driver.unplugged = True
    with pytest.raises(emo_face.UserError, match=r"minimal_4servo.*unplugged"), head:
        pass


@pytest.mark.parametrize(
    ("face", "says"),
    [
        ({"smile": 1.0}, "unknown channel 'smile'"),
        ([0.0] * 51, r"expected 52 finite values, got shape \(51,\)"),
        ([float("nan")] * 52, "expected 52 finite values"),
    ],
)
def test_a_wrong_face_is_named(face: object, says: str) -> None:
    head = emo_face.drive("minimal_4servo", driver="mock")
    with pytest.raises(emo_face.UserError, match=says):
        head.show(face)
    head.show(np.zeros(len(ARKIT_52)))


def test_the_public_interface_is_the_one_in_the_docs() -> None:
    """If this fails on purpose: the change needs a version (docs/api.md says which), a CHANGELOG line, and
    ``python scripts/public_api.py --write``."""
    spec = importlib.util.spec_from_file_location("public_api", ROOT / "scripts" / "public_api.py")
    public_api = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(public_api)
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert page.split(public_api.START)[1].split(public_api.END)[0] == public_api.surface()


def test_importing_costs_nothing_and_hides_nothing() -> None:
    script = (
        "import sys; before = set(sys.modules); import emo_face; new = set(sys.modules) - before\n"
        "assert not {'numpy', 'cv2', 'yaml', 'onnxruntime', 'torch', 'rclpy'} & new, new\n"
        "assert set(emo_face.__all__) <= set(dir(emo_face))\n"
        "emo_face.say('hello')\n"
        "assert not {'torch', 'rclpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(AttributeError, match="no attribute 'listen': public are"):
        emo_face.listen  # noqa: B018


@pytest.mark.parametrize("page", ["README.md", "docs/api.md"])
def test_the_example_of_the_docs_runs(page: str, assets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    example = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "emo_face.look" in block)
    example = example.replace("photo.jpg", str(assets / "images" / "people" / "apollo11_pilots.jpg"))
    exec(compile(example.replace("sleep(2)", "sleep(0.2)"), page, "exec"), {})
    assert "mouthSmileLeft" in capsys.readouterr().out


def _wait(until: Callable[[], bool], limit: float = 5.0) -> None:
    end = time.monotonic() + limit
    while not until():
        assert time.monotonic() < end
        time.sleep(0.01)
