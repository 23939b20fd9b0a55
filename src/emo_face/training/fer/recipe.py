"""Everything that the FER student's training depends on besides data and seed, as one file of numbers."""

from dataclasses import dataclass

from emo_face.core.errors import ConfigError

NAME = "fer"
"""Of the recipe that ships, ``data/recipes/fer.yaml``."""


@dataclass(frozen=True)
class FerRecipe:
    """How the FER student is trained; the values that ship are in :data:`NAME`'s file alone.

    Attributes:
        widths: channels of the trunk's four stages.
        steps: batches of the base. faces_per_batch, non_faces_per_batch: crops of a batch.
        evenness: 1 draws faces so that every emotion is as frequent, 0 as they come.
        clean: share in [0, 1] of the crops that keep their camera quality. jitter: strength of real faces' jitter.
        learning_rate: peak of a one-cycle schedule. warmup: share of the steps it rises.
        max_grad_norm: of the clipped gradient.
        averaging, averaging_start: decay of the running mean of the weights, after and in the first 200 steps.
        reject_weight, flat_weight: of the loss for "is a face" and for flat answers about what is none.
        views: jittered copies of each posed face. composites: faces made of two people's.
        head_faces: faces with votes, head_penalty: pull to the base's layer, head_rare: as ``evenness``, in the loss.
        reject_faces, reject_non_faces: crops that the reject layer is fitted to. reject_penalty: on its weights.
    """

    widths: tuple[int, int, int, int]
    steps: int
    faces_per_batch: int
    non_faces_per_batch: int
    evenness: float
    clean: float
    jitter: float
    learning_rate: float
    warmup: float
    weight_decay: float
    max_grad_norm: float
    averaging: float
    averaging_start: float
    reject_weight: float
    flat_weight: float
    views: int
    composites: int
    head_faces: int
    head_penalty: float
    head_rare: float
    reject_faces: int
    reject_non_faces: int
    reject_penalty: float

    def __post_init__(self) -> None:
        for name in ("steps", "faces_per_batch", "views", "composites", "head_faces", "reject_faces"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("clean", "warmup", "averaging", "averaging_start"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}: expected a share from 0 to 1, got {getattr(self, name)}")
