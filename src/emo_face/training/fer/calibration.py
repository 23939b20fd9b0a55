"""Temperature and one bias per label for the FER student, fitted on what the folds said about strangers.

Vector scaling (Guo et al., ICML 2017, section 4.2) with a weak pull to no bias. The figures reported for a fold use a
calibration fitted on the other folds alone; the shipped model uses the one fitted on all of them and on FER+'s
validation faces, where these are given.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from emo_face.core.labels import basic7
from emo_face.core.numeric import log_softmax
from emo_face.core.types import Array, FloatArray
from emo_face.datasets.faces.faces import CMU
from emo_face.evaluation.fer.figures import CMU_LABELS
from emo_face.evaluation.fer.folds import FoldPrediction
from emo_face.training.fer.bank import HELD_OUT

PULL = 0.03
NEVER = -1e9


@dataclass(frozen=True)
class VectorScaling:
    """``logits / temperature + bias``."""

    temperature: float
    bias: FloatArray

    def apply(self, logits: FloatArray) -> FloatArray:
        """(..., 7) calibrated logits."""
        return np.asarray(np.asarray(logits) / self.temperature + self.bias)


def calibrate(*groups: Sequence[FoldPrediction]) -> VectorScaling:
    """The scaling with the least log loss over the labelled predictions but those of HELD_OUT; CMU's among its four
    labels. Every group weighs the same, whatever its size."""
    kept = [[f for f in group if f.label and f.fold != HELD_OUT] for group in groups]
    kept = [group for group in kept if group]
    rows = [f for group in kept for f in group]
    share = np.concatenate([np.full(len(group), 1 / len(group) / len(kept)) for group in kept])
    logits = np.array([f.logits for f in rows])
    truth = np.array([basic7().index(f.label) for f in rows])
    allowed = np.array([_allowed(f.source) for f in rows])
    count = len(basic7())

    def loss(values: FloatArray) -> float:
        scores = logits / np.exp(values[count]) + values[:count] + allowed
        log_p = log_softmax(scores)
        return float(-(share * log_p[np.arange(len(truth)), truth]).sum() + PULL * (values[:count] ** 2).sum())

    best = minimize(loss, np.zeros(count + 1), method="L-BFGS-B").x
    return VectorScaling(float(np.exp(best[count])), np.asarray(best[:count]))


def calibrated_by_others(found: Sequence[FoldPrediction]) -> list[FoldPrediction]:
    """Every prediction calibrated by what the other folds said."""
    by_fold = {k: calibrate([f for f in found if f.fold != k]) for k in sorted({f.fold for f in found})}
    return [replace(f, logits=tuple(map(float, by_fold[f.fold].apply(np.array(f.logits))))) for f in found]


def _allowed(source: str) -> Array:
    if source != CMU:
        return np.zeros(len(basic7()))
    return np.array([0.0 if label in CMU_LABELS else NEVER for label in basic7().labels])
