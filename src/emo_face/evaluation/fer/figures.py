"""Figures of a face model on the labelled pictures and the clip, from its probabilities alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emo_face.core.labels import basic7
from emo_face.core.types import Emotion, FloatArray, IntArray
from emo_face.evaluation.metrics.calibration import ece
from emo_face.evaluation.metrics.intervals import bootstrap
from emo_face.perception.smooth import EmotionSmoother

CMU_LABELS = ("Anger", "Happy", "Sad", "Neutral")
CLIP_ORDER = ("Sad", "Fear", "Happy")
CLIP_TAU = 0.5
SHORTEST_RUN = 0.75  # seconds; a shorter run of a top label does not count as a phase of the clip
BINS = 10


@dataclass(frozen=True)
class Judged:
    """One picture and what a model said.

    Attributes:
        source, name, person, label: as :class:`~emo_face.datasets.faces.faces.FacePicture`; label is empty if unknown.
        probabilities: (7,).
    """

    source: str
    name: str
    person: str
    label: str
    probabilities: FloatArray


@dataclass(frozen=True)
class Said:
    """Truth (n,) and probabilities (n, 7) of one data set, for reliability diagrams."""

    truth: IntArray
    probabilities: FloatArray


def of_source(judged: Sequence[Judged], source: str) -> Said:
    """The labelled pictures of one source."""
    rows = [j for j in judged if j.source == source and j.label]
    truth = np.array([basic7().index(j.label) for j in rows], dtype=np.int64)
    return Said(truth, np.array([j.probabilities for j in rows], dtype=np.float64).reshape(-1, len(basic7())))


def figures(judged: Sequence[Judged]) -> dict[str, Any]:
    """The figures of issue tables: CMU accuracy among its four labels, London recalls, photos right, the clip's
    order."""
    cmu = [j for j in judged if j.source == "cmu"]
    london, photos = of_source(judged, "london"), of_source(judged, "photos")
    result: dict[str, Any] = {
        "cmu_accuracy": _round(_narrow_accuracy(cmu)),
        "cmu_accuracy_ci95": _interval(cmu, _narrow_accuracy),
    }
    for key, label in (("london_smiling_recall", "Happy"), ("london_neutral_recall", "Neutral")):
        mine = london.truth == basic7().index(label)
        hits = london.probabilities[mine].argmax(axis=1) == basic7().index(label)
        result[key] = _round(float(hits.mean())) if mine.any() else None
    right = photos.probabilities.argmax(axis=1) == photos.truth if len(photos.truth) else np.zeros(0)
    result |= {
        "max_correct": int(right.sum()),
        "max_total": len(photos.truth),
        "ece": _round(calibration_error(judged)),
    }
    phases = clip_phases(judged)
    result |= {"clip_phases": phases, "clip_follows": follows(phases)}
    return result


def calibration_error(judged: Sequence[Judged]) -> float:
    """Expected calibration error (Guo et al., ICML 2017) over all labelled pictures, CMU among its four labels."""
    rows = [
        (basic7().index(j.label), narrow(j.probabilities) if j.source == "cmu" else j.probabilities)
        for j in judged
        if j.label
    ]
    if not rows:
        return 0.0
    truth, probabilities = (np.array(part) for part in zip(*rows, strict=True))
    return ece(truth, probabilities, BINS)


def narrow(probabilities: FloatArray) -> FloatArray:
    """(7,) renormalised over the four labels that CMU's people were asked for."""
    kept = np.where(np.isin(basic7().labels, CMU_LABELS), probabilities, 0.0)
    return np.asarray(kept / max(float(kept.sum()), 1e-12))


def clip_phases(judged: Sequence[Judged], rate: float = 24.0) -> list[str]:
    """Top emotions of the clip in order after smoothing in time; runs shorter than 0.75 s are dropped."""
    frames = sorted((int(j.name.rsplit("#", 1)[1]), j) for j in judged if j.source == "video")
    if not frames:
        return []
    smoother = EmotionSmoother(basic7(), tau=CLIP_TAU)
    runs: list[tuple[str, float]] = []
    last = frames[0][0] / rate
    for number, j in frames:
        now = number / rate
        emotion = Emotion("basic7", j.probabilities, np.zeros(7, dtype=np.bool_), 0.0, 0.0, quality=1.0)
        top = basic7().labels[int(smoother.update(["clip"], [emotion], now)[0].probabilities.argmax())]
        step = now - last
        last = now
        if runs and runs[-1][0] == top:
            runs[-1] = (top, runs[-1][1] + step)
        else:
            runs.append((top, step))
    phases: list[str] = []
    for label, length in runs:
        if length >= SHORTEST_RUN and (not phases or phases[-1] != label):
            phases.append(label)
    return phases


def follows(phases: Sequence[str], order: Sequence[str] = CLIP_ORDER) -> bool:
    """Whether the phases are exactly ``order``."""
    return tuple(phases) == tuple(order)


def _narrow_accuracy(rows: Sequence[Judged]) -> float:
    if not rows:
        return float("nan")
    return float(np.mean([int(narrow(j.probabilities).argmax()) == basic7().index(j.label) for j in rows]))


def _interval(rows: Sequence[Judged], measure: Callable[[Sequence[Judged]], float]) -> list[float]:
    """95 % interval from a bootstrap over people, since pictures of one person are not independent."""
    by_person: dict[str, list[Judged]] = {}
    for j in rows:
        by_person.setdefault(j.person, []).append(j)
    people = list(by_person.values())
    if not people:
        return []
    found = bootstrap(lambda drawn: measure([j for i in drawn for j in people[i]]), len(people))
    return [_round(found.low), _round(found.high)]


def _round(value: float) -> float:
    return round(value, 4)
