"""FER+ (Barsoum et al., ICMI 2016): the 48 x 48 grey faces of FER2013 with the votes of ten people about each.

DIR holds ``FER2013Train``, ``FER2013Valid`` and ``FER2013Test`` as microsoft/FERPlus' ``generate_training_data.py``
leaves them: PNG files and a ``label.csv`` without a header; its columns are file, box and the counts of :data:`VOTES`.
Copies of that script write it without the box.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.labels import basic7
from emo_face.core.types import Box, Face, FloatArray, UInt8Array
from emo_face.datasets.faces.faces import FacePicture, scaled
from emo_face.perception.detect_face import YuNetFaceDetector
from emo_face.runtime.stills import read_picture

SOURCE = "ferplus"
SPLITS = ("Train", "Valid", "Test")
VOTES = ("Neutral", "Happy", "Surprise", "Sad", "Anger", "Disgust", "Fear", "contempt", "unknown", "no face")
OUTLIER = 1  # a single vote is taken for a slip (section 3 of the paper)
ENLARGE = 4  # YuNet finds few faces at 48 pixels
MARGIN = 12  # pixels of repeated edge around the picture, which is cut close to the face


@dataclass(frozen=True)
class Voted:
    """One picture: its file and the share of the votes (7,) that each label of basic7 got."""

    path: Path
    shares: FloatArray

    @property
    def label(self) -> str:
        """The label with the most votes."""
        return basic7().labels[int(self.shares.argmax())]


def read_votes(folder: Path, split: str) -> tuple[list[Voted], Counter[str]]:
    """The pictures of one of :data:`SPLITS`, and how many were skipped for what.

    Left out: pictures that most people called contempt, unknown or no face, and those without a vote that counts.

    Raises:
        UserError: a file is missing, or a row is not of the form; names file, row and column.
    """
    path = folder / f"FER2013{split}" / "label.csv"
    found: list[Voted] = []
    skipped: Counter[str] = Counter()
    for name, counts in _lines(path):
        picture = path.parent / name
        if not picture.is_file():
            skipped["no file"] += 1
            continue
        top = VOTES[int(counts.argmax())]
        if top not in basic7().labels:
            skipped[top] += 1
            continue
        kept = np.array([counts[VOTES.index(label)] for label in basic7().labels], dtype=np.float64)
        kept[kept <= OUTLIER] = 0
        if not kept.any():
            skipped["no agreement"] += 1
            continue
        found.append(Voted(picture, kept / kept.sum()))
    if not found:
        raise UserError(f"{path}: none of its pictures lies in {path.parent}; expected fer0000000.png and so on")
    return found, skipped


def faces_of(rows: Iterable[Voted], detector: YuNetFaceDetector) -> Iterator[FacePicture]:
    """The face of each picture; if none is found, the whole picture is one, as its makers cut it."""
    for row in rows:
        grey = read_picture(row.path, cv2.IMREAD_GRAYSCALE)
        name = f"{row.path.parent.name}/{row.path.name}"
        yield FacePicture(SOURCE, name, f"{SOURCE}:{name}", row.label, grey, _face(grey, detector))


def _face(picture: UInt8Array, detector: YuNetFaceDetector) -> Face:
    large = cv2.resize(picture, None, fx=ENLARGE, fy=ENLARGE, interpolation=cv2.INTER_CUBIC)
    pad = MARGIN * ENLARGE
    framed = cv2.copyMakeBorder(large, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    faces = detector.detect(np.asarray(cv2.cvtColor(framed, cv2.COLOR_GRAY2BGR), dtype=np.uint8))
    if not faces:
        height, width = picture.shape
        return Face(Box(0.0, 0.0, float(width), float(height)), 0.0)
    best = max(faces, key=lambda face: face.box.area * face.score)
    return scaled(best, 1 / ENLARGE, -MARGIN)


def _lines(path: Path) -> Iterator[tuple[str, FloatArray]]:
    """(file, ten counts) of each row."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            for line, row in enumerate(csv.reader(stream), 1):
                if len(row) not in (1 + len(VOTES), 2 + len(VOTES)) or Path(row[0]).name != row[0] or not row[0]:
                    raise UserError(
                        f"{path}:{line}: expected a file name, a box and {len(VOTES)} counts "
                        f"({', '.join(VOTES)}), got {len(row)} columns: {','.join(row)[:80]}"
                    )
                yield row[0], _counts(path, line, row[-len(VOTES) :])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path}: cannot be read as FER+ votes: {error}; make it by generate_training_data.py of microsoft/FERPlus"
        ) from None


def _counts(path: Path, line: int, cells: list[str]) -> FloatArray:
    counts = np.zeros(len(VOTES))
    for k, (column, cell) in enumerate(zip(VOTES, cells, strict=True)):
        if not cell.strip().isdigit():
            raise UserError(f"{path}:{line}: column {column}: expected a number of votes, got {cell!r}")
        counts[k] = int(cell)
    return counts
