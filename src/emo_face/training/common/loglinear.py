"""Log-linear models (logistic regression), of many labels on soft targets and of two, with SciPy alone."""

from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from emo_face.core.numeric import log_softmax
from emo_face.core.types import FloatArray


def log_linear(
    features: FloatArray, target: FloatArray, penalty: float, share: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Bias (k,) and weight (k, d) with the least penalised log loss.

    Args:
        features: (n, d). target: (n, k) distributions. share: (n,) importance; None counts all alike.
        penalty: on half the squared weights.
    """
    kinds, width = target.shape[1], features.shape[1]
    share = np.full(len(features), 1.0) if share is None else share
    return log_linear_from(np.zeros(kinds * (1 + width)), features, target, penalty, share / share.sum(), rounds=300)


def log_linear_from(
    start: FloatArray,
    features: FloatArray,
    target: FloatArray,
    penalty: float,
    share: FloatArray,
    rounds: int,
    mask: FloatArray | float = 0.0,
) -> tuple[FloatArray, FloatArray]:
    """As :func:`log_linear`, from biases and weights (k + k d,) to which the penalty pulls.

    Args:
        share: (n,), counted as it is. mask: (n, k) added to the scores; -1e9 takes a label out of the running.
        rounds: of L-BFGS at the most.
    """
    kinds = target.shape[1]
    share = share[:, None]

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        scores = features @ flat[kinds:].reshape(kinds, -1).T + flat[:kinds] + mask
        log_p = log_softmax(scores)
        gap = (np.exp(log_p) - target) * share
        away = flat[kinds:] - start[kinds:]
        value = -(share * target * log_p).sum() + 0.5 * penalty * (away**2).sum()
        return float(value), np.concatenate([gap.sum(axis=0), (gap.T @ features).ravel() + penalty * away])

    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": rounds}).x
    return best[:kinds], best[kinds:].reshape(kinds, -1)


def logistic(rows: Any, truth: FloatArray, penalty: float, rounds: int = 15_000) -> tuple[FloatArray, float]:
    """Weights (d,) and bias of the log-odds that a row (n, d) is true; both sides weigh the same.

    Args:
        rows: dense or sparse. truth: (n,) of 0 and 1. penalty: on half the squared weights. rounds: at the most.
    """
    true = truth == 1
    share = np.where(true, 0.5 / true.sum(), 0.5 / (~true).sum())

    def loss(x: FloatArray) -> tuple[float, FloatArray]:
        score = rows @ x[:-1] + x[-1]
        slope = share * (expit(score) - truth)
        value = (share * np.logaddexp(0, np.where(true, -score, score))).sum() + penalty / 2 * (x[:-1] ** 2).sum()
        return float(value), np.r_[rows.T @ slope + penalty * x[:-1], slope.sum()]

    found = minimize(loss, np.zeros(rows.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": rounds}).x
    return found[:-1], float(found[-1])
