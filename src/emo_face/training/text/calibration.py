"""Post-hoc calibration of the speech student on validation logits: class priors, then a temperature.

Priors: Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, equation 9 (post-hoc). Temperature: Guo et
al., "On calibration of modern neural networks", ICML 2017, section 4.2. One number each, so 6,400 rows do not
overfit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_face.core.numeric import log_softmax, softmax
from emo_face.core.types import FloatArray
from emo_face.datasets.text import TextRow, targets
from emo_face.evaluation.metrics.calibration import ece
from emo_face.evaluation.metrics.single_label import macro_f1

STRENGTHS = np.round(np.arange(0.0, 1.01, 0.05), 2)
TEMPERATURES = np.geomspace(0.5, 3.0, 121)


@dataclass(frozen=True)
class Part:
    """Validation logits of one corpus: (n, 7), and the true labels (n,)."""

    logits: FloatArray
    truth: NDArray[np.integer]


@dataclass(frozen=True)
class LogitAdjustment:
    """``softmax(logits * scale + bias)`` is calibrated.

    Attributes:
        strength: share of the log prior that was taken out. temperature: 1 / scale.
        scale: scalar. bias: (7,).
        validation: figures on the rows it was fitted on, by corpus.
    """

    strength: float
    temperature: float
    scale: float
    bias: FloatArray
    validation: dict[str, float]


def priors(rows: Sequence[TextRow]) -> FloatArray:
    """(7,) label shares of the training rows."""
    mean = targets(rows).astype(np.float64).mean(0)
    return np.asarray(mean / mean.sum())


def fit(parts: Mapping[str, Part], prior: FloatArray) -> LogitAdjustment:
    """Choose the prior strength by mean macro-F1 over the corpora, then the temperature by mean log-loss.

    A corpus counts the same however many rows it has, because a robot hears neither corpus.
    """
    log_prior = np.log(np.maximum(prior, 1e-6))
    scored = [
        (np.mean([macro_f1(p.truth, softmax(p.logits - s * log_prior)) for p in parts.values()]), s) for s in STRENGTHS
    ]
    strength = float(max(scored)[1])
    adjusted = {name: Part(p.logits - strength * log_prior, p.truth) for name, p in parts.items()}
    losses = [np.mean([_log_loss(p, t) for p in adjusted.values()]) for t in TEMPERATURES]
    temperature = float(TEMPERATURES[int(np.argmin(losses))])
    figures = {}
    for name, part in adjusted.items():
        probabilities = softmax(part.logits / temperature)
        figures[f"{name}_macro_f1"] = macro_f1(part.truth, probabilities)
        figures[f"{name}_ece"] = ece(part.truth, probabilities)
    return LogitAdjustment(strength, temperature, 1.0 / temperature, -strength * log_prior / temperature, figures)


def _log_loss(part: Part, temperature: float) -> float:
    return -float(log_softmax(part.logits / temperature)[np.arange(len(part.truth)), part.truth].mean())
