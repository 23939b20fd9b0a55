"""Readers of face pictures with and without emotion labels; every face carries the person it shows.

CMU Face Images (Mitchell, UCI; CC-BY-4.0): 128 x 120 grey, ``person_pose_expression_open.png``.
Face Research Lab London Set (DeBruine & Jones 2017; CC-BY-4.0): ``NNN_neutral.jpg`` and ``NNN_smiling.jpg``.
Photos with a label file ``labels.csv`` (columns ``file``, ``label``), and pictures or videos without labels.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.labels import basic7
from emo_face.core.types import Box, Face, UInt8Array
from emo_face.datasets.files import pictures
from emo_face.perception.detect_face import YuNetFaceDetector
from emo_face.runtime.stills import read_picture

CMU = "cmu"
LONDON = "london"
PHOTOS = "photos"
PEOPLE = "people"
VIDEO = "video"
CMU_LABELS = {"neutral": "Neutral", "happy": "Happy", "sad": "Sad", "angry": "Anger"}
LONDON_LABELS = {"neutral": "Neutral", "smiling": "Happy"}
CMU_SCALES = (3.0, 2.0, 4.0, 5.0)  # YuNet finds all but one of the small CMU faces at 3, the others by the next ones
SURE = 0.8  # detector score at which no further enlargement is tried
PICTURES = (".jpg", ".jpeg", ".png")
DETECTOR = Path("face/face_detection_yunet_2023mar.onnx")


@dataclass(frozen=True)
class FacePicture:
    """One face in one picture.

    Attributes:
        source: one of the constants of this module. name: file below the folder, ``#k`` for its k-th face or frame.
        person: equal for all pictures of one person, unequal between sources.
        label: of basic7, or None. picture: (h, w) uint8 grey. face: in pixels of the picture.
        pose: CMU's word, or empty.
    """

    source: str
    name: str
    person: str
    label: str | None
    picture: UInt8Array
    face: Face
    pose: str = ""


def detector_for_training(model: Path) -> YuNetFaceDetector:
    """YuNet at a size and confidence that suit stills."""
    return YuNetFaceDetector(model, size=640, confidence=0.35)


def detector_of(data: Path) -> YuNetFaceDetector:
    """The detector for training that lies in an asset folder."""
    return detector_for_training(data / DETECTOR)


def read_cmu(folder: Path, detector: YuNetFaceDetector) -> list[FacePicture]:
    """All CMU pictures; a face that is not found becomes a fixed head crop without landmarks.

    Raises:
        UserError: the folder has no pictures, or a name does not follow the scheme.
    """
    found = []
    for path in _pictures(folder):
        parts = path.stem.split("_")
        if len(parts) < 3 or parts[2] not in CMU_LABELS:
            raise UserError(
                f"{path}: unknown class in the file name: expected person_pose_expression_open, expression one of "
                f"{', '.join(CMU_LABELS)}"
            )
        picture = read_picture(path, cv2.IMREAD_GRAYSCALE)
        face = _find_small(picture, detector)
        found.append(FacePicture(CMU, path.name, f"{CMU}:{parts[0]}", CMU_LABELS[parts[2]], picture, face, parts[1]))
    return found


def read_london(folder: Path, detector: YuNetFaceDetector) -> list[FacePicture]:
    """All London pictures. Raises UserError as :func:`read_cmu`."""
    found = []
    for path in _pictures(folder):
        person, _, word = path.stem.partition("_")
        if word not in LONDON_LABELS:
            raise UserError(
                f"{path}: unknown class {word!r} in the file name, expected one of {', '.join(LONDON_LABELS)}"
            )
        picture, faces = _read_and_detect(path, detector)
        if faces:
            found.append(FacePicture(LONDON, path.name, f"{LONDON}:{person}", LONDON_LABELS[word], picture, faces[0]))
    return found


def read_photos(folder: Path, labels: Path, detector: YuNetFaceDetector) -> list[FacePicture]:
    """The pictures of ``folder``, the label of each from ``labels.csv``; every face of a picture is its own person.

    Raises:
        UserError: a file is missing, or the label file names an unknown class; says file, line and field.
    """
    table = read_labels(labels)
    found = []
    for path in _pictures(folder):
        label = table.get(f"{folder.name}/{path.name}")
        picture, faces = _read_and_detect(path, detector)
        for index, face in enumerate(faces[:1] if label else faces):
            name = f"{path.name}#{index}"
            found.append(FacePicture(PHOTOS if label else PEOPLE, name, f"{PHOTOS}:{name}", label, picture, face))
    return found


def read_people(folder: Path, detector: YuNetFaceDetector) -> list[FacePicture]:
    """Every face of unlabelled pictures."""
    found = []
    for path in _pictures(folder):
        picture, faces = _read_and_detect(path, detector)
        for index, face in enumerate(faces):
            found.append(
                FacePicture(PEOPLE, f"{path.name}#{index}", f"{PEOPLE}:{path.name}#{index}", None, picture, face)
            )
    return found


def read_video(path: Path, detector: YuNetFaceDetector, every: int = 1) -> Iterator[FacePicture]:
    """The largest face of each ``every``-th frame; ``name`` ends in the frame's number. Raises UserError."""
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise UserError(f"{path}: cannot be opened as a video")
    index = -1
    try:
        while True:
            ok, frame = capture.read()
            if not ok:
                return
            index += 1
            if index % every:
                continue
            faces = detector.detect(np.asarray(frame, dtype=np.uint8))
            if faces:
                face = max(faces, key=lambda f: f.box.area)
                picture = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
                yield FacePicture(VIDEO, f"{path.name}#{index}", f"{VIDEO}:{path.stem}", None, picture, face)
    finally:
        capture.release()


def read_labels(path: Path) -> dict[str, str]:
    """``file`` -> label of basic7 for the rows of a label file that have one.

    Raises:
        UserError: missing file, missing column or unknown class; says file, line, field, expected and got.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            for column in ("file", "label"):
                if column not in (reader.fieldnames or ()):
                    raise UserError(f"{path}: field {column!r} is missing from the header {reader.fieldnames}")
            rows = list(enumerate(reader, 2))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a label file: {error}") from None
    table = {}
    for line, row in rows:
        label = (row["label"] or "").strip()
        if label and label not in basic7().labels:
            raise UserError(
                f"{path}:{line}: field label: unknown class {label!r}, expected one of {', '.join(basic7().labels)}"
            )
        if label:
            table[row["file"]] = label
    return table


def folds(people: Sequence[str], count: int) -> dict[str, int]:
    """Person -> fold, so that each source is spread evenly and nobody is in two folds."""
    by_source: dict[str, list[str]] = {}
    for person in sorted(set(people)):
        by_source.setdefault(person.split(":")[0], []).append(person)
    return {person: index % count for members in by_source.values() for index, person in enumerate(members)}


def _find_small(picture: UInt8Array, detector: YuNetFaceDetector) -> Face:
    """The surest face of a small picture over several enlargements; else the usual place of a head."""
    best: Face | None = None
    for scale in CMU_SCALES:
        large = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        for face in detector.detect(np.asarray(cv2.cvtColor(large, cv2.COLOR_GRAY2BGR), dtype=np.uint8)):
            if best is None or face.score > best.score:
                best = scaled(face, 1 / scale)
        if best is not None and best.score > SURE:
            return best
    height, width = picture.shape
    return best or Face(Box(0.3 * width, 0.15 * height, 0.4 * width, 0.5 * height), 0.0)


def scaled(face: Face, factor: float, shift: float = 0.0) -> Face:
    """Box and landmarks times ``factor``, then moved by ``shift`` pixels in x and y."""
    box, x, y = face.box, face.box.x * factor + shift, face.box.y * factor + shift
    box = Box(x, y, box.width * factor, box.height * factor)
    points = None if face.landmarks is None else np.asarray(face.landmarks) * factor + shift
    return replace(face, box=box, landmarks=points)


def _pictures(folder: Path) -> list[Path]:
    found = pictures(folder, PICTURES) if folder.is_dir() else []
    if not found:
        raise UserError(
            f"{folder}: no {', '.join(PICTURES)} pictures; point --data at the folder that holds images/ and video/"
        )
    return found


def _read_and_detect(path: Path, detector: YuNetFaceDetector) -> tuple[UInt8Array, list[Face]]:
    picture = read_picture(path)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), dtype=np.uint8), detector.detect(picture)
