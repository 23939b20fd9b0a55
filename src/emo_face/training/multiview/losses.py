"""Losses of Stage 2 (paper, section 3.6.2), computed in float32 whatever the features are."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from emo_face.core.errors import ConfigError

Loss = Callable[[Tensor, Tensor], Tensor]


def asymmetric_loss(
    logits: Tensor, truth: Tensor, gamma_neg: float = 4.0, gamma_pos: float = 1.0, margin: float = 0.05
) -> Tensor:
    """Equations 2-4: summed over the labels, averaged over the (n, classes) batch's people.

    ``truth`` is 0/1. The paper prints no parameters: these are the published defaults of Ridnik et al. (ICCV 2021).
    With gammas and margin 0 it is binary cross-entropy.
    """
    logits, truth = logits.float(), truth.float()
    p = torch.sigmoid(logits)
    shifted = (p - margin).clamp(min=0)
    tiny = 1e-8
    positive = truth * (1 - p).pow(gamma_pos) * F.logsigmoid(logits)
    # With no margin log(1 - p) is taken from the logit, which stays exact where p rounds to 1.
    log_rest = F.logsigmoid(-logits) if margin == 0 else torch.log((1 - shifted).clamp(min=tiny))
    negative = (1 - truth) * shifted.pow(gamma_neg) * log_rest
    return -(positive + negative).sum(1).mean()


def binary_cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Summed over labels and averaged over people, as :func:`asymmetric_loss` is."""
    return F.binary_cross_entropy_with_logits(logits.float(), truth.float(), reduction="none").sum(1).mean()


def cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Equation 5 with one-hot (n, classes) truth."""
    return F.cross_entropy(logits.float(), truth.float().argmax(1))


def vad_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 of (n, 3) predictions in [-1, 1] against targets; rows with NaN (not annotated) take no part."""
    known = torch.isfinite(target).all(1)
    if not bool(known.any()):
        return predicted.sum() * 0.0
    return F.smooth_l1_loss(predicted[known].float(), target[known].float())


def classification_loss(name: str) -> Loss:
    """``asymmetric``, ``bce`` or ``cross_entropy``. Raises ConfigError for another name."""
    known: dict[str, Loss] = {
        "asymmetric": asymmetric_loss,
        "bce": binary_cross_entropy,
        "cross_entropy": cross_entropy,
    }
    if name not in known:
        raise ConfigError(f"loss: expected one of {', '.join(known)}, got {name!r}")
    return known[name]
