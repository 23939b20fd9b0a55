"""Emotion label sets: fixed order, known spelling, valence and arousal with a source."""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from emo_face.core.paths import data_table
from emo_face.core.types import Emotion, FloatArray

FLAT, TIE = 1e-3, 1e-6
"""A label stands out if it is above the mean of all by ``FLAT`` and above every other by ``TIE``."""


@dataclass(frozen=True)
class LabelSet:
    """An ordered set of emotion labels.

    Attributes:
        name: key in ``data/labels.yaml``, published as ``label_set``.
        labels: labels in the order of every probability vector.
        valence, arousal: one value per label in [-1, 1] (source in the data file); NaN if no source gives one.
        multi: True if a person may carry several labels at once (probabilities are then independent).
    """

    name: str
    labels: tuple[str, ...]
    valence: tuple[float, ...]
    arousal: tuple[float, ...]
    multi: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, label: str) -> int:
        """Position of ``label``. Raises ValueError naming the label and the set."""
        try:
            return self.labels.index(label)
        except ValueError:
            known = ", ".join(self.labels)
            raise ValueError(f"label {label!r} is not in label set {self.name!r}: expected one of {known}") from None

    def circumplex(self, probabilities: FloatArray) -> tuple[float, float]:
        """Expected (valence, arousal), each in [-1, 1], of a distribution of shape (n,).

        Labels without a sourced position (NaN) take no part; (0, 0) if nothing is left.
        """
        weights = np.asarray(probabilities, dtype=np.float64)
        valence, arousal = np.asarray(self.valence), np.asarray(self.arousal)
        known = np.isfinite(valence) & np.isfinite(arousal)
        total = float(weights[known].sum())
        if total <= 0:
            return 0.0, 0.0
        return (
            float(np.dot(weights[known], valence[known]) / total),
            float(np.dot(weights[known], arousal[known]) / total),
        )

    def top(self, probabilities: FloatArray) -> str:
        """The label that stands out of a distribution of shape (n,), or an empty text: a flat one has no winner."""
        best = winner(probabilities) if np.shape(probabilities) == (len(self),) else None
        return "" if best is None else self.labels[best]


def winner(probabilities: FloatArray) -> int | None:
    """The number of the one that stands out of a distribution of shape (n,), n > 1; None of a flat one."""
    values = np.asarray(probabilities, dtype=np.float64)
    if not np.isfinite(values).all():
        return None
    best, second = np.argsort(-values, kind="stable")[:2]
    stands_out = values[best] - values.mean() > FLAT and values[best] - values[second] > TIE
    return int(best) if stands_out else None


def top_of(emotion: Emotion | None) -> str:
    """The label that stands out of an emotion; empty without evidence (quality 0) and if nothing stands out."""
    if emotion is None or not emotion.quality > 0:
        return ""
    return label_set(emotion.label_set).top(emotion.probabilities)


def fine_top_of(emotion: Emotion | None) -> str:
    """As :func:`top_of`, of the finer labels."""
    if emotion is None or not emotion.quality > 0 or emotion.fine_probabilities is None:
        return ""
    return label_set(emotion.fine_label_set).top(emotion.fine_probabilities)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def label_colour(label: str) -> str:
    """Colour of an emotion, ``#rrggbb``, from ``data/labels.yaml``; one colour for all that it does not name."""
    colours: dict[str, str] = data_table("labels.yaml")["colours"]
    return colours.get(label, colours["other"])


def label_rgb(label: str) -> tuple[int, int, int]:
    """The same as red, green and blue, 0 to 255."""
    red, green, blue = bytes.fromhex(label_colour(label)[1:])
    return red, green, blue


@cache
def _table() -> dict[str, LabelSet]:
    return {
        name: LabelSet(
            name=name,
            labels=tuple(entry["label"] for entry in body["labels"]),
            valence=tuple(_number(entry["valence"]) for entry in body["labels"]),
            arousal=tuple(_number(entry["arousal"]) for entry in body["labels"]),
            multi=bool(body.get("multi", False)),
        )
        for name, body in data_table("labels.yaml")["sets"].items()
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
