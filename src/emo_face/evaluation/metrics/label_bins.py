"""Calibration of independent per-label scores: ECE, Brier and reliability bins of each label.

Bins of equal mass (Nixon et al., CVPR workshops 2019): rare labels have nearly all scores near zero, where bins of
equal width would put all people into one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class LabelBins:
    """Bins of one label: mean score, share of positives, people. All (bins,)."""

    score: Array
    share: Array
    count: NDArray[np.int64]

    @property
    def ece(self) -> float:
        """Mean gap between score and share, weighted by people; in [0, 1]."""
        return float(np.sum(np.abs(self.score - self.share) * self.count) / self.count.sum())


def label_bins(scores: Array, truth: NDArray[Any], bins: int = 15) -> LabelBins:
    """Equal-mass bins of (n,) scores against 0/1 truth; at most one bin a person."""
    order = np.argsort(scores, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return LabelBins(
        np.array([scores[part].mean() for part in parts]),
        np.array([truth[part].mean() for part in parts]),
        np.array([len(part) for part in parts]),
    )


def ece_per_label(probabilities: Array, truth: NDArray[Any], bins: int = 15) -> Array:
    """(classes,) expected calibration error of each label, in [0, 1]."""
    return np.array([label_bins(probabilities[:, c], truth[:, c], bins).ece for c in range(probabilities.shape[1])])


def brier_per_label(probabilities: Array, truth: NDArray[Any]) -> Array:
    """(classes,) mean squared difference between probability and outcome, in [0, 1]."""
    return np.asarray(np.mean((np.asarray(probabilities) - np.asarray(truth)) ** 2, axis=0))


def pooled_bins(probabilities: Array, truth: NDArray[Any], bins: int = 15) -> LabelBins:
    """Bins over all labels' scores together: the reliability diagram of the report."""
    return label_bins(np.asarray(probabilities).ravel(), np.asarray(truth).ravel(), bins)
