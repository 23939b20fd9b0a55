"""What a run will need, estimated before its first step: memory by arithmetic, time by one batch's forward pass."""

import time
from dataclasses import dataclass
from typing import Any

import torch

from emo_face.core.errors import UserError

GB = 1e9
ACTIVATIONS, RECOMPUTED = 34, 2
"""Bytes a token, unit of width and layer in half precision: all kept, or only each layer's input.

Source: Korthikanti et al., "Reducing activation recomputation in large transformer models", 2022, without the square
of attention, which is never stored here."""
TRAINED = 12
"""Bytes of a trained number beside its weight: gradient and AdamW's two moments, float32."""
PASSES = 3.0
"""A step's work over a forward pass: the way back is about two."""


@dataclass(frozen=True)
class Estimate:
    """Gigabytes on this process' device, and seconds of the whole run."""

    weights: float
    trained: float
    activations: float
    seconds: float

    @property
    def gigabytes(self) -> float:
        """All of it."""
        return self.weights + self.trained + self.activations

    def __str__(self) -> str:
        parts = f"weights {self.weights:.1f}, what is trained {self.trained:.1f}, activations {self.activations:.1f}"
        hours = self.seconds / 3600
        long = f"{hours:.1f} h" if hours >= 1 else f"{self.seconds / 60:.0f} min"
        return f"about {self.gigabytes:.1f} GB ({parts}) and {long} before validations"


@torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
def estimate(model: Any, batch: Any, micro_batches: int, checkpointing: bool) -> Estimate:
    """Of ``micro_batches`` like ``batch`` on the model's device; the time: three times a second forward pass."""
    text = model.base.config.get_text_config()
    each = {"weights": 0, "trained": 0}
    for parameter in model.parameters():
        each["weights"] += parameter.numel() * parameter.element_size()
        each["trained"] += TRAINED * parameter.numel() * parameter.requires_grad
    tokens, wide = batch.input_ids.numel(), 2 if model.base.dtype == torch.float32 else 1
    per_token = (RECOMPUTED if checkpointing else ACTIVATIONS) * int(text.hidden_size) * int(text.num_hidden_layers)
    model.eval()
    for _ in range(2):  # the first pass on a GPU loads its kernels and takes many times what another does
        start = time.perf_counter()
        model(batch.to(model.device))
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
    seconds = PASSES * (time.perf_counter() - start) * micro_batches
    return Estimate(each["weights"] / GB, each["trained"] / GB, wide * tokens * per_token / GB, seconds)


def check(found: Estimate, free: float) -> None:
    """Raises UserError if a run needs more than the ``free`` gigabytes of its GPU beside the weights that are there."""
    needed = found.trained + found.activations
    if needed > free:
        raise UserError(
            f"GPU memory: training needs about {needed:.1f} GB beside the weights, {free:.1f} GB are free; add "
            "--checkpointing, a smaller --batch-size, or --quantisation 4bit"
        )
