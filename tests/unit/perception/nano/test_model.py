"""The nano model: sources reach their own person, fade, and drop out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from emo_face.core.labels import basic7
from emo_face.core.types import Box, Emotion, Face, FloatArray, ImageArray, Person, Speech
from emo_face.perception.fusion import FusionParameters
from emo_face.perception.nano.model import NanoEmotion

FRAME = np.zeros((48, 64, 3), dtype=np.uint8)
PLAIN = FusionParameters(label_set="basic7", sources={}, thresholds={"Happy": 0.3})


@dataclass(frozen=True)
class Said:
    probabilities: FloatArray
    quality: float
    emotions: FloatArray = field(default_factory=lambda: np.full(28, 0.1))
    valence: float = 0.0
    arousal: float = 0.0


def peaked(label: str, p: float = 0.8) -> FloatArray:
    out = np.full(7, (1 - p) / 6)
    out[basic7().index(label)] = p
    return out


class Faces:
    """Reads a face by where it is: left half happy, right half sad."""

    hashes: Mapping[str, str] = {"face.onnx": "f"}

    def __init__(self, quality: float = 1.0) -> None:
        self.quality, self.batches = quality, []  # type: ignore[var-annotated]

    def read(self, frame: ImageArray, faces: Sequence[Face]) -> list[Said]:
        self.batches.append(len(faces))
        return [Said(peaked("Happy" if f.box.x < 32 else "Sad"), self.quality) for f in faces]


class Words:
    hashes: Mapping[str, str] = {"text.onnx": "t"}
    languages = ("en",)

    def __init__(self) -> None:
        self.calls = 0

    def read(self, text: str, locale: str = "") -> Said:
        self.calls += 1
        return Said(peaked("Anger", 0.95), 1.0 if text and not locale.startswith("nl") else 0.0)


def person(name: str, x: float | None) -> Person:
    return Person(name, 0.9, Box(0, 0, 9, 30), None if x is None else Face(Box(x, 5, 10, 10), 0.9))


def top(emotion: Emotion) -> str:
    return basic7().labels[int(emotion.probabilities.argmax())]


def test_one_batch_and_everybody_gets_their_own() -> None:
    faces = Faces()
    model = NanoEmotion(faces, Words(), PLAIN)
    people = [person("p1", 5), person("p2", None), person("p3", 50)]
    first, second, third = model.estimate(FRAME, people, {}, 0.0)
    assert faces.batches == [2]
    assert (top(first), top(third)) == ("Happy", "Sad")
    assert second.quality == 0.0
    np.testing.assert_allclose(second.probabilities, 1 / 7)
    assert first.active.tolist() == [False, False, False, True, False, False, False]
    assert first.valence > 0 > third.valence
    assert model.hashes == {"face.onnx": "f", "text.onnx": "t"}


def test_speech_reaches_only_its_speaker_and_fades() -> None:
    words = Words()
    model = NanoEmotion(Faces(), words, PLAIN, speech_ttl=4.0)
    people = [person("p1", 5), person("p2", 5)]
    speech = {"p1": Speech("go away", stamp=10.0)}
    shares = []
    for age in (0.0, 1.0, 2.0, 3.0, 4.0, 9.0):
        one, two = model.estimate(FRAME, people, speech, 10.0 + age)
        shares.append(float(one.probabilities[basic7().index("Anger")]))
        assert top(two) == "Happy"
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.5 > shares[3]
    np.testing.assert_allclose(one.probabilities, two.probabilities)  # at the end it is as if nothing had been said
    assert words.calls == 1  # read once, not once per frame


def test_evidence_says_which_source_counted() -> None:
    model = NanoEmotion(Faces(quality=0.3), Words(), PLAIN)
    emotion = model.estimate(FRAME, [person("p1", 5)], {"p1": Speech("go away", 0.0)}, 0.0)[0]
    assert top(emotion) == "Anger"
    assert emotion.evidence["speech"] > 0 > emotion.evidence["face"]


@pytest.mark.parametrize("quality", [0.0, float("nan")])
def test_unusable_sources_leave_it_flat(quality: float) -> None:
    model = NanoEmotion(Faces(quality), None, PLAIN)
    emotion = model.estimate(FRAME, [person("p1", 5)], {"p1": Speech("hello", 0.0)}, 0.0)[0]
    assert emotion.quality == 0.0
    np.testing.assert_allclose(emotion.probabilities, 1 / 7)


def test_many_utterances_do_not_pile_up() -> None:
    model = NanoEmotion(None, Words(), PLAIN)
    for k in range(500):
        model.estimate(FRAME, [person("p1", 5)], {"p1": Speech(f"line {k}", float(k))}, float(k))
    assert len(model._heard) <= 64


@dataclass(frozen=True)
class Shape:
    probabilities: FloatArray
    expression: FloatArray
    settled: float


class Shapes:
    """Sees a smile in every face."""

    def __init__(self) -> None:
        self.forgotten = 0

    def estimate(self, frame: ImageArray, people: Sequence[Person], now: float) -> dict[str, Shape]:
        return {p.person_id: Shape(peaked("Happy"), np.full(52, 0.1), 1.0) for p in people if p.face is not None}

    def forget(self, person_id: str | None = None) -> None:
        self.forgotten += 1


def test_second_opinion_counts_and_its_expression_is_kept() -> None:
    shapes = Shapes()
    model = NanoEmotion(Faces(), None, PLAIN, shapes=shapes)
    sad, unseen = model.estimate(FRAME, [person("p1", 50), person("p2", None)], {}, 0.0)
    alone = NanoEmotion(Faces(), None, PLAIN).estimate(FRAME, [person("p1", 50)], {}, 0.0)[0]
    happy = basic7().index("Happy")
    assert sad.probabilities[happy] > alone.probabilities[happy]
    assert set(sad.evidence) == {"face", "blendshapes"}
    assert unseen.quality == 0.0
    np.testing.assert_array_equal(sad.arkit, np.full(52, 0.1))
    assert unseen.arkit is None
    model.reset()
    assert shapes.forgotten == 1


def test_words_of_nobody_in_view_are_read_and_fade() -> None:
    model = NanoEmotion(None, Words(), PLAIN, speech_ttl=10.0)
    fresh, old = (model.hear(Speech("leave me alone", 0.0), now) for now in (0.0, 9.0))
    assert fresh is not None
    assert old is not None
    assert top(fresh) == "Anger"
    assert fresh.words is not None
    assert fresh.fine_label_set == "goemotions28"
    assert fresh.probabilities.max() > old.probabilities.max()
    assert model.hear(Speech("leave me alone", 0.0), 10.0) is None
    assert model.hear(Speech("laat me los", 0.0, locale="nl-NL"), 0.0) is None
    assert NanoEmotion(Faces(), None, PLAIN).hear(Speech("hi", 0.0), 0.0) is None


def test_a_guess_at_the_speaker_counts_less_than_a_name() -> None:
    model = NanoEmotion(None, Words(), PLAIN)
    sure, guessed = (
        model.estimate(FRAME, [person("p1", None)], {"p1": Speech("go", 0.0, attribution=a)}, 0.0)[0]
        for a in (1.0, 0.5)
    )
    assert sure.probabilities.max() > guessed.probabilities.max() > 1 / 7
    assert sure.fine_probabilities is not None
