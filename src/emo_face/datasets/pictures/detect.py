"""The box step of the multi-view paper (3.3, 3.4): bodies by YOLO11, faces by YuNet, for records that lack them."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2

from emo_face.core.errors import UserError
from emo_face.datasets.pictures.match import Finder
from emo_face.datasets.records import Record, from_row, to_row
from emo_face.perception.build import Detectors, DetectorSettings, build_detectors
from emo_face.runtime.shards import Job, Row
from emo_face.runtime.stills import decoded
from emo_face.runtime.store import open_store

FORMAT = 1  # of the rows; another one computes everything anew
# Full size, and every person of a group: a data set is read once and at leisure.
SETTINGS = DetectorSettings(imgsz=640, face_imgsz=640, max_people=100)


@dataclass(frozen=True)
class Picture:
    """A picture and its people."""

    image: str
    people: tuple[Record, ...]


@dataclass(frozen=True)
class FindBoxes(Job[Picture]):
    """Fill the boxes of pictures below ``images``. ``hashes``: detector -> sha256 of its file."""

    images: Path
    settings: DetectorSettings
    hashes: Mapping[str, str]

    @property
    def key(self) -> str:
        """See :class:`emo_face.runtime.shards.Job`."""
        return json.dumps(["boxes", FORMAT, asdict(self.settings), sorted(self.hashes.items())])

    def item_key(self, item: Picture) -> str:
        """The annotations, and the size of the picture's file."""
        path = self.images / item.image
        size = path.stat().st_size if path.is_file() else -1
        rows = json.dumps([size, *map(to_row, item.people)], sort_keys=True)
        return hashlib.sha256(rows.encode()).hexdigest()

    def worker(self) -> Callable[[Sequence[Picture]], Sequence[Row]]:
        """Load the detectors."""
        finder = Finder(*_load(self.settings))
        return lambda items: [row for item in items for row in _rows(self.images, item, finder)]


def job(images: Path, settings: DetectorSettings = SETTINGS) -> tuple[FindBoxes, tuple[str, ...]]:
    """The job for this machine's detectors, and what they lack.

    Raises:
        UserError: the folder is missing, or no detector at all is here.
    """
    if not images.is_dir():
        raise UserError(f"--images {images}: no such folder; expected the one that the records' paths start from")
    detectors, versions = _load(settings)
    return FindBoxes(images, settings, versions), detectors.warnings


def pictures(records: Sequence[Record]) -> list[Picture]:
    """The records by picture, in the order of their first appearance."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.image, []).append(record)
    return [Picture(image, tuple(people)) for image, people in found.items()]


def records_of(rows: Sequence[Row]) -> tuple[list[Record], list[str]]:
    """Records from the job's rows, and the pictures that could not be read."""
    bad = sorted({f"{row['record']['image']}: {row['error']}" for row in rows if "error" in row})
    return [from_row(row["record"]) for row in rows], bad


def _load(settings: DetectorSettings) -> tuple[Detectors, dict[str, str]]:
    detectors = build_detectors(open_store(), settings)
    versions = {name: digest[:12] for name, digest in detectors.hashes.items()}
    for part in (detectors.bodies, detectors.faces):
        if part is not None:  # OpenCV's own cascade has no file of ours
            versions.setdefault(part.name, f"opencv {cv2.__version__}")
    return detectors, versions


def _rows(images: Path, item: Picture, finder: Finder) -> list[dict[str, Any]]:
    path = images / item.image
    frame = decoded(path.read_bytes()) if path.is_file() else None
    if frame is None:
        why = "not a picture" if path.is_file() else "no such file"
        return [{"record": to_row(person), "error": why} for person in item.people]
    return [{"record": to_row(person)} for person in finder.complete(frame, item.people)]
