"""The FER student's bank: what may be trained on, and what must not be."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from emo_face.core.types import Box, Face
from emo_face.datasets.faces import faces as readers
from emo_face.training.fer.bank import FOLDS, HELD_OUT, NOT_JUDGED, Bank, fold_of, not_copies


def test_near_copies_of_judged_pictures_are_not_trained_on() -> None:
    wide = np.random.default_rng(0).integers(0, 255, (6, 128, 128)).astype(np.uint8)
    brighter = np.clip(wide[2].astype(int) + 3, 0, 255).astype(np.uint8)
    assert not_copies(wide, brighter[None]).tolist() == [True, True, False, True, True, True]


def test_held_crops_train_the_shipped_model_alone_and_strangers_all() -> None:
    fold, other = np.array([0, 1, HELD_OUT, 1]), np.array([0, 1, HELD_OUT, HELD_OUT])
    wide, unknown = np.zeros((4, 128, 128), np.uint8), np.full((4, 7), np.nan, np.float32)
    bank = Bank(wide, unknown, np.full((4, 7), 1 / 7, np.float32), fold, other)
    votes = np.random.default_rng(0).dirichlet(np.ones(7), 6)
    full = bank.plus_strangers(np.zeros((6, 128, 128), np.uint8), votes)
    assert full.without(None).tolist() == list(range(10))
    assert full.without(HELD_OUT).tolist() == [0, 1, 4, 5, 6, 7, 8, 9]
    assert full.without(0).tolist() == [1, 4, 5, 6, 7, 8, 9]
    assert (full.fold[4:] == NOT_JUDGED).all()
    assert np.isnan(full.truth[4:]).all()


def test_labelled_photos_and_the_clip_are_held_from_every_fold() -> None:
    def picture(source: str, person: str) -> readers.FacePicture:
        return readers.FacePicture(source, "x", person, None, np.zeros((9, 9), np.uint8), Face(Box(0, 0, 5, 5), 1.0))

    some = [picture(readers.CMU, f"cmu:{i}") for i in range(10)]
    fold = fold_of([*some, picture(readers.PHOTOS, "a"), picture(readers.VIDEO, "b"), picture(readers.PEOPLE, "c")])
    assert set(fold[:10]) == set(range(FOLDS))
    assert fold[10:].tolist() == [HELD_OUT, HELD_OUT, NOT_JUDGED]
