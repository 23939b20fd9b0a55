"""Do probabilities mean what they say: calibration errors, reliability bins, temperature scaling.

Sources: expected calibration error, Naeini et al., AAAI 2015, and Guo et al., ICML 2017, equation 3; bins of equal
mass, Nixon et al., "Measuring calibration in deep learning", CVPR workshops 2019; temperature, Guo et al., section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from emo_face.core.types import FloatArray
from emo_face.evaluation.metrics.single_label import TINY, Labels, check, nll

Binning = Literal["width", "mass"]


@dataclass(frozen=True, slots=True)
class Bins:
    """Reliability bins of the top label.

    Attributes:
        confidence, accuracy: (b,) means inside each bin; NaN where it is empty. count: (b,) rows.
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    count: NDArray[np.int64]

    @property
    def ece(self) -> float:
        """Mean gap between confidence and accuracy, weighted by rows; in [0, 1]."""
        full = self.count > 0
        gaps = np.abs(self.confidence - self.accuracy)[full]
        return float((gaps * self.count[full]).sum() / self.count.sum())


def reliability_bins(truth: Labels, probabilities: FloatArray, bins: int = 15, kind: Binning = "width") -> Bins:
    """Group rows by the confidence of their top label.

    Args:
        kind: ``width`` cuts [0, 1] evenly; ``mass`` puts equally many rows into each bin.
    """
    t, p = check(truth, probabilities)
    confidence = p.max(1)
    hit = (p.argmax(1) == t).astype(np.float64)
    if kind == "width":
        place = np.minimum((confidence * bins).astype(int), bins - 1)
    else:
        place = np.empty(len(t), dtype=int)
        place[np.argsort(confidence, kind="stable")] = np.arange(len(t)) * bins // len(t)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(place, weights=confidence, minlength=bins) / count
        mean_hit = np.bincount(place, weights=hit, minlength=bins) / count
    return Bins(mean_confidence, mean_hit, count.astype(np.int64))


def ece(truth: Labels, probabilities: FloatArray, bins: int = 15, kind: Binning = "width") -> float:
    """Expected calibration error of the top label, in [0, 1]."""
    return reliability_bins(truth, probabilities, bins, kind).ece


def apply_temperature(probabilities: FloatArray, temperature: float) -> NDArray[np.float64]:
    """Soften (above 1) or sharpen (below 1) distributions (n, c); the top label never changes."""
    logits = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), TINY)) / temperature
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))


def fit_temperature(truth: Labels, probabilities: FloatArray, low: float = 0.05, high: float = 20.0) -> float:
    """The temperature in [low, high] with the least negative log-likelihood on held-out rows."""
    t, p = check(truth, probabilities)

    def loss(log_t: float) -> float:
        return nll(t, apply_temperature(p, float(np.exp(log_t))))

    best = minimize_scalar(loss, bounds=(np.log(low), np.log(high)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(best.x))
