"""Settings of the two stages; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from emo_face.core.errors import ConfigError
from emo_face.evaluation.metrics import platt


@dataclass(frozen=True)
class Stage1Config:
    """Settings of a run. The paper prints none; these follow InstructBLIP's published tuning if it says.

    Attributes:
        batch_size: people per process and micro-batch. gradient_accumulation: micro-batches per step.
        learning_rate: peak; cosine to ``learning_rate_end`` after ``warmup`` steps. max_grad_norm: of the
            clipped gradient.
        precision: ``no`` or ``bf16`` (autocast; trainable weights stay float32).
        checkpointing: recompute activations of the frozen language model and the Q-Former to save memory.
        validate_every, save_every: optimiser steps. validation_rows: at most so many, evenly spread.
    """

    epochs: int = 3
    batch_size: int = 8
    gradient_accumulation: int = 1
    learning_rate: float = 1e-5
    learning_rate_end: float = 1e-6
    warmup: int = 1000
    weight_decay: float = 0.05
    max_grad_norm: float = 1.0
    precision: str = "no"
    checkpointing: bool = False
    validate_every: int = 1000
    validation_rows: int = 1000
    save_every: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "epochs",
            "batch_size",
            "gradient_accumulation",
            "validate_every",
            "save_every",
            "validation_rows",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.precision not in ("no", "bf16"):
            raise ConfigError(f"precision: expected no or bf16, got {self.precision!r}")


@dataclass(frozen=True)
class Stage2Config:
    """Settings of the head's training. The paper prints none.

    Attributes:
        loss: ``auto`` is asymmetric for multi-label sets and cross-entropy else; or ``bce``.
        gamma_neg, gamma_pos, margin: of the asymmetric loss. vad_weight: of the VAD loss, if the head has one.
        calibration, threshold_rule: see :mod:`emo_face.evaluation.metrics.platt` and ``multilabel.fit_thresholds``.
    """

    epochs: int = 10
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    loss: Literal["auto", "asymmetric", "bce", "cross_entropy"] = "auto"
    gamma_neg: float = 4.0
    gamma_pos: float = 1.0
    margin: float = 0.05
    vad_weight: float = 1.0
    calibration: platt.Kind = "platt"
    threshold_rule: Literal["max_f1", "p_equals_r"] = "max_f1"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ConfigError("epochs and batch_size: expected at least 1")
