"""How long the face student learns from what, by the data that is at hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from emo_face.training.fer.batches import BASE, BASE_CROWD, BASE_STRANGERS, FOLD, FOLD_STRANGERS, Mix
from emo_face.training.fer.fit import Weights


@dataclass(frozen=True)
class Tuning:
    """How a fold, and longer the shipped net, is trained from the base: batches, steps and peak learning rate."""

    mix: Mix
    steps: int
    shipped_steps: int
    rate: float


@dataclass(frozen=True)
class Recipe:
    """Batches, steps and peak learning rate of the base, and what is done from there.

    ``tuning``: None fits the last layer alone. ``weights``: shares of the losses. ``clean``: of the crops that keep
    their camera quality. ``jitter``: how far real faces are moved.
    """

    base: Mix
    steps: int
    rate: float
    tuning: Tuning | None
    weights: Weights = field(default_factory=Weights)
    clean: float = 0.3
    jitter: float = 0.5


ALONE = Recipe(BASE, 600, 3e-3, Tuning(FOLD, 1500, 1500, 2e-3))
"""The sixty people of the asset folder and renders."""
STRANGERS = Recipe(BASE_STRANGERS, 2600, 3e-3, Tuning(FOLD_STRANGERS, 250, 800, 1e-3))
"""With folders of labelled faces: a good base needs few steps more."""
CROWD = Recipe(
    BASE_CROWD, 5000, 4e-3, None, Weights(lessons=0.0, soft=0.0, arkit=0.0), clean=0.5, jitter=0.7
)  # fmt: skip
"""With FER+. Where people have voted, what older nets see only gets in the way."""


def recipe_for(folders: bool, crowd: bool) -> Recipe:
    """The recipe for the data given."""
    return CROWD if crowd else STRANGERS if folders else ALONE
