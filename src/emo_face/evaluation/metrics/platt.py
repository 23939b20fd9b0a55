"""Per-class calibration of independent scores: Platt scaling or a temperature, fitted on validation logits.

Asymmetric loss pushes probabilities away from frequencies; a monotone map a class mends that and leaves every
ranking, and so mAP, as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
PRIOR = 1e-3
"""Weight of a pull of the scale towards 1: nothing against a thousand people, all against four."""
LEAST_SCALE = 1e-3

Kind = Literal["platt", "temperature", "none"]


@dataclass(frozen=True)
class Calibration:
    """probability = sigmoid(scale * logit + shift), or softmax(scale[0] * logits) for single-label sets.

    ``scale`` is positive, so the map is monotone. Both have one entry a class.
    """

    scale: Array
    shift: Array
    multi: bool = True

    def __post_init__(self) -> None:
        if not (np.asarray(self.scale) > 0).all():
            raise ValueError("scale: expected positive numbers, else rankings turn round")

    def apply(self, logits: Array) -> Array:
        """Probabilities of (n, classes) logits."""
        scaled = np.asarray(logits, np.float64) * self.scale + self.shift
        if self.multi:
            return np.asarray(0.5 * (1 + np.tanh(0.5 * scaled)))
        shifted = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def identity(classes: int, multi: bool = True) -> Calibration:
    """Plain sigmoid or softmax."""
    return Calibration(np.ones(classes), np.zeros(classes), multi)


def fit(logits: Array, truth: NDArray[Any], kind: Kind = "platt", multi: bool = True) -> Calibration:
    """Fit on validation (n, classes) logits and 0/1 truth.

    Multi-label: Platt (scale and shift a class) or a temperature a class. Single-label: one temperature for all,
    as a per-class one would not keep the softmax's order. A class without both outcomes keeps scale 1, shift 0.
    """
    logits, truth = np.asarray(logits, np.float64), np.asarray(truth, np.float64)
    classes = logits.shape[1]
    if kind == "none":
        return identity(classes, multi)
    if not multi:
        return Calibration(np.full(classes, _softmax_temperature(logits, truth)), np.zeros(classes), False)
    scale, shift = np.ones(classes), np.zeros(classes)
    for c in range(classes):
        if 0 < truth[:, c].sum() < len(truth):
            scale[c], shift[c] = _logistic(logits[:, c], truth[:, c], with_shift=kind == "platt")
    return Calibration(scale, shift)


def _logistic(x: Array, y: Array, with_shift: bool) -> tuple[float, float]:
    """Newton's method for P(y) = sigmoid(a x + b), with Platt's smoothed targets (Lin, Lin & Weng 2007).

    A falling map (a <= 0) would turn the ranking round: such a class gets a nearly flat one instead.
    """
    positives, n = y.sum(), len(y)
    target = np.where(y > 0, (positives + 1) / (positives + 2), 1 / (n - positives + 2))

    def loss(point: Array) -> float:
        z = point[0] * x + point[1]
        return float(np.sum(np.logaddexp(0, z) - target * z) + 0.5 * PRIOR * (point[0] - 1) ** 2)

    point, value = np.array([1.0, 0.0]), loss(np.array([1.0, 0.0]))
    for _ in range(100):
        p = 0.5 * (1 + np.tanh(0.5 * (point[0] * x + point[1])))
        error, weight = p - target, p * (1 - p)
        gradient = np.array([error @ x + PRIOR * (point[0] - 1), error.sum()])
        hessian = np.array([[weight @ (x * x), weight @ x], [weight @ x, weight.sum()]]) + np.diag([PRIOR, 1e-9])
        if not with_shift:
            gradient, hessian = np.array([gradient[0], 0.0]), np.diag([hessian[0, 0], 1.0])
        step, size = np.linalg.solve(hessian, gradient), 1.0
        while size > 1e-8 and loss(point - size * step) > value:  # a far start overshoots where the curve is flat
            size /= 2
        point, last = point - size * step, value
        value = loss(point)
        if last - value < 1e-10:
            break
    if point[0] > LEAST_SCALE:
        return float(point[0]), float(point[1])
    mean = float(target.mean())
    return LEAST_SCALE, float(np.log(mean / (1 - mean)) - LEAST_SCALE * x.mean()) if with_shift else 0.0


def _softmax_temperature(logits: Array, truth: Array) -> float:
    from scipy.optimize import minimize_scalar

    picked = (logits * truth).sum(1)

    def loss(log_scale: float) -> float:
        scaled = np.exp(log_scale) * logits
        top = scaled.max(1)
        return float(np.mean(top + np.log(np.exp(scaled - top[:, None]).sum(1)) - np.exp(log_scale) * picked))

    return float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x))
