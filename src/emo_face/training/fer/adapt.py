"""Teachers adapted to the people at hand: a log-linear head on their features, fitted without the test people.

The labels of a few posed faces are weak; what the adapted teachers say about every view and composite of the training
people is a denser and calmer signal for the student (Hinton, Vinyals & Dean, 2015).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import FloatArray
from emo_face.training.common.loglinear import log_linear
from emo_face.training.fer.data import Bank
from emo_face.training.fer.fit import POSED
from emo_face.training.fer.renders import ALWAYS

PENALTY = 0.06


def adapted(bank: Bank, allowed: NDArray[np.intp]) -> FloatArray:
    """(n, 4) probabilities over :data:`POSED` for the crops in ``allowed`` of people who posed; NaN rows elsewhere."""
    result = np.full((len(bank.wide), len(POSED)), np.nan, np.float32)
    real = allowed[bank.real[allowed] & (bank.fold[allowed] != ALWAYS)]
    truth = bank.truth[real][:, POSED]
    known = real[np.nan_to_num(truth).sum(axis=1) > 0.5]
    if not len(known):
        return result
    features = np.concatenate([bank.lessons, np.log(bank.soft + 1e-3)], axis=1)
    target = bank.truth[known][:, POSED].astype(np.float64)
    balance = (1 / np.maximum(target.sum(axis=0), 1))[target.argmax(axis=1)]
    bias, weight = log_linear(features[known].astype(np.float64), target, PENALTY, balance)
    logits = features[real] @ weight.T + bias
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    result[real] = p / p.sum(axis=1, keepdims=True)
    return result
