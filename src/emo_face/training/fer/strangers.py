"""Faces of strangers for the FER student's bank: FER+ with its votes, and a data set with a larger model's answers.

The second is the way from tier full to nano: the features that ``emo-face train multiview`` cached are read and its
head is asked, a second for EMOTIC; no encoder runs.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.geometry import iou
from emo_face.core.labels import basic7, label_set
from emo_face.core.types import BoolArray, Face, FloatArray, UInt8Array
from emo_face.datasets.faces.ferplus import faces_of, read_votes
from emo_face.datasets.records import Record, read_image, read_jsonl
from emo_face.perception.detect_face import YuNetFaceDetector
from emo_face.perception.multiview import fingerprint, head_file
from emo_face.runtime.files import write_arrays
from emo_face.runtime.progress import track
from emo_face.runtime.store import sha256_of
from emo_face.training.fer.bank import wide_crop

SAME = {"Happiness": "Happy", "Sadness": "Sad", "Aversion": "Disgust"}
"""Labels that are one of basic7 by another word; EMOTIC defines Aversion as "feeling disgust, dislike, repulsion"."""
SMALLEST = 24  # pixels; half of what the student sees
NAMED = 0.5  # least share of a distribution that must lie on labels of basic7
RECORDS = ("told.jsonl", "boxed.jsonl", "records.jsonl")
"""Of a recipe's folder, the fullest first."""


@dataclass(frozen=True)
class VotedFaces:
    """n faces: crops (n, 128, 128) and the share of the votes of each label (n, 7)."""

    wide: UInt8Array
    shares: FloatArray

    def only(self, chosen: BoolArray) -> VotedFaces:
        """The faces of the mask (n,)."""
        return VotedFaces(self.wide[chosen], self.shares[chosen])


def read_voted_faces(folder: Path, split: str, detector: YuNetFaceDetector, cache: Path) -> VotedFaces:
    """Read and cut one split, or take the result of an earlier run from ``cache``. Raises UserError."""
    rows, skipped = read_votes(folder, split)
    left_out = ", ".join(f"{n} {what}" for what, n in sorted(skipped.items())) or "nothing"
    print(f"{folder}, {split}: {len(rows)} pictures with votes; left out: {left_out}")
    file = cache / f"ferplus_{split}_{len(rows)}.npz"
    if file.is_file():
        return _kept(file)
    wide = [wide_crop(p.picture, p.face) for p in faces_of(track(rows, f"finding faces, {split}"), detector)]
    return _keep(file, VotedFaces(np.stack(wide), np.stack([row.shares for row in rows]).astype(np.float32)))


def _keep(file: Path, found: VotedFaces) -> VotedFaces:
    write_arrays(file, wide=found.wide, shares=found.shares)
    return found


def _kept(file: Path) -> VotedFaces:
    with np.load(file, allow_pickle=False) as saved:
        return VotedFaces(saved["wide"], saved["shares"])


@dataclass(frozen=True)
class Teacher:
    """A finished ``emo-face train multiview --recipe``: its ``run.out``, and the folder of its pictures."""

    folder: Path
    images: Path

    @property
    def model(self) -> Path:
        """The head's folder."""
        return self.folder / "model"

    @property
    def records(self) -> Path:
        """Raises UserError if there are none."""
        for name in RECORDS:
            if (self.folder / name).is_file():
                return self.folder / name
        raise UserError(
            f"--teacher {self.folder}: none of {', '.join(RECORDS)}; expected run.out of a finished "
            "emo-face train multiview --recipe"
        )


def taught_faces(teacher: Teacher, detector: YuNetFaceDetector, cache: Path) -> VotedFaces:
    """The faces of the training split with the teacher's answers as votes, or the result of an earlier run.

    Args:
        cache: folder for the crops; another model, records or features are cut anew.

    Raises:
        UserError: the folder is not a recipe's, or no face is of use.
        ModelError: the head is missing or damaged.
    """
    from emo_face.datasets.features import INDEX

    parts = (teacher.model / "head.json", teacher.records, teacher.folder / "features" / INDEX)
    for path in parts:
        if not path.is_file():
            raise UserError(f"--teacher {teacher.folder}: no {path.relative_to(teacher.folder)}; finish its recipe")
    key = hashlib.sha256("".join(map(sha256_of, parts)).encode()).hexdigest()[:16]
    file = cache / f"taught_{key}.npz"
    if file.is_file():
        return _kept(file)
    people, shares, left = asked(teacher)
    wide, kept = _crops(people, teacher.images, detector, left)
    said = ", ".join(f"{n} {what}" for what, n in sorted(left.items())) or "nobody"
    print(f"{teacher.folder}: {len(wide)} faces that the teacher says something of; left out: {said}")
    if not wide:
        raise UserError(f"--teacher {teacher.folder}: no face is of use; left out: {said}")
    return _keep(file, VotedFaces(np.stack(wide), shares[kept].astype(np.float32)))


def asked(teacher: Teacher) -> tuple[list[Record], FloatArray, Counter[str]]:
    """People of the training split with a face, (n, 7) what the teacher says of them, and who was left out for what."""
    from emo_face.datasets.features import FeatureCache
    from emo_face.datasets.labelled import predict

    head, card = head_file.load(teacher.model)
    cached = FeatureCache.reading(teacher.folder / "features")
    fingerprint.check(card.encoder, cached.meta().get("files", {}), teacher.folder)
    records = [record for record in read_jsonl(teacher.records) if record.split == "train"]
    people = [record for record in records if record.bbox_face is not None]
    left = Counter({"without a face": len(records) - len(people)})
    if not people:
        return [], np.zeros((0, len(basic7()))), +left
    shares, named = basic_shares(card.probabilities(predict(head, cached.load().of(people))[0]), card.fusion.label_set)
    left["of other emotions"] = int((~named).sum())
    return [person for person, use in zip(people, named, strict=True) if use], shares[named], +left


def basic_shares(probabilities: FloatArray, name: str) -> tuple[FloatArray, BoolArray]:
    """Answers of a label set as distributions over basic7, and of whom they say something.

    Of a set that allows several labels, Neutral is the chance that none of the six holds. Of a set with one label, what
    lies on other emotions is left out; a person of whom that leaves less than :data:`NAMED` counts as not told.

    Args:
        probabilities: (n, classes).

    Returns:
        (n, 7) and (n,).
    """
    own, wanted = label_set(name), basic7()
    out = np.zeros((len(probabilities), len(wanted)))
    for c, label in enumerate(own.labels):
        if SAME.get(label, label) in wanted.labels:
            out[:, wanted.index(SAME.get(label, label))] = probabilities[:, c]
    if own.multi:
        out[:, wanted.index("Neutral")] = np.prod(1 - out, axis=1)
        told = np.ones(len(out), bool)
    else:
        told = out.sum(1) >= NAMED
    return out / np.maximum(out.sum(1, keepdims=True), 1e-12), told


def _crops(
    people: Sequence[Record], images: Path, detector: YuNetFaceDetector, left: Counter[str]
) -> tuple[list[UInt8Array], list[int]]:
    """Crops, and whose they are; a picture is read once for all its people that follow each other."""
    wide, kept, name, grey, faces = [], [], "", None, []
    for i, person in enumerate(track(people, "cutting the teacher's faces")):
        if person.image != name:
            name, grey, faces = person.image, *_seen(images, person.image, detector)
        box = person.bbox_face
        assert box is not None
        if grey is None:
            left["without a picture"] += 1
        elif min(box.width, box.height) < SMALLEST:
            left["too small"] += 1
        else:
            best = max(faces, key=lambda face: iou(face.box, box), default=Face(box, 0.0))
            face = replace(best, box=box) if iou(best.box, box) >= NAMED else Face(box, 0.0)
            wide.append(wide_crop(grey, face))
            kept.append(i)
    return wide, kept


def _seen(images: Path, image: str, detector: YuNetFaceDetector) -> tuple[UInt8Array | None, list[Face]]:
    """The picture in grey and its faces; None if it cannot be read."""
    try:
        picture = read_image(images, image)
    except UserError:
        return None, []
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8), detector.detect(picture)
