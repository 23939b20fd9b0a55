"""Our data through our messages and back, serialised as they travel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
from emo_face_msgs.msg import EmotionScoresArray, FaceExpression
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from emo_face.core.labels import top_of
from emo_face.core.types import Box, Emotion, ExpressionTarget, Face, Keyframe, Person, Shown, Speech
from emo_face.ros.messages.convert import (
    MessageError,
    expression_message,
    read_expression,
    read_scores,
    scores_message,
)

SURE = np.array([0.7, *[0.05] * 6])
SAID = Speech("I am furious", 12.5, 0.75, "p00001", "en-GB", 0.5)


def feeling(**changes: Any) -> Emotion:
    fine = np.full(28, 0.01)
    fine[2] = 0.9
    whole = Emotion("basic7", SURE, SURE > 0.5, -0.5, 0.5, {"speech": 0.75}, 0.8, None, "goemotions28", fine, SAID)
    return replace(whole, **changes)


def scores(emotion: Emotion, room: Emotion | None = None) -> Any:
    person = Person("p00001", 0.9, Box(10, 20, 100, 200), Face(Box(40, 30, 50, 60), 0.9))
    msg = scores_message([person], [emotion], header=Header(), size=(640, 480), model="m", latency=0.1, room=room)
    return deserialize_message(serialize_message(msg), EmotionScoresArray)


def test_scores_come_back_whole() -> None:
    msg = scores(feeling(), room=feeling(words=replace(SAID, speaker="")))
    (entry,), (heard,) = msg.people, msg.room
    assert (entry.top, entry.fine_top, entry.words.text) == ("Anger", "anger", SAID.text)
    person, back = read_scores(entry)
    assert person.person_id == "p00001"
    assert back.words == SAID
    assert back.evidence == {"speech": 0.75}
    np.testing.assert_allclose(back.fine_probabilities, feeling().fine_probabilities, atol=1e-6)  # type: ignore[arg-type]
    nobody, room = read_scores(heard)
    assert (nobody.person_id, nobody.body, nobody.face) == ("", None, None)
    assert top_of(room) == "Anger"


@pytest.mark.parametrize("quality", [0.0, float("nan"), -1.0])
def test_without_evidence_no_field_says_anything(quality: float) -> None:
    (entry,) = scores(feeling(quality=quality)).people
    assert (entry.top, entry.fine_top, entry.fine_label_set) == ("", "", "")
    assert (entry.valence, entry.arousal, entry.quality) == (0.0, 0.0, 0.0)
    assert list(entry.probabilities) == pytest.approx([1 / 7] * 7)
    assert not any(entry.active)
    assert not entry.evidence
    assert not len(entry.fine_probabilities)


def target(**changes: Any) -> ExpressionTarget:
    keys = tuple(Keyframe(0.5 * k, np.full(100, 0.1 * k), np.zeros(3), np.zeros(2)) for k in range(3))
    whole = ExpressionTarget(
        20.0,
        "p00001",
        "listener",
        feeling(),
        Shown("Concern", 0.5, 0.625, -0.25, 0.125),
        keys,
        "open-ict-1",
        np.array([0.1, -0.1]),
        0.75,
        2.0,
        "prototypes",
        "because",
        SAID,
        19.0,
    )
    return replace(whole, **changes)


def travel(one: ExpressionTarget) -> ExpressionTarget:
    msg = expression_message(one, frame_id="camera", latency=0.1)
    return read_expression(deserialize_message(serialize_message(msg), FaceExpression))


def test_what_the_person_feels_and_what_the_face_shows_travel_apart() -> None:
    msg = expression_message(target(), frame_id="camera", latency=0.1)
    assert (msg.person_emotion, msg.fine_emotion, msg.shown) == ("Anger", "anger", "Concern")
    assert (msg.person_valence, msg.valence) == (-0.5, -0.25)
    back = travel(target())
    assert back.shown == target().shown
    assert back.words == SAID
    assert (back.start, back.stamp, back.text) == (19.0, 20.0, "because")
    assert [key.offset for key in back.keyframes] == [0.0, 0.5, 1.0]
    np.testing.assert_allclose(back.keyframes[2].coefficients, 0.2, atol=1e-6)
    assert top_of(back.feels) == "Anger"


def test_nobody_and_no_words_are_empty() -> None:
    back = travel(target(person_id="", feels=None, words=None, start=None, shown=Shown(), confidence=0.0))
    assert (back.person_id, back.feels, back.words, back.start, back.shown) == ("", None, None, None, Shown())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"keyframes": ()}, "keyframes: expected 1 to 8, got 0"),
        ({"gaze": np.array([np.nan, 0.0])}, "gaze"),
        ({"valid_for": 0.0}, "valid_for"),
        ({"stamp": 0.0}, "header.stamp"),
        ({"shown": Shown("Happy", 1.5)}, "strength"),
        ({"shown": Shown("Happy", 0.5, 0.5, -2.0)}, "valence"),
    ],
)
def test_a_field_that_cannot_be_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(MessageError, match=says):
        travel(target(**changes))


def test_the_definitions_keep_their_comments_on_lines_of_their_own() -> None:
    """A comment behind a string constant becomes part of its value for some parsers."""
    folder = Path(__file__).resolve().parents[4] / "ros2_ws" / "src" / "emo_face_msgs"
    files = [file for kind in ("msg", "srv", "action") for file in (folder / kind).iterdir()]
    assert len(files) >= 12
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            assert line.startswith("#") or "#" not in line, f"{file.name}: {line}"
