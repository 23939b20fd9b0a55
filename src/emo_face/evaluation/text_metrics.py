"""Scores of single-label classifiers: macro-F1, expected calibration error, bootstrap intervals. NumPy only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import FloatArray

Labels = NDArray[np.integer]


def confusion(truth: Labels, guess: Labels, classes: int = 7) -> NDArray[np.int64]:
    """(classes, classes) counts, row = truth, column = guess."""
    return np.bincount(np.asarray(truth) * classes + np.asarray(guess), minlength=classes**2).reshape(classes, classes)


def class_f1(truth: Labels, guess: Labels, classes: int = 7) -> FloatArray:
    """(classes,) F1 of each class; 0 where a class is neither true nor guessed."""
    table = confusion(truth, guess, classes)
    both = np.diag(table)
    total = table.sum(0) + table.sum(1)
    return np.where(total > 0, 2 * both / np.maximum(total, 1), 0.0)


def macro_f1(truth: Labels, guess: Labels, classes: int = 7) -> float:
    """Mean F1 over all classes, in [0, 1]."""
    return float(class_f1(truth, guess, classes).mean())


def calibration_error(truth: Labels, probabilities: FloatArray, bins: int = 15) -> float:
    """Expected calibration error of the top label, equal-width bins (Guo et al., ICML 2017, equation 3); in [0, 1]."""
    confidence = probabilities.max(1)
    hit = probabilities.argmax(1) == np.asarray(truth)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(place, weights=hit - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / max(1, len(confidence)))


def bootstrap(
    truth: Labels, guess: Labels, score: Callable[[Labels, Labels], float], seed: int = 0, rounds: int = 1000
) -> tuple[float, float]:
    """95 % percentile interval of ``score`` over resampled rows."""
    generator = np.random.default_rng(seed)
    truth, guess = np.asarray(truth), np.asarray(guess)
    picks = (generator.integers(0, len(truth), len(truth)) for _ in range(rounds))
    values = [score(truth[pick], guess[pick]) for pick in picks]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
