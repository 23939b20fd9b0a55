"""Moving average of the weights that learn: a short training's last steps are noise, their mean is not.

Exponential moving average of the parameters (Polyak & Juditsky 1992; as in Tarvainen & Valpola, NeurIPS 2017, with
their ramp of the decay in the first steps).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

PREFIX = "average."


class WeightAverage:
    """Average of the parameters of ``net`` that learn; ``decay`` 0 keeps the newest weights."""

    def __init__(self, net: Any, decay: float) -> None:
        self._decay = decay
        self._learning = {name: weight for name, weight in net.named_parameters() if weight.requires_grad}
        self._kept = {name: weight.detach().clone() for name, weight in self._learning.items()}

    def update(self, step: int) -> None:
        """Take in the weights after optimiser step ``step`` (from 1)."""
        share = 1 - min(self._decay, step / (step + 9))
        with torch.no_grad():
            torch._foreach_lerp_(list(self._kept.values()), list(self._learning.values()), share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The net has the average inside, its own weights again afterwards."""
        own = {name: weight.detach().clone() for name, weight in self._learning.items()}
        self._put(self._kept)
        try:
            yield
        finally:
            self._put(own)

    def state(self) -> dict[str, torch.Tensor]:
        """For a checkpoint, beside the weights."""
        return {PREFIX + name: weight for name, weight in self._kept.items()}

    def restore(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Take what :meth:`state` gave out of a checkpoint; returns the rest."""
        for name in self._kept:
            self._kept[name] = state[PREFIX + name]
        return {name: weight for name, weight in state.items() if not name.startswith(PREFIX)}

    def _put(self, weights: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self._learning.items():
                weight.copy_(weights[name])
