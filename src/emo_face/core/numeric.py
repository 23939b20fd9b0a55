"""Small numeric helpers that NumPy lacks; SciPy's would cost every node its import time."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emo_face.core.types import FloatArray


def log_softmax(scores: ArrayLike, axis: int = -1) -> FloatArray:
    """Log-probabilities of any finite or -inf scores along ``axis``; no overflow, computed in their own precision."""
    values = np.asarray(scores)
    shifted = values - values.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def softmax(scores: ArrayLike, axis: int = -1) -> FloatArray:
    """Probabilities of any finite or -inf scores along ``axis``; no overflow, computed in their own precision."""
    values = np.asarray(scores)
    weights = np.exp(values - values.max(axis=axis, keepdims=True))
    return np.asarray(weights / weights.sum(axis=axis, keepdims=True))


def sigmoid(scores: ArrayLike) -> FloatArray:
    """1 / (1 + exp(-scores)) for scores of any size, without overflow."""
    values = np.asarray(scores, dtype=np.float64)
    small = np.exp(-np.abs(values))
    return np.asarray(np.where(values >= 0, 1 / (1 + small), small / (1 + small)))


def json_ready(value: Any) -> Any:
    """``value`` (dicts, lists, tuples, numbers) as JSON takes it: numbers that are not finite become None."""
    if isinstance(value, dict):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
