"""Words to a face: which emotions show, how strongly, whose face, and in time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.labels import basic7, label_set
from emo_face.core.types import Box, Emotion, Face, Person, Speech
from emo_face.expression.model import Context, Scene, SeenPerson
from emo_face.expression.policy import load_perspectives
from emo_face.expression.prototypes import PrototypeExpression, PrototypeSettings
from emo_face.expression.words import Manner, face_for, felt, grave_news, keyframes, strength_of, timing_of
from emo_face.face.expressions.basis import open_basis
from emo_face.face.expressions.facs import default_facs
from emo_face.perception.nano.text import TextReading, TextStudent
from emo_face.runtime.store import open_store

PAIRS = Path(__file__).parents[2] / "data" / "context_pairs.tsv"
UNSEEN_PAIRS = PAIRS.with_name("context_pairs_unseen.tsv")
FACS = default_facs()
FINE = label_set("goemotions28")
PAIRS_RIGHT, UNSEEN_PAIRS_RIGHT = 32, 36
"""Of 40; the shipped student has 34 and 40. The backend's thresholds were set with the first forty in view only."""


def reading(quality: float = 1.0, neutral: float = 0.0, arousal: float = 0.0, **emotions: float) -> TextReading:
    fine = np.zeros(len(FINE))
    for name, probability in emotions.items():
        fine[FINE.index(name)] = probability
    seven = np.full(7, (1 - neutral) / 6)
    seven[basic7().index("Neutral")] = neutral
    return TextReading(seven, quality, fine, 0.0, arousal)


def manner(perspective: str = "mirror", intensity: float = 0.0) -> Manner:
    return Manner(perspective, load_perspectives(FACS)[perspective], intensity)


def test_every_fine_emotion_has_a_face_of_its_own_and_an_answer() -> None:
    answers = load_perspectives(FACS)["listener"]
    for name in FINE.labels[:-1]:
        mixture = felt(FACS, reading(**{name: 0.9}).emotions, reading().probabilities)
        assert sum(mixture.values()) == pytest.approx(1.0)
        assert FACS.arkit(mixture).max() > 0.2, name
        assert set(mixture) <= set(answers.answers) | {"Happy", "Sad"}, name
    rows = {name: FACS.arkit(FACS.mixture_of_label(name)) for name in FINE.labels[:-1]}
    for a, one in rows.items():
        for b, other in rows.items():
            assert a >= b or np.abs(one - other).max() > 0.1, (a, b)


def test_calm_words_and_words_not_read_move_nothing() -> None:
    for said in (reading(neutral=0.9, amusement=0.6), reading(quality=0.0), reading(neutral=0.8)):
        target = face_for("The bus leaves at nine.", said, manner(), FACS, open_basis(), 5.0)
        assert target.shown.name == "Neutral"
        assert all(np.abs(frame.coefficients).max() < 1e-6 for frame in target.keyframes)


def test_a_bit_annoyed_and_furious_differ() -> None:
    weak = strength_of("I'm a bit annoyed", 0.0)
    assert weak < strength_of("I'm annoyed", 0.0) < strength_of("I'm absolutely furious!", 0.2)
    assert 0.25 <= strength_of("slightly", -1.0) <= strength_of("SO very!!!", 1.0) <= 1.0
    assert np.isfinite(strength_of("", float("nan")))


def test_a_face_comes_stays_and_goes() -> None:
    target = face_for("Wow!", reading(surprise=0.9, arousal=0.3), manner(), FACS, open_basis(), 5.0)
    offsets = [frame.offset for frame in target.keyframes]
    assert offsets == sorted(offsets)
    assert len(offsets) <= 8
    sizes = [float(np.abs(frame.coefficients).sum()) for frame in target.keyframes]
    assert sizes[0] < 1e-6 < sizes[3] < sizes[1]
    assert target.valid_for >= offsets[-1]
    assert timing_of({"Surprise": 1.0}).onset < timing_of({"Sad": 1.0}).onset
    assert len(keyframes(open_basis(), np.zeros(52), timing_of({}))) == 4


def test_a_listener_answers_instead_of_copying() -> None:
    said = reading(anger=0.9)
    mine = face_for("I hate this", said, manner("mirror"), FACS, open_basis(), 0.0)
    answer = face_for("I hate this", said, manner("listener"), FACS, open_basis(), 0.0)
    assert mine.shown.name == "Anger"
    assert answer.shown.name == "Concern"
    asked = face_for("I hate this", said, manner("mirror", 0.3), FACS, open_basis(), 0.0)
    assert asked.shown.strength == pytest.approx(0.3, abs=0.01)


@pytest.fixture(scope="module")
def student() -> TextStudent:
    return TextStudent.from_store(open_store(extra=()))


GRAVE = load_perspectives(FACS)["listener"].grave


def test_only_words_that_are_rather_grave_than_glad_are_bad_news() -> None:
    assert set(grave_news(FACS, reading(sadness=0.6, fear=0.3).emotions, GRAVE)) == {"Sad", "Fear"}
    assert grave_news(FACS, reading(sadness=0.15, fear=0.1, disappointment=0.08).emotions, GRAVE)
    for words in (reading(sadness=0.1), reading(sadness=0.4, joy=0.8), reading(annoyance=0.8), reading()):
        assert grave_news(FACS, words.emotions, GRAVE) == {}
    assert grave_news(FACS, reading(sadness=0.9).emotions, ()) == {}
    assert grave_news(FACS, np.full(28, np.nan), GRAVE) == {}


@pytest.mark.parametrize(
    ("text", "grave"),
    [
        ("My grandmother is in hospital.", True),
        ("They found a tumour in my lung.", True),
        ("My dog died last night.", True),
        ("We won the match!", False),
        ("My sister is in Paris.", False),
    ],
)
def test_nobody_smiles_back_at_bad_news(student: TextStudent, text: str, grave: bool) -> None:
    said = student.read(text)
    smile = np.full(7, 0.02)
    smile[basic7().index("Happy")] = 0.88
    feels = Emotion("basic7", smile, smile > 0.5, 0.7, 0.3, quality=1.0)
    feels = replace(feels, fine_label_set="goemotions28", fine_probabilities=said.emotions, words=Speech(text, 0.0))
    box = Box(270.0, 190.0, 100.0, 100.0)
    person = SeenPerson(Person("p", 0.9, face=Face(box, 0.9)), feels)
    context = Context(0.0, Scene(0.0, 640, 480, (person,)), person, Speech(text, 0.0))
    target = PrototypeExpression(PrototypeSettings(perspective="listener"), basis=open_basis()).express(context, 0.0)
    assert target.shown.valence < 0.1 if grave else target.shown.valence > 0.15
    mirror = PrototypeExpression(PrototypeSettings(perspective="mirror"), basis=open_basis()).express(context, 0.0)
    assert mirror.shown.valence > 0.3


def _as_stated(student: TextStudent, path: Path) -> list[bool]:
    """Per pair: whether the faces of the two lines differ in the channel and with the sign that were written before."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        _, channel, sign, _, _, *texts = line.split("\t")
        faces = []
        for text in texts:
            said = student.read(text)
            mixture = felt(FACS, said.emotions, said.probabilities)
            faces.append(FACS.arkit(mixture, strength_of(text, said.arousal))[ARKIT_INDEX[channel]])
        difference = faces[0] - faces[1]
        found.append(bool(difference > 0.02 if sign == "+" else difference < -0.02))
    return found


def test_forty_pairs_with_one_basic_emotion_differ_as_was_said_before(student: TextStudent) -> None:
    found = _as_stated(student, PAIRS)
    assert len(found) == 40
    assert sum(found) >= PAIRS_RIGHT


def test_forty_pairs_on_which_no_threshold_was_set_differ_as_well(student: TextStudent) -> None:
    found = _as_stated(student, UNSEEN_PAIRS)
    assert len(found) == 40
    assert sum(found) >= UNSEEN_PAIRS_RIGHT
