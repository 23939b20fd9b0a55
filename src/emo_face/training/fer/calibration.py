"""Temperature and one bias per label for the FER student, fitted on what the folds said about strangers.

Vector scaling (Guo et al., ICML 2017, section 4.2) with a weak pull to no bias. The biases are fitted to the folds and
FER+'s validation faces alike, the temperature to the latter alone. The figures reported for a fold use a calibration to
which its own people gave nothing; the shipped model uses the one of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize, minimize_scalar

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


def calibrate(posed: Sequence[FoldPrediction], crowd: Sequence[FoldPrediction] = ()) -> VectorScaling:
    """The scaling with the least log loss over the labelled predictions but those of HELD_OUT; CMU's among its four
    labels. Both groups weigh the same, whatever their size.

    Args:
        crowd: predictions for faces from everywhere. If given, the temperature is theirs alone: people who pose for a
            study show less than people show elsewhere, and doubt about them would be doubt about everybody.
    """
    kept = [[f for f in group if f.label and f.fold != HELD_OUT] for group in (posed, crowd)]
    rows = [f for group in kept for f in group]
    both = _fit(rows, np.concatenate([np.full(len(group), 1 / len(group)) for group in kept if group]))
    return replace(both, temperature=_temperature(kept[1], both.bias)) if kept[1] else both


def _fit(rows: Sequence[FoldPrediction], share: FloatArray) -> VectorScaling:
    loss, count = _LogLoss(rows, share / share.sum()), len(basic7())
    start = np.zeros(count + 1)
    best = minimize(lambda v: loss(v[count], v[:count]) + PULL * (v[:count] ** 2).sum(), start, method="L-BFGS-B").x
    return VectorScaling(float(np.exp(best[count])), np.asarray(best[:count]))


def _temperature(rows: Sequence[FoldPrediction], bias: FloatArray) -> float:
    loss = _LogLoss(rows, np.full(len(rows), 1 / len(rows)))
    return float(np.exp(minimize_scalar(lambda v: loss(v, bias), bounds=(-2, 2), method="bounded").x))


class _LogLoss:
    """Mean log loss of predictions (weights ``share`` (n,)) under a temperature, given as its logarithm, and biases."""

    def __init__(self, rows: Sequence[FoldPrediction], share: FloatArray) -> None:
        self._logits = np.array([f.logits for f in rows])
        self._truth = np.array([basic7().index(f.label) for f in rows])
        self._allowed = np.array([_allowed(f.source) for f in rows])
        self._share = share

    def __call__(self, log_temperature: float, bias: FloatArray) -> float:
        log_p = log_softmax(self._logits / np.exp(log_temperature) + bias + self._allowed)
        return float(-(self._share * log_p[np.arange(len(self._truth)), self._truth]).sum())


def calibrated_by_others(found: Sequence[FoldPrediction], crowd: Sequence[FoldPrediction] = ()) -> list[FoldPrediction]:
    """Every prediction calibrated by what the other folds said, and by the crowd."""
    by_fold = {k: calibrate([f for f in found if f.fold != k], crowd) for k in sorted({f.fold for f in found})}
    return [replace(f, logits=tuple(map(float, by_fold[f.fold].apply(np.array(f.logits))))) for f in found]


def _allowed(source: str) -> Array:
    if source != CMU:
        return np.zeros(len(basic7()))
    return np.array([0.0 if label in CMU_LABELS else NEVER for label in basic7().labels])
