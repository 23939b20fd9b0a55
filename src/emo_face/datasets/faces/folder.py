"""A folder of face photos with a legend: ``images/`` and ``legend.csv`` or ``data/legend.csv``.

The legend has the columns ``image`` (file in ``images/``) and ``emotion`` (any case, see :data:`WORDS`); others are
ignored. It is the form of the public collection muxspace/facial_expressions (Apache-2.0): 13,690 rows of news photos
and films. Two photos show one person when their names differ only in the last number: ``Jane_Doe_0001.jpg``.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.types import Face
from emo_face.datasets.faces.faces import FacePicture
from emo_face.perception.detect_face import YuNetFaceDetector

SOURCE = "folder"
COLUMNS = ("image", "emotion")
WORDS: Mapping[str, str] = {
    "anger": "Anger", "angry": "Anger", "disgust": "Disgust", "fear": "Fear", "happiness": "Happy", "happy": "Happy",
    "sadness": "Sad", "sad": "Sad", "surprise": "Surprise", "neutral": "Neutral",
}  # fmt: skip
SKIPPED_WORDS = ("contempt",)  # a class of other label sets that basic7 has no place for


@dataclass(frozen=True)
class Row:
    """One row of a legend: picture file, its name in ``images/`` and its label of basic7."""

    path: Path
    name: str
    label: str


def read_legend(folder: Path) -> tuple[list[Row], Counter[str]]:
    """The rows of the legend in its order, and what was skipped: ``contempt``, ``repeated`` and ``no file``.

    A picture that is named twice keeps its label where both rows agree and is left out where they do not.

    Raises:
        UserError: no legend, a missing column, or an unknown emotion; names file, row and column.
    """
    path = next((p for p in (folder / "legend.csv", folder / "data" / "legend.csv") if p.is_file()), None)
    if path is None:
        raise UserError(f"{folder}: no legend.csv nor data/legend.csv; expected images/ and a legend {COLUMNS}")
    found: dict[str, str | None] = {}
    skipped: Counter[str] = Counter()
    for line, name, word in _lines(path):
        if word in SKIPPED_WORDS:
            skipped[word] += 1
            continue
        if word not in WORDS:
            expected = ", ".join([*WORDS, *SKIPPED_WORDS])
            raise UserError(f"{path}:{line}: column emotion: unknown class {word!r}, expected one of {expected}")
        if name in found:
            skipped["repeated"] += 1
            found[name] = found[name] if found[name] == WORDS[word] else None
        else:
            found[name] = WORDS[word]
    rows = []
    for name, label in found.items():
        picture = folder / "images" / name
        if label is None:
            skipped["repeated"] += 1
        elif not picture.is_file():
            skipped["no file"] += 1
        else:
            rows.append(Row(picture, name, label))
    if not rows:
        raise UserError(f"{path}: none of its {len(found)} pictures lies in {folder / 'images'}")
    return rows, skipped


def faces_of(rows: Iterable[Row], detector: YuNetFaceDetector) -> Iterator[FacePicture]:
    """The main face of each picture, large and near the middle; pictures without one are left out."""
    for row in rows:
        picture = cv2.imread(str(row.path), cv2.IMREAD_COLOR)
        if picture is None:
            continue
        faces = detector.detect(np.asarray(picture, dtype=np.uint8))
        if faces:
            face = _main(faces, picture.shape[1], picture.shape[0])
            grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
            yield FacePicture(SOURCE, row.name, person_of(row.name), row.label, grey, face)


def person_of(name: str) -> str:
    """``folder:`` and the file's name without its last number; a name without a number is a person of its own."""
    return f"{SOURCE}:{re.sub(r'_[0-9]+$', '', Path(name).stem)}"


def _main(faces: Sequence[Face], width: int, height: int) -> Face:
    half = np.array([width, height]) / 2

    def weight(face: Face) -> float:
        away = (np.array(face.box.center) - half) / half
        return float(face.box.area * np.exp(-(away**2).sum()))

    return max(faces, key=weight)


def _lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line, image, emotion in lower case) of each row that names both."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            for column in COLUMNS:
                if column not in (reader.fieldnames or ()):
                    raise UserError(f"{path}:1: column {column!r} is missing from the header {reader.fieldnames}")
            for line, row in enumerate(reader, 2):
                name, word = ((row[column] or "").strip() for column in COLUMNS)
                if not name or not word or Path(name).name != name:
                    raise UserError(f"{path}:{line}: expected a file name in column image and a word in column emotion")
                yield line, name, word.lower()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a legend: {error}") from None
