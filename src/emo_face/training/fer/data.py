"""The training bank of the face student: real faces in several views, mixtures of them, and renders, with lessons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from emo_face.core.labels import basic7
from emo_face.core.types import Box, Face, FloatArray
from emo_face.datasets.faces import faces as readers
from emo_face.datasets.faces.faces import FacePicture
from emo_face.perception.nano.facecrop import face_frame, warp
from emo_face.training.fer.augment import WIDE, WIDE_SPREAD, view
from emo_face.training.fer.compose import bend, compose
from emo_face.training.fer.renders import ALWAYS, RenderSet
from emo_face.training.fer.teachers import FerTeachers, Lessons, MeshTeacher, teach

FOLDS = 5
HELD = FOLDS
"""Fold of the labelled photos and the clip: the shipped model alone is trained on them."""
CALM = 0.8  # weight of the mean over views
SOFTEN = 1.3  # temperature of the soft labels
TEACHER_CROP = 64
VIDEO_STEP = 4
CLIP = "video/WolfgangLanger_Pexels_3063838.mp4"


@dataclass(frozen=True)
class Bank:
    """Training crops.

    Attributes:
        wide: (n, 128, 128) uint8 crops with room around the face. truth: (n, 7), NaN rows without label.
        arkit: (n, 52), NaN where unknown. lessons: (n, f) teacher features, standardised, NaN where nobody was asked.
        soft: (n, 7) probabilities.
        fold, other: (n,) int, the folds whose test people the crop shows, or ALWAYS. real: (n,) bool, no render.
    """

    wide: NDArray[np.uint8]
    truth: FloatArray
    arkit: FloatArray
    lessons: FloatArray
    soft: FloatArray
    fold: NDArray[np.int64]
    other: NDArray[np.int64]
    real: NDArray[np.bool_]

    def without(self, fold: int | None) -> NDArray[np.intp]:
        """Indices of all crops that show nobody of ``fold`` or of :data:`HELD`; None leaves out nobody."""
        if fold is None:
            return np.arange(len(self.fold))
        hidden = [HELD, fold]
        return np.flatnonzero(~np.isin(self.fold, hidden) & ~np.isin(self.other, hidden))

    def plus_strangers(
        self, wide: NDArray[np.uint8], soft: FloatArray, arkit: FloatArray | None = None,
        lessons: FloatArray | None = None,
    ) -> Bank:  # fmt: skip
        """This bank with real faces at its end that no figure is reported on; what is not given is unknown."""
        count = len(wide)
        nobody = np.full(count, ALWAYS)

        def unknown(like: FloatArray) -> FloatArray:
            return np.full((count, like.shape[1]), np.nan, np.float32)

        extra = Bank(
            wide=wide,
            truth=unknown(self.truth),
            arkit=unknown(self.arkit) if arkit is None else arkit.astype(np.float32),
            lessons=unknown(self.lessons) if lessons is None else lessons,
            soft=soft.astype(np.float32),
            fold=nobody,
            other=nobody,
            real=np.ones(count, bool),
        )
        return Bank(**{f.name: np.concatenate([getattr(self, f.name), getattr(extra, f.name)]) for f in fields(Bank)})


def read_all(data: Path) -> list[FacePicture]:
    """Every face of the asset folder: CMU, London, labelled photos, unlabelled people, every fourth frame of the
    clip."""
    detector = readers.detector_of(data)
    images = data / "images"
    found = readers.read_cmu(images / "cmu_faces", detector)
    found += readers.read_london(images / "london", detector)
    found += readers.read_photos(images / "emotion", images / "labels.csv", detector)
    found += readers.read_people(images / "people", detector)
    found += list(readers.read_video(data / CLIP, detector, VIDEO_STEP))
    return found


def fold_of(pictures: Sequence[FacePicture]) -> NDArray[np.int64]:
    """(n,) fold of each picture; people no number is reported on are ALWAYS."""
    table = readers.folds([p.person for p in pictures if p.source in (readers.CMU, readers.LONDON)], FOLDS)
    nobody = {readers.PEOPLE: ALWAYS, readers.PHOTOS: HELD, readers.VIDEO: HELD}
    return np.array([nobody[p.source] if p.source in nobody else table[p.person] for p in pictures])


def wide_crop(picture: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
    """(128, 128) aligned crop, 1.7 times as wide as what the student sees."""
    x, y, side, tilt = face_frame(face)
    return warp(picture, x, y, side * WIDE_SPREAD, tilt, WIDE)


def build(
    pictures: Sequence[FacePicture], renders: Sequence[RenderSet], fer: FerTeachers, mesh: MeshTeacher | None,
    views: int, composites: int, rng: np.random.Generator,
) -> Bank:  # fmt: skip
    """Cut, jitter, mix and ask the teachers.

    Args:
        views: jittered copies of each real face. composites: faces made of two people's.
    """
    fold = fold_of(pictures)
    crops = np.stack([wide_crop(p.picture, p.face) for p in pictures])
    truth = np.stack([_one_hot(p.label) for p in pictures])
    index = np.repeat(np.arange(len(pictures)), views)
    real = np.stack(
        [view(bend(crops[i], rng) if k % 2 else crops[i], rng, 0.8, WIDE, WIDE_SPREAD) for k, i in enumerate(index)]
    )
    mixed = compose(pictures, crops, composites, rng)
    drawn = np.stack([wide_crop(i, _plain(p)) for r in renders for i, p in zip(r.images, r.landmarks, strict=True)])
    wide = np.concatenate([real, mixed.wide, drawn])
    told = teach(wide, np.stack([view(w, None, size=TEACHER_CROP) for w in wide]), fer, mesh)
    told = _calmed(told, len(pictures), views)
    count, nobody = len(index) + len(mixed.wide), np.full(len(drawn), ALWAYS)
    mixed_truth = np.where(mixed.labelled[:, None], truth[mixed.first], np.nan)
    return Bank(
        wide=wide,
        truth=np.concatenate([truth[index], mixed_truth, *(r.truth for r in renders)]).astype(np.float32),
        arkit=np.concatenate([told.arkit[:count], *(r.arkit for r in renders)]).astype(np.float32),
        lessons=_standard(told),
        soft=_soft(told.soft),
        fold=np.concatenate([fold[index], fold[mixed.first], *(r.fold for r in renders)]),
        other=np.concatenate([fold[index], fold[mixed.second], nobody]),
        real=np.arange(len(wide)) < count,
    )


def faceless(data: Path) -> list[NDArray[np.uint8]]:
    """Grey pictures without faces to cut negatives from: a logo, frames seen from behind, the lower part of photos."""
    found = []
    detector = readers.detector_of(data)
    for path in sorted((data / "images" / "people").glob("*.jpg")):
        picture = cv2.imread(str(path))
        if picture is None:
            continue
        lowest = max((f.box.bottom for f in detector.detect(np.asarray(picture, dtype=np.uint8))), default=0.0)
        if lowest < 0.75 * picture.shape[0]:
            found.append(np.asarray(cv2.cvtColor(picture[int(lowest) + 8 :], cv2.COLOR_BGR2GRAY), dtype=np.uint8))
    return [p for p in found if min(p.shape) >= 32]


def _one_hot(label: str | None) -> FloatArray:
    if label is None:
        return np.full(len(basic7()), np.nan, np.float32)
    row = np.zeros(len(basic7()), np.float32)
    row[basic7().index(label)] = 1
    return row


def _plain(landmarks: FloatArray) -> Face:
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    return Face(Box(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])), 1.0, landmarks)


def _calmed(told: Lessons, pictures: int, views: int) -> Lessons:
    """Teachers change their mind with every pixel of jitter: a view is told mostly what the mean over all views
    says."""
    features, soft = told.features.copy(), told.soft.copy()
    for values in (features, soft):
        own = values[: pictures * views].reshape(pictures, views, -1)
        own += CALM * (own.mean(axis=1, keepdims=True) - own)
    return replace(told, features=features, soft=soft)


def _standard(told: Lessons) -> FloatArray:
    features = told.features
    standard = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-3)
    return np.asarray(standard.astype(np.float32))


def _soft(log_probabilities: FloatArray) -> FloatArray:
    shifted = np.exp((log_probabilities - log_probabilities.max(axis=1, keepdims=True)) / SOFTEN)
    return np.asarray((shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32))
