"""The face head: a two-layer perceptron from the state of ``<FACE>`` to face coefficients (paper, section 3.3)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from emo_face.core.errors import UserError


class FaceHead(nn.Module):  # type: ignore[misc, unused-ignore]
    """``d -> d -> outputs``; predicts normalised values, gives true ones.

    GELU between, not the released code's ReLU: states share a large common part, and a few fast steps along it can turn
    every ReLU off for good (seen on the synthetic world: all units dead, the output constant).

    Float32 whatever the language model is in: the head is 0.2 % of a 13B model, its error is not.

    Attributes:
        mean, std: (outputs,) of the training targets; stored with the weights.
        centre: (d,) taken off each state while it is trained (:class:`~emo_face.training.contextface.run
            .ContextFaceRun`); None in a saved head, whose first bias holds it.
    """

    mean: Tensor
    std: Tensor
    centre: Tensor | None

    def __init__(self, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden_size, self.outputs = hidden, outputs
        self.inner = nn.Linear(hidden, hidden)
        self.outer = nn.Linear(hidden, outputs)
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("std", torch.ones(outputs))
        self.register_buffer("centre", None, persistent=False)

    def normalised(self, states: Tensor) -> Tensor:
        """(n, outputs) in standard deviations from the mean, of states (n, d)."""
        with torch.autocast(states.device.type, enabled=False):
            states = states.float() if self.centre is None else states.float() - self.centre
            result: Tensor = self.outer(nn.functional.gelu(self.inner(states)))
        return result

    def forward(self, states: Tensor) -> Tensor:
        """(n, outputs) true values of states (n, d)."""
        return self.normalised(states) * self.std + self.mean

    @torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
    def folded(self) -> FaceHead:
        """A copy that gives the same faces without a centre."""
        head = copy.deepcopy(self)
        if head.centre is not None:
            head.inner.bias -= head.inner.weight @ head.centre
            head.centre = None
        return head

    def set_statistics(self, targets: Tensor, present: Tensor) -> None:
        """Take mean and spread from training targets (n, outputs) where ``present`` (n, outputs) is true.

        A constant dimension gets a spread of 1. Raises UserError if a dimension has no target at all.
        """
        count = present.sum(0)
        if not bool((count > 0).all()):
            raise UserError(
                f"face targets: {int((count == 0).sum())} of {self.outputs} outputs have no target in the training "
                "set; leave their group (jaw, eyelids) out of the model's groups"
            )
        values = torch.where(present, targets.double(), 0.0)
        mean = values.sum(0) / count
        spread = torch.where(present, (targets.double() - mean) ** 2, 0.0).sum(0) / count
        self.mean.copy_(mean)
        self.std.copy_(torch.where(spread > 1e-12, spread.sqrt(), 1.0))
