"""Maps that make scores mean what they say, fitted on validation logits: a temperature, or Platt's per label.

Temperature: Guo et al., ICML 2017, section 4.2. Platt: Lin, Lin & Weng, Machine Learning 68, 2007. Asymmetric loss
pushes probabilities away from frequencies; a monotone map per class corrects that and leaves every ranking, and so mAP,
as it was.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize, minimize_scalar

from emo_face.core.numeric import log_softmax, sigmoid, softmax
from emo_face.core.types import Array, FloatArray
from emo_face.evaluation.metrics.single_label import TINY, Labels, check

PULL = 1e-3
"""Weight of a pull of the scale towards 1: nothing against a thousand people, all against four."""
LEAST_SCALE = 1e-3
"""A falling map would turn the ranking round: such a class gets a nearly flat one instead."""

Kind = Literal["platt", "temperature", "none"]


@dataclass(frozen=True)
class LabelScaling:
    """probability = sigmoid(scale * logit + shift), or softmax(scale[0] * logits) for single-label sets.

    ``scale`` is positive, so the map is monotone. Both have one entry per class.
    """

    scale: Array
    shift: Array
    multi: bool = True

    def __post_init__(self) -> None:
        if not (np.asarray(self.scale) > 0).all():
            raise ValueError("scale: expected positive numbers, otherwise rankings would be reversed")

    def apply(self, logits: FloatArray) -> FloatArray:
        """Probabilities of (n, classes) logits."""
        scaled = np.asarray(logits, np.float64) * self.scale + self.shift
        return sigmoid(scaled) if self.multi else softmax(scaled)


def fit(logits: FloatArray, truth: NDArray[Any], kind: Kind = "platt", multi: bool = True) -> LabelScaling:
    """Fit on validation (n, classes) logits and 0/1 truth.

    Multi-label: Platt (scale and shift per class) or a temperature per class. Single-label: one temperature for all,
    as one per class would not keep the softmax's order. A class without both outcomes keeps scale 1; Platt's shift
    puts its mean at the smoothed rate, so a label that validation never shows is not likely on a robot.
    """
    x, y = np.asarray(logits, np.float64), np.asarray(truth, np.float64)
    scale, shift = np.ones(x.shape[1]), np.zeros(x.shape[1])
    if kind != "none" and not multi:
        scale[:] = 1 / temperature_of_logits(y.argmax(1), x)
    elif kind != "none":
        both = (y.sum(0) > 0) & (y.sum(0) < len(y))
        for c in np.flatnonzero(both):
            scale[c], shift[c] = _platt(x[:, c], y[:, c], with_shift=kind == "platt")
        for c in np.flatnonzero(~both) if kind == "platt" else ():
            shift[c] = _prior_shift(x[:, c], float(_targets(y[:, c]).mean()))
    return LabelScaling(scale, shift, multi)


def temperature_of_logits(truth: Labels, logits: FloatArray, low: float = 0.02, high: float = 50.0) -> float:
    """The temperature in [low, high] with the least negative log-likelihood of (n, c) logits on held-out rows."""
    rows = np.arange(len(truth))

    def loss(log_t: float) -> float:
        return -float(log_softmax(logits / np.exp(log_t))[rows, truth].mean())

    best = minimize_scalar(loss, bounds=(np.log(low), np.log(high)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(best.x))


def fit_temperature(truth: Labels, probabilities: FloatArray, low: float = 0.05, high: float = 20.0) -> float:
    """As :func:`temperature_of_logits`, of probabilities (n, c)."""
    t, p = check(truth, probabilities)
    return temperature_of_logits(t, np.log(np.maximum(p, TINY)), low, high)


def _targets(y: Array) -> Array:
    """Platt's smoothed targets."""
    positives, n = y.sum(), len(y)
    return np.asarray(np.where(y > 0, (positives + 1) / (positives + 2), 1 / (n - positives + 2)))


def _prior_shift(x: Array, rate: float) -> float:
    """b for which sigmoid(x + b) is ``rate`` in the mean."""
    middle = float(np.log(rate / (1 - rate)))
    low, high = middle - float(x.max()), middle - float(x.min())
    return low if low == high else float(brentq(lambda b: float(sigmoid(x + b).mean()) - rate, low - 1, high + 1))


def _platt(x: Array, y: Array, with_shift: bool) -> tuple[float, float]:
    """(a, b) of P(y) = sigmoid(a x + b) with Platt's smoothed targets."""
    target = _targets(y)

    def loss(point: Array) -> tuple[float, Array]:
        z, away = point[0] * x + point[1], point[0] - 1
        error = sigmoid(z) - target
        value = float(np.sum(np.logaddexp(0, z) - target * z) + 0.5 * PULL * away**2)
        return value, np.array([error @ x + PULL * away, error.sum()])

    bounds = [(LEAST_SCALE, None), (None, None) if with_shift else (0.0, 0.0)]
    options = {"maxiter": 1000, "ftol": 1e-14, "gtol": 1e-9}
    found = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return float(found[0]), float(found[1])
