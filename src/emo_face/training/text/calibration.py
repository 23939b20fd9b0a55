"""Post-hoc calibration of the speech student on validation outputs: one scale and a bias per label.

Seven basics: a temperature (Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2) and class
biases (vector scaling without its matrix, same section), fitted twice: on comments as they are, and on dialogue with
the shares of a conversation. What people write in a forum and what they say to each other have other shares of
feelings, so no one set of biases is right for both; how much a line is like either is read from the line itself, by a
logistic regression on the pooled vector, and mixes the two answers. 28 labels: Platt scaling (Platt 1999) a label and
the threshold with the best F1. Valence and arousal: least squares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

from emo_face.core.labels import basic7
from emo_face.core.numeric import softmax
from emo_face.core.types import FloatArray
from emo_face.evaluation.metrics.calibration import ece
from emo_face.evaluation.metrics.single_label import macro_f1
from emo_face.training.common.loglinear import logistic

NEUTRAL_SHARE = 0.5
"""Of what people say to each other; emotions keep their shares among themselves."""
RIDGE = 0.02
REGISTER_RIDGE = 1e-3
THRESHOLDS = np.round(np.arange(0.04, 0.61, 0.02), 2)


@dataclass(frozen=True)
class Part:
    """Validation logits (n, 7), the true labels (n,) and what each row counts (n,), summing to the part's weight."""

    logits: FloatArray
    truth: NDArray[np.integer]
    weight: NDArray[np.float64]


@dataclass(frozen=True)
class Scaling:
    """``outputs * scale + bias``, each (k,), and figures on the rows it was fitted on."""

    scale: FloatArray
    bias: FloatArray
    figures: dict[str, float]


def as_conversation(truth: NDArray[np.integer], total: float = 1.0) -> NDArray[np.float64]:
    """(n,) weights with which Neutral has its share of a conversation."""
    neutral = truth == basic7().index("Neutral")
    share = neutral.mean()
    if share in (0.0, 1.0):
        return np.full(len(truth), total / len(truth))
    weight = np.where(neutral, NEUTRAL_SHARE / share, (1 - NEUTRAL_SHARE) / (1 - share))
    return np.asarray(weight / weight.sum() * total)


def fit_seven(parts: Mapping[str, Part]) -> Scaling:
    """Temperature and class biases by weighted log-loss, biases drawn towards 0; figures with the part's weights."""
    logits = np.concatenate([part.logits for part in parts.values()])
    truth = np.concatenate([part.truth for part in parts.values()])
    weight = np.concatenate([part.weight for part in parts.values()])
    rows = np.arange(len(truth))

    def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        said = logits * np.exp(x[0]) + x[1:]
        chosen = softmax(said)
        value = float(-(weight * np.log(np.maximum(chosen[rows, truth], 1e-12))).sum() + RIDGE * (x[1:] ** 2).sum())
        slope = chosen * weight[:, None]
        slope[rows, truth] -= weight
        return value, np.r_[(slope * logits).sum() * np.exp(x[0]), slope.sum(0) + 2 * RIDGE * x[1:]]

    found = minimize(loss, np.zeros(1 + logits.shape[1]), jac=True, method="L-BFGS-B").x
    scale, bias = float(np.exp(found[0])), found[1:] - found[1:].mean()
    figures = {}
    for name, part in parts.items():
        said = softmax(part.logits * scale + bias)
        figures[f"{name}_macro_f1"] = round(macro_f1(part.truth, said), 4)
        figures[f"{name}_ece"] = round(ece(part.truth, said), 4)
    return Scaling(np.full(len(bias), scale), bias, {"temperature": round(1 / scale, 4), **figures})


def fit_confidence(fitted: Scaling, parts: Sequence[Part]) -> Scaling:
    """``fitted`` with one more temperature, by weighted log-loss on ``parts``: the same answers, as sure as may be."""

    def loss(x: float) -> float:
        total = 0.0
        for part in parts:
            chosen = softmax((part.logits * fitted.scale + fitted.bias) * np.exp(x))
            said = np.maximum(chosen[np.arange(len(part.truth)), part.truth], 1e-12)
            total -= float((part.weight * np.log(said)).sum())
        return total

    factor = float(np.exp(minimize_scalar(loss, bounds=(-2.0, 1.0), method="bounded").x))
    return Scaling(fitted.scale * factor, fitted.bias * factor, fitted.figures)


def fit_register(comments: FloatArray, talk: FloatArray) -> tuple[FloatArray, float]:
    """Weights (d,) and bias of the log-odds that a pooled vector is of talk; ridge-penalised logistic regression.

    Args:
        comments, talk: (n, d) and (m, d) pooled vectors; both sides weigh the same.
    """
    rows = np.concatenate([comments, talk])
    mean, deviation = rows.mean(0), np.maximum(rows.std(0), 1e-6)
    truth = np.r_[np.zeros(len(comments)), np.ones(len(talk))]
    weight, bias = logistic((rows - mean) / deviation, truth, REGISTER_RIDGE)
    return weight / deviation, float(bias - (weight / deviation) @ mean)


def fit_labels(logits: FloatArray, truth: FloatArray) -> Scaling:
    """Platt scaling of each of k independent labels; ``truth`` (n, k) holds 0 and 1."""
    bounds = [(0.2, 5.0), (-10.0, 10.0)]
    found = np.array(
        [
            minimize(_platt, np.array([1.0, 0.0]), pair, jac=True, method="L-BFGS-B", bounds=bounds).x
            for pair in zip(logits.T, truth.T, strict=True)
        ]
    )
    return Scaling(found[:, 0], found[:, 1], {})


def _platt(x: NDArray[np.float64], logit: FloatArray, target: FloatArray) -> tuple[float, NDArray[np.float64]]:
    said = logit * x[0] + x[1]
    slope = expit(said) - target
    value = float((np.logaddexp(0, said) - target * said).mean() + 1e-3 * (x[0] - 1) ** 2)
    return value, np.array([(slope * logit).mean() + 2e-3 * (x[0] - 1), slope.mean()])


def best_thresholds(probabilities: FloatArray, truth: FloatArray) -> NDArray[np.float64]:
    """(k,) per label the threshold with the best F1; 0.5 for a label without rows."""
    out = np.full(truth.shape[1], 0.5)
    for index in range(truth.shape[1]):
        real = truth[:, index] > 0
        said = probabilities[:, index][None] >= THRESHOLDS[:, None]
        if real.any():
            f1 = 2 * (said & real).sum(1) / np.maximum(said.sum(1) + real.sum(), 1)
            out[index] = float(THRESHOLDS[int(np.argmax(f1))])
    return out


def fine_macro_f1(probabilities: FloatArray, truth: FloatArray, thresholds: NDArray[np.float64]) -> float:
    """Mean F1 of k independent labels; ``truth`` (n, k) holds 0 and 1."""
    active, real = probabilities >= thresholds, truth > 0
    f1 = 2 * (active & real).sum(0) / np.maximum(active.sum(0) + real.sum(0), 1)
    return float(f1.mean())


def fit_affect(said: FloatArray, truth: FloatArray) -> Scaling:
    """Least-squares scale and offset of valence and arousal (n, 2)."""
    pairs: Sequence[NDArray[np.float64]] = [np.polyfit(said[:, k], truth[:, k], 1) for k in range(truth.shape[1])]
    figures = {
        f"{name}_r": round(float(np.corrcoef(said[:, k], truth[:, k])[0, 1]), 4)
        for k, name in enumerate(("valence", "arousal"))
    }
    return Scaling(np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs]), figures)
