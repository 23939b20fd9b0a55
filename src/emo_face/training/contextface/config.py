"""Settings of ContextFace's training; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emo_face.core.errors import ConfigError

FACE_LOSSES = ("mse", "sum", "l1", "huber")


@dataclass(frozen=True)
class ContextFaceTraining:
    """Settings of a run; defaults are the released code's, if it has them.

    Attributes:
        epochs: passes over the largest task, every sample of it once each. gradient_accumulation: micro-batches per
            step, each of one task, drawn anew, so that a step's gradient is of all tasks.
        learning_rate: peak; linear warm-up, cosine to ``learning_rate_end``. head_rate_share: of it for the face head.
        max_grad_norm: of the clipped gradient.
        face_weight: lambda; 10 goes with ``mse``. face_loss: ``mse`` | ``sum`` | ``l1`` | ``huber``.
        group_weights: of expression, jaw and eyelids inside the face loss.
        precision: ``no`` or ``bf16`` (autocast; trainable weights stay float32).
        checkpointing: recompute activations of the language model to save memory.
        validate_every, save_every: optimiser steps. Validation is on the whole set.
    """

    epochs: int = 10
    gradient_accumulation: int = 10
    learning_rate: float = 5e-5
    learning_rate_end: float = 0.0
    head_rate_share: float = 1.0
    warmup: int = 100
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    max_grad_norm: float = 1.0
    face_weight: float = 10.0
    face_loss: str = "mse"
    group_weights: Mapping[str, float] = field(default_factory=lambda: {"expression": 1.0, "jaw": 0.2, "eyelids": 0.2})
    precision: str = "no"
    checkpointing: bool = False
    validate_every: int = 500
    validation_batch: int = 8
    save_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "gradient_accumulation", "validate_every", "save_every", "validation_batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.precision not in ("no", "bf16"):
            raise ConfigError(f"precision: expected no or bf16, got {self.precision!r}")
        if self.face_loss not in FACE_LOSSES:
            raise ConfigError(f"face_loss: expected one of {', '.join(FACE_LOSSES)}, got {self.face_loss!r}")
