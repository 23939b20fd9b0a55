"""Thousands of strangers for the face student's bank: labelled folders of faces, with what the teachers say of each.

Labels of such collections are noisy, so a face is told a mixture of its label and the teachers' word: mostly the label
where they agree, mostly the teachers where they do not.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_face.core.labels import basic7
from emo_face.core.types import FloatArray
from emo_face.datasets.faces.folder import faces_of, read_legend
from emo_face.datasets.pictures.near_duplicates import bits_apart, dhash
from emo_face.perception.detect_face import YuNetFaceDetector
from emo_face.training.fer.augment import view
from emo_face.training.fer.data import TEACHER_CROP, Bank, wide_crop
from emo_face.training.fer.progress import progress
from emo_face.training.fer.teachers import FerTeachers, Lessons, MeshTeacher, teach

AGREED = 0.7  # share of the label where the teachers' first guess is the same
DISPUTED = 0.3  # and where it is not
SAME_BITS = 4  # aligned crops at most this far apart in 64 hash bits count as one picture


@dataclass(frozen=True)
class Strangers:
    """n faces: crops (n, 128, 128), labels (n,) of basic7, teacher features (n, f), log-probabilities (n, 7), ARKit."""

    wide: NDArray[np.uint8]
    label: NDArray[np.int64]
    features: FloatArray
    soft: FloatArray
    arkit: FloatArray


def read_strangers(
    folders: Sequence[Path], detector: YuNetFaceDetector, fer: FerTeachers, mesh: MeshTeacher | None, cache: Path
) -> Strangers:
    """Read, cut and ask the teachers, or take the result of an earlier run from ``cache``.

    Raises:
        UserError: a legend is missing or names an unknown emotion.
    """
    found = [read_legend(folder) for folder in folders]
    rows = [row for part, _ in found for row in part]
    for folder, (part, skipped) in zip(folders, found, strict=True):
        left_out = ", ".join(f"{n} {what}" for what, n in sorted(skipped.items())) or "nothing"
        print(f"{folder}: {len(part)} labelled pictures; left out: {left_out}")
    listed = "".join(f"{row.name} {row.label}\n" for row in rows)
    file = cache / f"strangers_{zlib.crc32(listed.encode()):08x}.npz"  # another legend is another set
    names = [f.name for f in fields(Strangers)]
    if file.is_file():
        with np.load(file, allow_pickle=False) as saved:
            return Strangers(**{name: saved[name] for name in names})
    wide, label = [], []
    for picture in faces_of(progress(rows, "finding strangers' faces"), detector):
        wide.append(wide_crop(picture.picture, picture.face))
        label.append(basic7().index(picture.label or ""))
    crops = np.stack(wide)
    told = ask(crops, fer, mesh)
    result = Strangers(crops, np.array(label), told.features, told.soft, told.arkit)
    np.savez(file, **{name: getattr(result, name) for name in names})
    return result


def ask(wide: NDArray[np.uint8], fer: FerTeachers, mesh: MeshTeacher | None) -> Lessons:
    """The teachers' word; the expression nets see each face and its mirror image, which calms them."""
    told = teach(wide, np.stack([view(w, None, size=TEACHER_CROP) for w in wide]), fer, mesh)
    other = teach(wide, np.stack([view(w[:, ::-1], None, size=TEACHER_CROP) for w in wide]), fer, None)
    width = other.features.shape[1]
    features = told.features.copy()
    features[:, :width] = (features[:, :width] + other.features) / 2
    return Lessons(features, (told.soft + other.soft) / 2, told.arkit, told.seen)


def unlike(wide: NDArray[np.uint8], judged: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(n,) whether a crop (n, 128, 128) looks like none of the aligned crops ``judged`` (m, 128, 128)."""
    mine = np.array([dhash(w) for w in wide], np.uint64)
    far = np.ones(len(mine), bool)
    for one in judged:
        far &= bits_apart(np.uint64(dhash(one)), mine) > SAME_BITS
    return far


def without_copies(strangers: Strangers, judged: NDArray[np.uint8]) -> tuple[Strangers, int]:
    """Drop faces that look like a picture that is judged; also says how many."""
    far = unlike(strangers.wide, judged)
    left = Strangers(**{f.name: getattr(strangers, f.name)[far] for f in fields(Strangers)})
    return left, int((~far).sum())


def targets(label: NDArray[np.int64], log_probabilities: FloatArray) -> FloatArray:
    """(n, 7) what each face is taught: its label and the teachers' word, mixed."""
    p = np.exp(log_probabilities - log_probabilities.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    share = np.where(p.argmax(axis=1) == label, AGREED, DISPUTED)[:, None]
    return np.asarray((share * np.eye(len(basic7()))[label] + (1 - share) * p).astype(np.float32))


def joined(bank: Bank, strangers: Strangers) -> Bank:
    """The bank with the strangers, whom no figure is reported on, at its end."""
    features = strangers.features
    standard = np.clip((features - features.mean(axis=0)) / (features.std(axis=0) + 1e-3), -5, 5)
    return bank.plus_strangers(
        strangers.wide, targets(strangers.label, strangers.soft), strangers.arkit, standard.astype(np.float32)
    )
