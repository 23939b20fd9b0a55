"""No evidence, no label: when a distribution has a winner, and that everything shown asks the same question."""

from __future__ import annotations

import numpy as np
import pytest

from emo_face.core.labels import basic7, fine_top_of, label_set, top_of
from emo_face.core.types import Box, Emotion, Face, Person

FLAT = np.full(7, 1 / 7)


def emotion(p: np.ndarray, quality: float, **more: object) -> Emotion:
    return Emotion("basic7", p, p > 0.5, 0.3, 0.3, {}, quality, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["basic7", "caers7", "heco8", "emotic26", "goemotions28"])
def test_a_flat_distribution_has_no_winner(name: str) -> None:
    labels = label_set(name)
    n = len(labels)
    for p in (np.full(n, 1 / n), np.full(n, 0.5), np.zeros(n), np.full(n, 1 / n, np.float32), np.full(n, np.nan)):
        assert labels.top(p) == ""
    almost = np.full(n, 1 / n)
    almost[0] += 1e-5
    assert labels.top(almost) == ""
    tie = np.zeros(n)
    tie[:2] = 0.5
    assert labels.top(tie) == ""
    clear = np.full(n, 0.02)
    clear[n - 1] = 0.3
    assert labels.top(clear) == labels.labels[-1]


def test_without_quality_there_is_no_label() -> None:
    sure = np.eye(7)[0]
    assert top_of(emotion(sure, 0.5)) == "Anger"
    for quality in (0.0, -1.0, float("nan")):
        assert top_of(emotion(sure, quality)) == ""
    assert top_of(emotion(FLAT, 1.0)) == ""
    assert top_of(None) == ""
    fine = np.eye(28)[4]
    assert fine_top_of(emotion(FLAT, 1.0, fine_label_set="goemotions28", fine_probabilities=fine)) == "approval"
    assert fine_top_of(emotion(FLAT, 0.0, fine_label_set="goemotions28", fine_probabilities=fine)) == ""


def test_flat_words_are_no_anger() -> None:
    from emo_face.expression.words import felt
    from emo_face.face.expressions.facs import default_facs

    nothing = np.zeros(28)
    assert felt(default_facs(), nothing, FLAT) == {}
    assert felt(default_facs(), nothing, np.full(7, 0.12) + 0.16 * np.eye(7)[3]) == {"Happy": 1.0}


def test_a_contextface_answer_that_is_flat_names_nobody_and_shows_no_single_branch() -> None:
    """``Answer``: flat where the model would hardly answer in this form; its first word is Angry."""
    from emo_face.expression.contextface.answer import Answer

    words, faces = ("Angry", "Sad", "Happy"), np.eye(3)
    flat = Answer(words, np.log(np.full(3, 1e-9)), np.full(3, 1 / 3), faces, 9, 0)
    assert flat.word == ""
    np.testing.assert_allclose(flat.face("map"), np.full(3, 1 / 3))
    sad = Answer(words, np.log(np.array([0.1, 0.8, 0.1])), np.array([0.1, 0.8, 0.1]), faces, 9, 0)
    assert sad.word == "Sad"
    np.testing.assert_array_equal(sad.face("map"), faces[1])


def test_the_overlay_names_no_winner_of_a_flat_distribution() -> None:
    from emo_face.perception.debug import draw

    frame = np.full((240, 320, 3), 127, np.uint8)
    person = Person("p00001", 0.9, None, Face(Box(40, 40, 60, 60), 0.9))
    blind = [draw(frame, [person], [emotion(np.roll(np.eye(7)[0], k), 0.0)], basic7()) for k in range(7)]
    flat = draw(frame, [person], [emotion(FLAT, 0.0)], basic7())
    for picture in blind:  # the same grey box, whatever a distribution without evidence says
        np.testing.assert_array_equal(picture, flat)
    assert np.abs(draw(frame, [person], [emotion(np.eye(7)[0], 0.9)], basic7()).astype(int) - flat).max() > 50
