"""Scores of single-label classifiers, by scikit-learn: accuracy, recall, F1; and the log-likelihood.

Shapes everywhere: ``truth`` (n,) class indices, ``probabilities`` (n, c) rows that sum to 1.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.core.types import Array, FloatArray

Labels = NDArray[np.integer[Any]]
TINY = 1e-12


def check(truth: Labels, probabilities: FloatArray) -> tuple[NDArray[np.int64], Array]:
    """The two arrays in one type. Raises UserError if they are empty, of different length, or not finite."""
    t, p = np.asarray(truth), np.asarray(probabilities, dtype=np.float64)
    if t.ndim != 1 or p.ndim != 2 or len(t) != len(p):
        raise UserError(f"evaluation: expected truth (n,) and probabilities (n, classes), got {t.shape} and {p.shape}")
    if not len(t):
        raise UserError("evaluation: no samples; the split is empty")
    if not np.isfinite(p).all() or (p < 0).any():
        raise UserError("evaluation: probabilities must be finite and not negative")
    if t.min() < 0 or t.max() >= p.shape[1]:
        raise UserError(f"evaluation: truth must lie in 0..{p.shape[1] - 1}, got {t.min()}..{t.max()}")
    return t.astype(np.int64), p


def confusion(truth: Labels, probabilities: FloatArray) -> NDArray[np.int64]:
    """(c, c) counts: row = truth, column = top label."""
    t, p = check(truth, probabilities)
    return np.asarray(sklearn_metrics().confusion_matrix(t, p.argmax(1), labels=range(p.shape[1])))


def accuracy(truth: Labels, probabilities: FloatArray) -> float:
    """Share of rows whose top label is right."""
    t, p = check(truth, probabilities)
    return float(sklearn_metrics().accuracy_score(t, p.argmax(1)))


def recall_per_class(truth: Labels, probabilities: FloatArray) -> Array:
    """(c,) share of each class's rows that were found; NaN for a class without rows."""
    return _per_class("recall_score", truth, probabilities)


def f1_per_class(truth: Labels, probabilities: FloatArray) -> Array:
    """(c,) F1 of each class; NaN for a class that is neither true nor guessed anywhere."""
    return _per_class("f1_score", truth, probabilities)


def macro_f1(truth: Labels, probabilities: FloatArray) -> float:
    """Mean F1 of the classes that occur in truth or guesses."""
    t, p = check(truth, probabilities)
    return float(sklearn_metrics().f1_score(t, p.argmax(1), average="macro"))


def nll(truth: Labels, probabilities: FloatArray) -> float:
    """Mean negative log-likelihood of the truth, nats; scikit-learn's refuses rows in single precision."""
    t, p = check(truth, probabilities)
    return float(-np.log(np.maximum(p[np.arange(len(t)), t], TINY)).mean())


def sklearn_metrics() -> Any:
    """scikit-learn's metrics. Raises UserError with the command that installs them."""
    try:
        from sklearn import metrics
    except ImportError:
        raise UserError(f"evaluation needs scikit-learn: {how_to_install('eval')}") from None
    return metrics


def _per_class(name: str, truth: Labels, probabilities: FloatArray) -> Array:
    t, p = check(truth, probabilities)
    score = getattr(sklearn_metrics(), name)
    return np.asarray(score(t, p.argmax(1), labels=range(p.shape[1]), average=None, zero_division=np.nan))
