"""Batches for the face student: real faces, renders and things that are no face, each seen by a bad camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from emo_face.core.labels import basic7
from emo_face.core.types import FloatArray
from emo_face.perception.nano.facecrop import normalise
from emo_face.training.fer.augment import degrade, not_a_face, view
from emo_face.training.fer.data import Bank


@dataclass(frozen=True)
class Mix:
    """How many crops of each kind a batch holds."""

    labelled: int
    unlabelled: int
    renders: int
    negatives: int

    @property
    def size(self) -> int:
        return self.labelled + self.unlabelled + self.renders + self.negatives


BASE = Mix(labelled=0, unlabelled=8, renders=48, negatives=8)
FOLD = Mix(labelled=18, unlabelled=20, renders=18, negatives=8)
BASE_STRANGERS = Mix(labelled=0, unlabelled=72, renders=12, negatives=12)
FOLD_STRANGERS = Mix(labelled=18, unlabelled=32, renders=6, negatives=8)
BASE_CROWD = Mix(labelled=0, unlabelled=96, renders=0, negatives=6)
EVENNESS = 0.5  # 1: unlabelled faces are drawn so that every emotion is as frequent; 0: as they come


@dataclass(frozen=True)
class Batch:
    """Tensors of one batch; ``face`` (n,) is 0 for negatives, whose other targets are NaN."""

    crops: torch.Tensor
    truth: torch.Tensor
    real: torch.Tensor
    arkit: torch.Tensor
    lessons: torch.Tensor
    soft: torch.Tensor
    posed: torch.Tensor
    face: torch.Tensor


class Batches:
    """Draws batches from the crops of a bank that a fold may see."""

    def __init__(
        self, bank: Bank, allowed: NDArray[np.intp], mix: Mix, negatives: list[NDArray[np.uint8]], rng:
            np.random.Generator,
        posed: FloatArray | None = None, clean: float = 0.3, jitter: float = 0.5,
    ) -> None:  # fmt: skip
        """``allowed``: indices into the bank. ``negatives``: faceless pictures. ``posed``: (n, 4) word of adapted
        teachers. ``clean``: share of crops that keep their camera quality. ``jitter``: strength, of real faces."""
        self._clean, self._jitter = clean, jitter
        self._posed = np.full((len(bank.wide), 4), np.nan, np.float32) if posed is None else posed
        self._bank, self._mix, self._negatives, self._rng = bank, mix, negatives, rng
        real = bank.real[allowed]
        labelled = np.isfinite(bank.truth[allowed, 0])
        self._labelled = _by_label(bank, allowed[real & labelled])
        self._unlabelled = allowed[real & ~labelled]
        self._chance = _even(bank.soft[self._unlabelled])
        self._renders = allowed[~real]

    def draw(self) -> Batch:
        """One batch; labels of real faces are drawn evenly."""
        rng, mix = self._rng, self._mix
        chosen = [self._labelled[int(rng.integers(len(self._labelled)))] for _ in range(mix.labelled)]
        picks = [int(rng.choice(group)) for group in chosen]
        if len(self._unlabelled):
            picks += [int(i) for i in rng.choice(self._unlabelled, mix.unlabelled, p=self._chance)]
        picks += [int(i) for i in rng.choice(self._renders, mix.renders)]
        crops = [self._see(i) for i in picks]
        crops += [not_a_face(rng, self._negatives) for _ in range(mix.negatives)]
        bank = self._bank
        face = np.zeros(len(crops), np.float32)
        face[: len(picks)] = 1
        return Batch(
            crops=torch.from_numpy(normalise(np.stack(crops))),
            truth=_padded(bank.truth[picks], len(crops)),
            real=_padded(bank.real[picks].astype(np.float32)[:, None], len(crops))[:, 0],
            arkit=_padded(bank.arkit[picks], len(crops)),
            lessons=_padded(bank.lessons[picks], len(crops)),
            soft=_padded(bank.soft[picks], len(crops)),
            posed=_padded(self._posed[picks], len(crops)),
            face=torch.from_numpy(face),
        )

    def _see(self, index: int) -> NDArray[np.uint8]:
        real = bool(self._bank.real[index])
        crop = view(self._bank.wide[index], self._rng, self._jitter if real else 1.0)
        return crop if self._rng.random() < self._clean else degrade(crop, self._rng)


def _by_label(bank: Bank, indices: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    labels = bank.truth[indices].argmax(axis=1) if len(indices) else np.zeros(0, int)
    groups = [indices[labels == k] for k in range(len(basic7()))]
    # Labels that one or two photos carry would be drawn as often as those of dozens of people; a tenth of that is
    # enough.
    largest = max((len(g) for g in groups), default=0)
    common = [g for g in groups if len(g) > largest / 10]
    rare = [g for g in groups if 0 < len(g) <= largest / 10]
    return common * 10 + rare


def _even(soft: FloatArray) -> FloatArray:
    """(n,) chance of each face, so that rare emotions are seen more often."""
    top = soft.argmax(axis=1) if len(soft) else np.zeros(0, int)
    chance = np.bincount(top, minlength=len(basic7())).astype(float)[top] ** -EVENNESS
    return np.asarray(chance / max(chance.sum(), 1e-12))


def _padded(rows: NDArray[np.floating], length: int) -> torch.Tensor:
    full = np.full((length, *rows.shape[1:]), np.nan, np.float32)
    full[: len(rows)] = rows
    return torch.from_numpy(full)
