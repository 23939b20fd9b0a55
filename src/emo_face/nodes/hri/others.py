"""Perception of faces that somebody else detects: their crops are read, people keep the others' ids."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from emo_face.core.types import Box, Emotion, Face, ImageArray, Person, Speech
from emo_face.nodes.hri.consumer import OthersFaces, SeenFace
from emo_face.perception.pipeline import PerceptionPipeline
from emo_face.ros.images.convert import to_bgr

Hear = Callable[[list[Person]], Mapping[str, Speech]]


@dataclass(frozen=True)
class Read:
    """What is known of everybody after some crops. ``header``: of the newest; ``size``: of the camera, or 0."""

    people: list[Person]
    emotions: list[Emotion]
    header: Any
    size: tuple[int, int]


class OthersReader:
    """Keeps the newest crop of each face until the worker reads it.

    Args:
        wake: called on the executor when there is something to read.
    """

    def __init__(self, node: Any, wake: Callable[[], None]) -> None:
        self._wake = wake
        self.faces = OthersFaces(node, self._store)
        self._crops: dict[str, SeenFace] = {}
        self._known: dict[str, tuple[Person, Emotion]] = {}

    def _store(self, seen: SeenFace) -> None:
        self._crops[seen.face_id] = seen
        self._wake()

    def take(self) -> list[SeenFace]:
        """The crops that came since, oldest first; from the worker thread."""
        taken = [self._crops.pop(face_id) for face_id in list(self._crops)]
        return sorted(taken, key=lambda seen: (seen.crop.header.stamp.sec, seen.crop.header.stamp.nanosec))

    def read(self, seen: list[SeenFace], pipeline: PerceptionPipeline, hear: Hear, stamp: float) -> Read:
        """Read crops of one moment, ``stamp`` seconds; who is not among them keeps what was read before.

        Raises:
            ImageError: a crop is no picture.
        """
        present = set(self.faces.present)
        self._known = {face_id: known for face_id, known in self._known.items() if face_id in present}
        everybody = [known[0] for face_id, known in self._known.items()]
        for one in seen:
            frame = to_bgr(one.crop)
            person = Person(one.face_id, 1.0, face=Face(content(frame), 1.0))
            raw = pipeline.emotion.estimate(frame, [person], hear([person, *everybody]), stamp)
            emotion = pipeline.smoother.update([one.face_id], raw, stamp)[0]
            placed = Person(one.face_id, 1.0, face=Face(one.box, 1.0) if one.box is not None else None)
            self._known[one.face_id] = placed, emotion
        rows = [self._known[face_id] for face_id in sorted(self._known)]
        return Read([p for p, _ in rows], [e for _, e in rows], seen[-1].crop.header, self.faces.size)

    def clear(self) -> None:
        """Forget everybody; on the executor."""
        self._crops.clear()
        self._known = {}
        self.faces.clear()


def content(frame: ImageArray) -> Box:
    """The box of what is not black around: crops come in the middle of a black square."""
    lit = frame.max(axis=2) > 0
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if not rows.size:
        return Box(0, 0, frame.shape[1], frame.shape[0])
    left, top = int(columns[0]), int(rows[0])
    return Box(left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)
