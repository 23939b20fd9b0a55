"""Face targets without a face tool and without a FLAME licence: by FACS prototypes, or by MediaPipe's blendshapes."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from emo_face.core.arkit import ARKIT_52
from emo_face.core.errors import UserError
from emo_face.core.geometry import has_center, iou
from emo_face.core.types import Face, FloatArray, ImageArray
from emo_face.datasets.contexts.face_targets import FaceTargets, Imported
from emo_face.datasets.contexts.tasks import LISTENER
from emo_face.datasets.records import Record
from emo_face.expression.words import strength_of
from emo_face.face.expressions.basis import find_basis
from emo_face.face.expressions.facs import Facs
from emo_face.face.motion.keyframes import ARKIT_BASIS
from emo_face.perception.nano.blendshapes import FaceReader
from emo_face.runtime.stills import readable

SAME = 0.3
"""Overlap from which a found face is the labelled one: detectors cut faces differently."""


class FaceDetector(Protocol):
    """Finds faces with their landmarks."""

    def detect(self, frame: ImageArray) -> list[Face]: ...


def by_prototypes(records: Sequence[Record], basis: str, facs: Facs) -> Imported:
    """The prototype of each record's emotion, and of its listener's reaction, as strong as the words are.

    Raises:
        UserError: no record has exactly one label. ModelError: the basis is not on this machine. ConfigError: a label
            has no prototype.
    """
    rows: list[tuple[str, FloatArray]] = []
    left_out: dict[str, list[str]] = {}
    for record in records:
        if len(record.labels) != 1:
            left_out.setdefault("not one label", []).append(record.id)
            continue
        strength = strength_of(f"{record.quote} {record.situation}", 0.0)
        rows.append((record.id, facs.arkit(facs.mixture_of_label(record.labels[0]), strength)))
        if record.reaction:
            heard = strength_of(record.quote, 0.0)
            rows.append((record.id + LISTENER, facs.arkit(facs.mixture_of_label(record.reaction), heard)))
    return Imported(of_arkit(rows, basis, "FACS prototypes"), left_out)


def by_blendshapes(
    records: Iterable[Record],
    root: Path,
    reader: FaceReader,
    detector: FaceDetector,
    basis: str,
) -> Imported:
    """What MediaPipe measures on the labelled person's face, not on the first one.

    Raises:
        UserError: no face could be measured; says why. ModelError: the basis is not on this machine.
    """
    rows: list[tuple[str, FloatArray]] = []
    left_out: dict[str, list[str]] = {}
    for record in records:
        values, reason = _measured(record, root, reader, detector)
        if values is None:
            left_out.setdefault(reason, []).append(record.id)
        else:
            rows.append((record.id, values))
    return Imported(of_arkit(rows, basis, "MediaPipe blendshapes", left_out), left_out)


def of_arkit(
    rows: Sequence[tuple[str, FloatArray]], basis: str, source: str, left_out: dict[str, list[str]] | None = None
) -> FaceTargets:
    """Targets of ids with their (52,) ARKit activations, in a basis. Raises UserError for none, ModelError as above."""
    if not rows:
        reasons = "; ".join(f"{len(ids)} x {reason}" for reason, ids in (left_out or {}).items())
        raise UserError(f"targets: no face for any record: {reasons or 'there are no records'}")
    ids, faces = tuple(name for name, _ in rows), [values for _, values in rows]
    if basis == ARKIT_BASIS:
        nothing = np.full((len(rows), 5), np.nan, np.float32)
        activations = np.stack(faces).astype(np.float32)
        return FaceTargets(basis, source, ids, activations, nothing[:, :3], nothing[:, 3:], len(ARKIT_52))
    solver = find_basis(basis.removesuffix("_open"))
    codes = [solver.encode(face) for face in faces]
    parts = (np.stack([getattr(code, part) for code in codes]) for part in ("coefficients", "jaw_pose", "eyelids"))
    expression, jaw, lids = (np.asarray(part, np.float32) for part in parts)
    return FaceTargets(basis, source, ids, expression, jaw, lids, solver.rank)


def labelled_face(record: Record, faces: Sequence[Face]) -> Face | None:
    """The labelled person's face: the one that overlaps their face box most, else the largest in their body box.

    None if none does; with no box at all the only face of the picture.
    """
    if record.bbox_face is not None:
        box = record.bbox_face
        best = max(faces, key=lambda face: iou(face.box, box), default=None)
        return best if best is not None and iou(best.box, box) >= SAME else None
    if record.bbox_body is not None:
        body = record.bbox_body
        return max((f for f in faces if has_center(body, f.box)), key=lambda face: face.box.area, default=None)
    return faces[0] if len(faces) == 1 else None


def _measured(record: Record, root: Path, reader: FaceReader, detector: FaceDetector) -> tuple[FloatArray | None, str]:
    """(52,) activations of the labelled face, or why there are none."""
    frame = readable(root / record.image) if record.image else None
    if frame is None:
        return None, "picture is missing or does not decode"
    face = labelled_face(record, detector.detect(frame))
    if face is None:
        return None, "the labelled person's face was not found"
    (values,) = reader.read(frame, [face])
    return values, "" if values is not None else "blendshapes were not measured"
