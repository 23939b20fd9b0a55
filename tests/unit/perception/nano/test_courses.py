"""How faces and words of a person become one answer over time: the stories in tests/scenarios/pool_*.yaml.

What people expect: a feeling that was said outlasts its words (Verduyn et al., Emotion 9, 2009) though the face stays
still, fades without a jump, and gives way to what the face shows next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from emo_face.core.labels import basic7
from emo_face.core.paths import share_dir
from emo_face.core.types import Box, Emotion, Face, FloatArray, ImageArray, Person, Speech
from emo_face.perception.fusion import read_fusion
from emo_face.perception.nano.model import FUSION_FILE, NanoEmotion
from emo_face.perception.nano.text import TextReading
from emo_face.perception.smooth import EmotionSmoother

STORIES = [
    story
    for path in sorted((Path(__file__).parents[3] / "scenarios").glob("pool_*.yaml"))
    for story in yaml.safe_load(path.read_text())
]
FRAME = np.zeros((48, 64, 3), dtype=np.uint8)
LABELS = basic7()
STEP = 0.1


def distribution(shares: Mapping[str, float]) -> FloatArray:
    """The given shares; of the rest 60 % on Neutral (or shared, if that is given) and the others alike."""
    p = np.full(7, np.nan)
    for label, share in shares.items():
        p[LABELS.index(label)] = share
    rest, neutral = 1.0 - sum(shares.values()), LABELS.index("Neutral")
    if np.isnan(p[neutral]):
        p[neutral], rest = 0.6 * rest, 0.4 * rest
    p[np.isnan(p)] = rest / np.isnan(p).sum()
    return p


class Told:
    """Face and words as the story tells them."""

    hashes: Mapping[str, str] = {}
    languages = ("en",)

    def __init__(self) -> None:
        self.face: FloatArray | None = None
        self.words: dict[str, FloatArray] = {}


class ToldFace(Told):
    def read(self, frame: ImageArray, faces: Sequence[Face]) -> list[TextReading]:
        assert self.face is not None
        return [TextReading(self.face, 0.8, np.zeros(28))]


class ToldWords(Told):
    def read(self, text: str, locale: str = "") -> TextReading:
        return TextReading(self.words[text], 1.0, np.zeros(28))


def course(story: dict[str, Any]) -> dict[float, Emotion]:
    """Moment -> emotion, as the pipeline's smoother gives it out; of nobody in view, as it is heard."""
    face, words = ToldFace(), ToldWords()
    model = NanoEmotion(face, words, read_fusion(share_dir() / "models" / FUSION_FILE))
    smoother = EmotionSmoother(LABELS, thresholds=model.thresholds)
    speech: Speech | None = None
    out, events = {}, [event for event in story["timeline"] if "face" in event or "says" in event]
    end = max(event.get("until", event["at"]) for event in story["timeline"])
    for now in np.round(np.arange(0.0, end + STEP / 2, STEP), 1).tolist():
        while events and events[0]["at"] <= now:
            event = events.pop(0)
            if "face" in event:
                face.face = distribution(event["face"])
            if "says" in event:
                speech = Speech(f"line at {now}", now)
                words.words[speech.text] = distribution(event["says"])
        if face.face is None:
            assert speech is not None
            heard = model.hear(speech, now)
            flat = np.full(7, 1 / 7)
            out[now] = heard or Emotion("basic7", flat, flat > 1, 0.0, 0.0)
            continue
        person = Person("p1", 0.9, Box(0, 0, 40, 40), Face(Box(5, 5, 20, 20), 0.9))
        raw = model.estimate(FRAME, [person], {} if speech is None else {"p1": speech}, now)
        out[now] = smoother.update(["p1"], raw, now)[0]
    return out


@pytest.mark.parametrize("story", STORIES, ids=[story["name"] for story in STORIES])
def test_story(story: dict[str, Any]) -> None:
    emotions = course(story)
    for event in story["timeline"]:
        moments = [t for t in emotions if event["at"] <= t < event.get("until", 0.0)]
        if label := event.get("falls"):
            shares = np.array([emotions[t].probabilities[LABELS.index(label)] for t in moments])
            assert (np.diff(shares) <= 1e-9).all(), f"from {event['at']}: rises"
            assert np.diff(shares).min() >= -event["step"], f"from {event['at']}: a jump of {np.diff(shares).min():.3f}"
        if label := event.get("expect"):
            for t in moments:
                p, index = emotions[t].probabilities, LABELS.index(label)
                where = f"at {t}: {dict(zip(LABELS.labels, p.round(2).tolist(), strict=True))}"
                assert p.argmax() == index, where
                assert emotions[t].active[index] or not event.get("active"), where
                assert event.get("least", 0.0) <= p[index] <= event.get("most", 1.0), where
