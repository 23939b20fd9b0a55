"""Do probabilities mean what they say: reliability bins, expected calibration error, Brier score.

Sources: expected calibration error, Naeini et al., AAAI 2015, and Guo et al., ICML 2017, equation 3; bins of equal
mass, Nixon et al., "Measuring calibration in deep learning", CVPR workshops 2019: rare labels have nearly all scores
near zero, where bins of equal width would put all people into one.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emo_face.core.types import Array, FloatArray
from emo_face.evaluation.metrics.single_label import Labels, check

Binning = Literal["width", "mass"]


@dataclass(frozen=True, slots=True)
class Bins:
    """Reliability bins.

    Attributes:
        score, share: (b,) mean score and share of positives inside each bin; NaN if it is empty. count: (b,) rows.
    """

    score: Array
    share: Array
    count: NDArray[np.int64]

    @property
    def ece(self) -> float:
        """Mean gap between score and share, weighted by rows; in [0, 1]."""
        full = self.count > 0
        gaps = np.abs(self.score - self.share)[full]
        return float((gaps * self.count[full]).sum() / self.count.sum())


def reliability(scores: ArrayLike, truth: ArrayLike, bins: int = 15, kind: Binning = "width") -> Bins:
    """Group (n,) scores in [0, 1] with their 0/1 truth.

    Args:
        kind: ``width`` cuts [0, 1] evenly; ``mass`` puts equally many rows into each bin, at most one bin per row.
    """
    s, t = np.asarray(scores, np.float64), np.asarray(truth, np.float64)
    if kind == "width":
        place = np.minimum((s * bins).astype(int), bins - 1)
    else:
        bins = min(bins, len(s))
        place = np.empty(len(s), dtype=int)
        parts = np.array_split(np.argsort(s, kind="stable"), bins)
        place[np.concatenate(parts)] = np.repeat(np.arange(bins), [len(part) for part in parts])
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        score, share = (np.bincount(place, weights=values, minlength=bins) / count for values in (s, t))
    return Bins(score, share, count.astype(np.int64))


def top_label(truth: Labels, probabilities: FloatArray, bins: int = 15, kind: Binning = "width") -> Bins:
    """Bins of the top label's confidence against whether it is right."""
    t, p = check(truth, probabilities)
    return reliability(p.max(1), p.argmax(1) == t, bins, kind)


def ece(truth: Labels, probabilities: FloatArray, bins: int = 15, kind: Binning = "width") -> float:
    """Expected calibration error of the top label, in [0, 1]."""
    return top_label(truth, probabilities, bins, kind).ece


def ece_per_label(probabilities: FloatArray, truth: NDArray[Any], bins: int = 15) -> Array:
    """(classes,) expected calibration error of each label's scores in bins of equal mass, in [0, 1]."""
    return np.array([reliability(p, t, bins, "mass").ece for p, t in zip(probabilities.T, truth.T, strict=True)])


def brier_per_label(probabilities: FloatArray, truth: NDArray[Any]) -> Array:
    """(classes,) mean squared difference between probability and outcome, in [0, 1]."""
    return np.asarray(np.mean((np.asarray(probabilities) - np.asarray(truth)) ** 2, axis=0), np.float64)
