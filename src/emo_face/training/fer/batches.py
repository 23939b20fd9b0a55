"""Batches for the FER student's base: faces with soft labels and things that are no face, seen by a bad camera."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from emo_face.core.labels import basic7
from emo_face.core.types import FloatArray
from emo_face.datasets.faces.augment import degrade, not_a_face, view
from emo_face.perception.nano.facecrop import normalise
from emo_face.training.fer.bank import Bank
from emo_face.training.fer.recipe import FerRecipe


@dataclass(frozen=True)
class FerBatch:
    """Faces first: ``crops`` (n, 1, 48, 48), of which the first ``len(soft)`` show a face; ``soft`` (f, 7)."""

    crops: torch.Tensor
    soft: torch.Tensor


class FerBatches:
    """Draws batches from the crops of a bank that may be seen."""

    def __init__(
        self,
        bank: Bank,
        allowed: NDArray[np.intp],
        recipe: FerRecipe,
        negatives: list[NDArray[np.uint8]],
        rng: np.random.Generator,
    ) -> None:
        """``allowed``: indices into the bank. ``negatives``: faceless pictures."""
        self._bank, self._recipe, self._negatives, self._rng = bank, recipe, negatives, rng
        self._faces = allowed[np.isnan(bank.truth[allowed, 0])]
        self._chance = _even(bank.soft[self._faces], recipe.evenness)

    def draw(self) -> FerBatch:
        """One batch, drawn with replacement."""
        rng, recipe = self._rng, self._recipe
        picks = rng.choice(self._faces, recipe.faces_per_batch, p=self._chance)
        crops = [seen(self._bank.wide[i], recipe, rng) for i in picks]
        crops += [not_a_face(rng, self._negatives) for _ in range(recipe.non_faces_per_batch)]
        return FerBatch(torch.from_numpy(normalise(np.stack(crops))), torch.from_numpy(self._bank.soft[picks]))


def seen(wide: NDArray[np.uint8], recipe: FerRecipe, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The crop of a wide crop, jittered, and as the recipe's share of bad cameras sees it."""
    crop = view(wide, rng, recipe.jitter)
    return crop if rng.random() < recipe.clean else degrade(crop, rng)


def _even(soft: FloatArray, evenness: float) -> FloatArray:
    """(n,) chance of each face, so that rare emotions are seen more often."""
    top = soft.argmax(axis=1)
    chance = np.bincount(top, minlength=len(basic7())).astype(float)[top] ** -evenness
    return np.asarray(chance / chance.sum())
