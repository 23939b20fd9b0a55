"""Emotion label sets: fixed order, known spelling, valence and arousal with a source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import yaml

from emo_face.core.paths import data_file
from emo_face.core.types import FloatArray


@dataclass(frozen=True)
class LabelSet:
    """An ordered set of emotion labels.

    Attributes:
        name: key in ``data/labels.yaml``, published as ``label_set``.
        labels: labels in the order of every probability vector.
        valence, arousal: one value a label in [-1, 1] (source in the data file).
    """

    name: str
    labels: tuple[str, ...]
    valence: tuple[float, ...]
    arousal: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, label: str) -> int:
        """Position of ``label``. Raises ValueError naming the label and the set."""
        try:
            return self.labels.index(label)
        except ValueError:
            raise ValueError(f"label {label!r} is not in label set {self.name!r}: expected one of {', '.join(self.labels)}") from None

    def circumplex(self, probabilities: FloatArray) -> tuple[float, float]:
        """Expected (valence, arousal), each in [-1, 1], of a distribution of shape (n,)."""
        weights = np.asarray(probabilities, dtype=np.float64)
        total = float(weights.sum())
        if total <= 0:
            return 0.0, 0.0
        return (
            float(np.dot(weights, self.valence) / total),
            float(np.dot(weights, self.arousal) / total),
        )


@cache
def _table() -> dict[str, LabelSet]:
    raw = yaml.safe_load(data_file("labels.yaml").read_text(encoding="utf-8"))
    return {
        name: LabelSet(
            name=name,
            labels=tuple(entry["label"] for entry in body["labels"]),
            valence=tuple(float(entry["valence"]) for entry in body["labels"]),
            arousal=tuple(float(entry["arousal"]) for entry in body["labels"]),
        )
        for name, body in raw["sets"].items()
    }


def label_set(name: str) -> LabelSet:
    """The label set called ``name``. Raises KeyError that lists the known sets."""
    try:
        return _table()[name]
    except KeyError:
        raise KeyError(f"unknown label set {name!r}: known are {', '.join(sorted(_table()))}") from None


def basic7() -> LabelSet:
    """Anger, Disgust, Fear, Happy, Sad, Surprise, Neutral: the nano tier's labels."""
    return label_set("basic7")
