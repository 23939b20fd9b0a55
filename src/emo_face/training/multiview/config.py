"""Settings of the two stages; no torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from emo_face.core.errors import ConfigError
from emo_face.evaluation.metrics import scaling
from emo_face.training.common.config import RunConfig


@dataclass(frozen=True)
class Stage1Config(RunConfig):
    """Settings of Stage 1. The paper prints none; these follow InstructBLIP's published tuning if it says.

    Attributes:
        validation_rows: validate on at most this many rows, evenly spread.
        max_question, max_answer: tokens; longer texts are cut at their end.
        quantisation: of the frozen language model's matrices, as LLM.int8() or NF4 (:mod:`.frozen`).
    """

    epochs: int = 3
    learning_rate_end: float = 1e-6
    warmup: int = 1000
    weight_decay: float = 0.05
    validation_rows: int = 1000
    max_question: int = 256
    max_answer: int = 128
    quantisation: Literal["none", "8bit", "4bit"] = "none"

    OF_TEXT: ClassVar[tuple[str, ...]] = ("max_question", "max_answer", "quantisation")
    """Fields that mean something only if there is a language model."""
    AT_LEAST_ONE: ClassVar[tuple[str, ...]] = (
        *RunConfig.AT_LEAST_ONE,
        "validation_rows",
        "max_question",
        "max_answer",
    )


@dataclass(frozen=True)
class Stage2Config:
    """Settings of the head's training. The paper prints none.

    Attributes:
        epochs: passes over the data. batch_size: people per step. learning_rate: peak of the cosine.
        weight_decay: of AdamW.
        loss: ``auto`` is asymmetric for multi-label sets and cross-entropy for the others.
        gamma_neg, gamma_pos, margin: of the asymmetric loss. vad_weight: of the VAD loss, if the head has one.
        calibration: how validation scores become probabilities (:mod:`emo_face.evaluation.metrics.scaling`).
        threshold_rule: what the thresholds of multi-label sets aim at (``multilabel.fit_thresholds``).
        seed: of the order of people, and of new weights.
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
    calibration: scaling.Kind = "platt"
    threshold_rule: Literal["max_f1", "p_equals_r"] = "max_f1"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, got {getattr(self, name)}")
