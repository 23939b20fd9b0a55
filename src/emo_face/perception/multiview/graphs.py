"""Encoder and head with one tensor per input and output: what is exported to ONNX, and what runs as an engine."""

from typing import Any

from torch import Tensor, nn


class EncoderGraph(nn.Module):
    """The encoder with one tensor per view, as the graph's inputs and outputs are."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.views = encoder.config.views

    def forward(self, *pixels: Tensor) -> tuple[Tensor, ...]:
        found = self.encoder(dict(zip(self.views, pixels, strict=True)))
        if self.encoder.config.feature == "projected":
            found = self.encoder.project(found)
        if missing := set(self.views) - set(found):  # in torch a view may have no picture
            found |= dict.fromkeys(missing, next(iter(found.values()))[:0])
        return tuple(found[view].float() for view in self.views)


class HeadGraph(nn.Module):
    """The head without the optional output."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor, present: Tensor) -> tuple[Tensor, ...]:
        logits, vad = self.head(features, present)
        return (logits,) if vad is None else (logits, vad)
