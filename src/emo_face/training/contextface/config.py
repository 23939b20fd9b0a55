"""Settings of ContextFace's training; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from emo_face.core.errors import ConfigError
from emo_face.training.common.config import RunConfig

FACE_LOSSES = ("mse", "sum", "l1", "huber")


@dataclass(frozen=True)
class ContextFaceTraining(RunConfig):
    """Settings of a run; defaults are the released code's, if it has them.

    Attributes:
        epochs: how often ``epoch_batches`` micro-batches are drawn.
        epoch_batches: micro-batches per epoch, 10,000 in the released code; fewer if every sample of every task was
            seen before, and 0 for as many as that takes. Orders go on from epoch to epoch: no sample is left out.
        gradient_accumulation: micro-batches per step, each of one task, drawn anew, so that a step's gradient is of all
            tasks.
        batch_size: examples per process and micro-batch. validation_batch: examples that are validated at once.
        head_rate_share: learning rate of the face head, relative to the other weights'.
        centring: how far a step moves what is taken off the states of ``<FACE>`` towards their mean. Beside words these
            states can become alike, and one face comes out for all; 0 for none, as in the paper.
        packed: put the dialogues of a micro-batch into one row without padding; for text-only language models.
        face_weight: weight (lambda) of the face loss; 10 goes with ``mse``.
        face_loss: ``mse``, ``sum``, ``l1`` or ``huber``. betas: of AdamW.
        group_weights: of expression, jaw and eyelids inside the face loss.
    """

    epochs: int = 10
    epoch_batches: int = 10_000
    batch_size: int = 4
    gradient_accumulation: int = 10
    learning_rate: float = 5e-5
    warmup: int = 100
    validate_every: int = 500
    save_every: int = 500
    head_rate_share: float = 1.0
    centring: float = 0.05
    packed: bool = False
    betas: tuple[float, float] = (0.9, 0.95)
    face_weight: float = 10.0
    face_loss: str = "mse"
    group_weights: Mapping[str, float] = field(default_factory=lambda: {"expression": 1.0, "jaw": 0.2, "eyelids": 0.2})
    validation_batch: int = 8

    AT_LEAST_ONE: ClassVar[tuple[str, ...]] = (*RunConfig.AT_LEAST_ONE, "validation_batch")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epoch_batches < 0:
            raise ConfigError(f"epoch_batches: expected 0 or more, got {self.epoch_batches}")
        if not 0 <= self.centring <= 1:
            raise ConfigError(f"centring: expected 0 to 1, got {self.centring}")
        if self.face_loss not in FACE_LOSSES:
            raise ConfigError(f"face_loss: expected one of {', '.join(FACE_LOSSES)}, got {self.face_loss!r}")
