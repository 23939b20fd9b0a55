"""How long the face student learns from what, by the data that is at hand."""

from __future__ import annotations

from dataclasses import dataclass

from emo_face.training.face_batches import (
    BASE,
    BASE_CROWD,
    BASE_STRANGERS,
    FOLD,
    FOLD_CROWD,
    FOLD_STRANGERS,
    Mix,
)


@dataclass(frozen=True)
class Recipe:
    """Batches, steps and peak learning rate of the base and of what starts from it; ``shipped``: of the final net."""

    base: Mix
    base_steps: int
    base_rate: float
    fold: Mix
    fold_steps: int
    shipped_steps: int
    fold_rate: float


ALONE = Recipe(BASE, 600, 3e-3, FOLD, 1500, 1500, 2e-3)
"""The sixty people of the asset folder and renders."""
STRANGERS = Recipe(BASE_STRANGERS, 2600, 3e-3, FOLD_STRANGERS, 250, 800, 1e-3)
"""With folders of labelled faces: a good base needs few steps more."""
CROWD = Recipe(BASE_CROWD, 7000, 4e-3, FOLD_CROWD, 300, 600, 1e-3)
"""With FER+, and with or without such folders."""


def recipe_for(folders: bool, crowd: bool) -> Recipe:
    """The recipe for the data given."""
    return CROWD if crowd else STRANGERS if folders else ALONE
