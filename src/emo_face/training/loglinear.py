"""Multinomial log-linear models (logistic regression) on soft targets, with SciPy alone."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

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
    share = (share / share.sum())[:, None]

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        bias, weight = flat[:kinds], flat[kinds:].reshape(kinds, width)
        logits = features @ weight.T + bias
        logits = logits - logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        gap = (np.exp(log_p) - target) * share
        value = -(share * target * log_p).sum() + 0.5 * penalty * (weight**2).sum()
        return float(value), np.concatenate([gap.sum(axis=0), (gap.T @ features + penalty * weight).ravel()])

    found = minimize(loss, np.zeros(kinds * (1 + width)), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return found.x[:kinds], found.x[kinds:].reshape(kinds, width)
