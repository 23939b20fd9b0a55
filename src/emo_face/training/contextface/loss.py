"""The joint loss: cross-entropy of the answer plus lambda times the error of the face (paper, equations 3 to 5)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from emo_face.expression.contextface.config import ContextFaceConfig


def face_loss(
    faces: Tensor,
    targets: Tensor,
    present: Tensor,
    std: Tensor,
    config: ContextFaceConfig,
    kind: str,
    weights: Mapping[str, float],
) -> Tensor:
    """Error of predicted faces (f, outputs) against known targets; 0 with a gradient path if none is known.

    Expression counts in its own units, so that lambda means what it means in the paper; jaw and eyelids, whose units
    differ, in standard deviations.

    Args:
        kind: ``mse`` mean over dimensions (the released code), ``sum`` over them (the paper's equation 4, 100 times as
            much), ``l1``, ``huber`` (delta 1).
        weights: of each group.
    """
    total = faces.sum() * 0.0
    for group, where in config.slices().items():
        scale = 1.0 if group == "expression" else std[where]
        error = (faces[:, where] - targets[:, where]) / scale
        known = present[:, where]
        if not bool(known.any()):
            continue
        values = _pointwise(torch.where(known, error, 0.0), kind)
        count = known.any(1).sum() if kind == "sum" else known.sum()
        total = total + weights.get(group, 1.0) * values.sum() / count
    return total


def _pointwise(error: Tensor, kind: str) -> Tensor:
    if kind == "l1":
        return error.abs()
    if kind == "huber":
        return torch.where(error.abs() < 1, 0.5 * error**2, error.abs() - 0.5)
    return error**2
