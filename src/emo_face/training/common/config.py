"""Settings that every run of :class:`~emo_face.training.common.run.TrainingRun` has; no torch."""

from dataclasses import dataclass
from typing import ClassVar

from emo_face.core.errors import ConfigError


@dataclass(frozen=True)
class RunConfig:
    """How long and how fast a run learns.

    Attributes:
        epochs: passes over the data. batch_size: examples per process and micro-batch.
        gradient_accumulation: micro-batches per optimiser step.
        learning_rate: peak after ``warmup`` steps; from there a cosine to ``learning_rate_end``.
        learning_rate_end: learning rate of the last step. warmup: optimiser steps of linear warm-up.
        weight_decay: of AdamW. max_grad_norm: norm to which gradients are clipped.
        precision: ``no`` (float32) or ``bf16`` (autocast; trainable weights stay float32).
        checkpointing: recompute activations of the frozen language model to save memory.
        validate_every: optimiser steps between validations. save_every: optimiser steps between checkpoints.
        seed: of the order of examples, and of new weights.
    """

    epochs: int = 1
    batch_size: int = 8
    gradient_accumulation: int = 1
    learning_rate: float = 1e-5
    learning_rate_end: float = 0.0
    warmup: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: str = "no"
    checkpointing: bool = False
    validate_every: int = 1000
    save_every: int = 1000
    seed: int = 0

    AT_LEAST_ONE: ClassVar[tuple[str, ...]] = (
        "epochs",
        "batch_size",
        "gradient_accumulation",
        "validate_every",
        "save_every",
    )

    def __post_init__(self) -> None:
        for name in self.AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.precision not in ("no", "bf16"):
            raise ConfigError(f"precision: expected no or bf16, got {self.precision!r}")
