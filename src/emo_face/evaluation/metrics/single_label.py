"""Scores of single-label classifiers: accuracy, recall, F1, negative log-likelihood, bootstrap. NumPy only.

Shapes everywhere: ``truth`` (n,) class indices, ``probabilities`` (n, c) rows that sum to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import UserError
from emo_face.core.types import FloatArray

Labels = NDArray[np.integer[Any]]
Score = Callable[[Labels, FloatArray], float]
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its percentile bootstrap interval."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """``value``, ``low``, ``high``, rounded to four digits."""
        return {"value": round(self.value, 4), "low": round(self.low, 4), "high": round(self.high, 4)}


def check(truth: Labels, probabilities: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The two arrays in one type. Raises UserError where they are empty, of different length, or not finite."""
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
    classes = p.shape[1]
    return np.bincount(t * classes + p.argmax(1), minlength=classes**2).reshape(classes, classes)


def accuracy(truth: Labels, probabilities: FloatArray) -> float:
    """Share of rows whose top label is right."""
    t, p = check(truth, probabilities)
    return float((p.argmax(1) == t).mean())


def recall_per_class(truth: Labels, probabilities: FloatArray) -> NDArray[np.float64]:
    """(c,) share of each class's rows that were found; NaN for a class without rows."""
    table = confusion(truth, probabilities)
    rows = table.sum(1)
    return np.where(rows > 0, np.diag(table) / np.maximum(rows, 1), np.nan)


def f1_per_class(truth: Labels, probabilities: FloatArray) -> NDArray[np.float64]:
    """(c,) F1 of each class; NaN for a class that is neither true nor guessed anywhere."""
    table = confusion(truth, probabilities)
    total = table.sum(0) + table.sum(1)
    return np.where(total > 0, 2 * np.diag(table) / np.maximum(total, 1), np.nan)


def macro_f1(truth: Labels, probabilities: FloatArray) -> float:
    """Mean F1 of the classes that occur in truth or guesses."""
    return float(np.nanmean(f1_per_class(truth, probabilities)))


def nll(truth: Labels, probabilities: FloatArray) -> float:
    """Mean negative log-likelihood of the truth, nats."""
    t, p = check(truth, probabilities)
    return float(-np.log(np.maximum(p[np.arange(len(t)), t], TINY)).mean())


def bootstrap(
    truth: Labels, probabilities: FloatArray, score: Score, seed: int = 0, rounds: int = 1000, level: float = 0.95
) -> Interval:
    """``score`` with its percentile interval over resampled rows (Efron & Tibshirani 1993, chapter 13).

    Args:
        level: coverage of the interval, in (0, 1).
    """
    t, p = check(truth, probabilities)
    rng = np.random.default_rng(seed)
    picks = (rng.integers(0, len(t), len(t)) for _ in range(rounds))
    values = [score(t[pick], p[pick]) for pick in picks]
    low, high = np.nanpercentile(values, [50 * (1 - level), 50 * (1 + level)])
    return Interval(score(t, p), float(low), float(high))
