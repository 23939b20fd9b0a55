"""The training bank of the FER student: faces in several views and mixtures of them, with what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from emo_face.core.labels import basic7
from emo_face.core.numeric import softmax
from emo_face.core.types import Face, FloatArray
from emo_face.datasets.faces import faces as readers
from emo_face.datasets.faces.augment import WIDE, WIDE_SPREAD, view
from emo_face.datasets.faces.faces import FacePicture
from emo_face.datasets.pictures.near_duplicates import bits_apart, dhash
from emo_face.perception.nano.facecrop import face_frame, warp
from emo_face.runtime.stills import readable
from emo_face.training.fer.compose import bend, compose
from emo_face.training.fer.recipe import FerRecipe
from emo_face.training.fer.teachers import ExpressionTeachers

FOLDS = 5
NOT_JUDGED = -1
"""Fold of pictures that no figure is reported on."""
HELD_OUT = FOLDS
"""Fold of the labelled photos and the clip: the shipped model alone is trained on them."""
CALM = 0.8  # weight of the mean over views
SOFTEN = 1.3  # temperature of the soft labels
TEACHER_CROP = 64
SAME_BITS = 4  # aligned crops at most this far apart in 64 hash bits count as one picture
VIDEO_STEP = 4
CLIP = "video/WolfgangLanger_Pexels_3063838.mp4"


@dataclass(frozen=True)
class Bank:
    """Training crops.

    Attributes:
        wide: (n, 128, 128) uint8 crops with room around the face. truth: (n, 7), NaN rows without label.
        soft: (n, 7) probabilities.
        fold, other: (n,) int, the folds whose test people the crop shows, or NOT_JUDGED.
    """

    wide: NDArray[np.uint8]
    truth: FloatArray
    soft: FloatArray
    fold: NDArray[np.int64]
    other: NDArray[np.int64]

    def without(self, fold: int | None) -> NDArray[np.intp]:
        """Indices of all crops that show nobody of ``fold`` or of :data:`HELD_OUT`; None leaves out nobody."""
        if fold is None:
            return np.arange(len(self.fold))
        hidden = [HELD_OUT, fold]
        return np.flatnonzero(~np.isin(self.fold, hidden) & ~np.isin(self.other, hidden))

    def plus_strangers(self, wide: NDArray[np.uint8], soft: FloatArray) -> Bank:
        """This bank with faces at its end that have no label and that no figure is reported on."""
        nobody = np.full(len(wide), NOT_JUDGED)
        unknown = np.full((len(wide), self.truth.shape[1]), np.nan, np.float32)
        extra = Bank(wide, unknown, soft.astype(np.float32), nobody, nobody)
        return Bank(**{f.name: np.concatenate([getattr(self, f.name), getattr(extra, f.name)]) for f in fields(Bank)})


def read_all(data: Path) -> list[FacePicture]:
    """Every face of the asset folder: CMU, London, labelled photos, unlabelled people, every fourth frame of the
    clip."""
    detector = readers.detector_of(data)
    images = data / "images"
    return [
        *readers.read_cmu(images / "cmu_faces", detector),
        *readers.read_london(images / "london", detector),
        *readers.read_photos(images / "emotion", images / "labels.csv", detector),
        *readers.read_people(images / "people", detector),
        *readers.read_video(data / CLIP, detector, VIDEO_STEP),
    ]


def fold_of(pictures: Sequence[FacePicture]) -> NDArray[np.int64]:
    """(n,) fold of each picture; people no number is reported on are NOT_JUDGED."""
    table = readers.folds([p.person for p in pictures if p.source in (readers.CMU, readers.LONDON)], FOLDS)
    nobody = {readers.PEOPLE: NOT_JUDGED, readers.PHOTOS: HELD_OUT, readers.VIDEO: HELD_OUT}
    return np.array([nobody[p.source] if p.source in nobody else table[p.person] for p in pictures])


def wide_crop(picture: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
    """(128, 128) aligned crop, 1.7 times as wide as what the student sees."""
    x, y, side, tilt = face_frame(face)
    return warp(picture, x, y, side * WIDE_SPREAD, tilt, WIDE)


def build(
    pictures: Sequence[FacePicture], teachers: ExpressionTeachers, recipe: FerRecipe, rng: np.random.Generator
) -> Bank:
    """Cut, jitter, mix and ask the teachers."""
    fold = fold_of(pictures)
    crops = np.stack([wide_crop(p.picture, p.face) for p in pictures])
    truth = np.stack([_one_hot(p.label) for p in pictures])
    index = np.repeat(np.arange(len(pictures)), recipe.views)
    jittered = np.stack(
        [view(bend(crops[i], rng) if k % 2 else crops[i], rng, 0.8, WIDE, WIDE_SPREAD) for k, i in enumerate(index)]
    )
    mixed = compose(pictures, crops, recipe.composites, rng)
    wide = np.concatenate([jittered, mixed.wide])
    told = teachers(np.stack([view(w, None, size=TEACHER_CROP) for w in wide]))
    mixed_truth = np.where(mixed.labelled[:, None], truth[mixed.first], np.nan)
    return Bank(
        wide=wide,
        truth=np.concatenate([truth[index], mixed_truth]).astype(np.float32),
        soft=softmax(_calmed(told, len(pictures), recipe.views) / SOFTEN).astype(np.float32),
        fold=np.concatenate([fold[index], fold[mixed.first]]),
        other=np.concatenate([fold[index], fold[mixed.second]]),
    )


def faceless(data: Path) -> list[NDArray[np.uint8]]:
    """Grey pictures without faces to cut negatives from: a logo, frames seen from behind, the lower part of photos."""
    found = []
    detector = readers.detector_of(data)
    for path in sorted((data / "images" / "people").glob("*.jpg")):
        picture = readable(path)
        if picture is None:
            continue
        lowest = max((f.box.bottom for f in detector.detect(picture)), default=0.0)
        if lowest < 0.75 * picture.shape[0]:
            found.append(np.asarray(cv2.cvtColor(picture[int(lowest) + 8 :], cv2.COLOR_BGR2GRAY), dtype=np.uint8))
    return [p for p in found if min(p.shape) >= 32]


def _one_hot(label: str | None) -> FloatArray:
    if label is None:
        return np.full(len(basic7()), np.nan, np.float32)
    return np.asarray(np.eye(len(basic7()), dtype=np.float32)[basic7().index(label)])


def _calmed(told: FloatArray, pictures: int, views: int) -> FloatArray:
    """Teachers change their mind with every pixel of jitter: a view is told mostly what the mean of its face says."""
    values = told.copy()
    own = values[: pictures * views].reshape(pictures, views, -1)
    own += CALM * (own.mean(axis=1, keepdims=True) - own)
    return values


def not_copies(wide: NDArray[np.uint8], judged: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(n,) whether a crop (n, 128, 128) is a near-duplicate of none of the aligned crops ``judged`` (m, 128, 128)."""
    mine = np.array([dhash(w) for w in wide], np.uint64)
    far = np.ones(len(mine), bool)
    for one in judged:
        far &= bits_apart(np.uint64(dhash(one)), mine) > SAME_BITS
    return far
