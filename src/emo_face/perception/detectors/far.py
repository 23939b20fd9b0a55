"""Faces that the first look is too coarse for, if no person detector says where to look for them.

The first look shrinks the whole frame. One window of the frame after the other is looked at as it is, a few each
second; who is found there is followed by a closer look at the same place (:mod:`emo_face.perception.closer`).
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from emo_face.core.geometry import clip, crop, has_center
from emo_face.core.types import Box, Detection, Face, ImageArray
from emo_face.perception.associate import body_from_face
from emo_face.perception.closer import TILES, WORTH_IT, look_closer
from emo_face.perception.detect_face import FaceDetector

PERIOD = 0.1
"""Seconds between two windows: a frame of 640 x 480 is searched in 0.6 s, at a twentieth of a core."""
MOST = 2 * TILES
"""People who are followed, in two looks per frame; the search waits while there are so many."""
OVERLAP = 48
"""Pixels that neighbouring windows share: a face up to this size is whole in one of them, larger ones are seen at
once."""


class FarFaces:
    """Adds the small faces of a camera's frames to what the first look found."""

    def __init__(self, detector: FaceDetector, size: int = 320) -> None:
        """``size``: longer side of the frame in the first look, and side of the windows, pixels."""
        self._detector, self._size = detector, size
        self.reset()

    def reset(self) -> None:
        """Forget everybody."""
        self._known: list[Detection] = []
        self._next, self._due = 0, -math.inf

    def look(self, frame: ImageArray, people: Sequence[Detection], now: float) -> list[Detection]:
        """``people`` of the first look, then those that only a window shows."""
        windows = self.windows(frame)
        if not windows:
            return list(people)
        lost = [replace(p, face=None) for p in self._known if p.face is not None and not _among(p.face, people)]
        known: list[Detection] = []
        for start in range(0, len(lost), TILES):
            again = look_closer(frame, lost[start : start + TILES], self._detector, self._size)
            known += [_person(p.face, frame) for p in again if p.face is not None]
        if now >= self._due and len(known) < MOST:
            self._due = now + PERIOD
            self._next = (self._next + 1) % len(windows)
            known += self.search(frame, windows[self._next], [*people, *known])
        self._known = known[:MOST]
        return [*people, *self._known]

    def everywhere(self, frame: ImageArray, people: Sequence[Detection]) -> list[Detection]:
        """As :meth:`look` for a single picture: all windows at once."""
        found = list(people)
        for window in self.windows(frame):
            found += self.search(frame, window, found)
        return found

    def windows(self, frame: ImageArray) -> list[Box]:
        """Windows that cover the frame; none if the first look sees as much."""
        height, width = frame.shape[:2]
        if max(height, width) < WORTH_IT * self._size:
            return []
        across, down = (_starts(side, self._size) for side in (width, height))
        return [clip(Box(x, y, self._size, self._size), width, height) for y in down for x in across]

    def search(self, frame: ImageArray, window: Box, people: Sequence[Detection]) -> list[Detection]:
        """Faces in one window that nobody in ``people`` has."""
        found: list[Detection] = []
        for face in self._detector.detect(crop(frame, window, pad=False)):
            box = replace(face.box, x=face.box.x + window.x, y=face.box.y + window.y)
            marks = None if face.landmarks is None else face.landmarks + np.array([window.x, window.y])
            whole = Face(box, face.score, marks)
            if max(box.width, box.height) <= OVERLAP and not _among(whole, [*people, *found]):
                found.append(_person(whole, frame))
        return found


def _person(face: Face, frame: ImageArray) -> Detection:
    return Detection(face.score, clip(body_from_face(face.box), frame.shape[1], frame.shape[0]), face)


def _starts(side: int, size: int) -> list[float]:
    """Corners of windows of ``size`` that cover ``side`` and overlap by at least :data:`OVERLAP`."""
    count = max(1, math.ceil((side - OVERLAP) / (size - OVERLAP)))
    return [round(i * max(side - size, 0) / max(count - 1, 1)) for i in range(count)]


def _among(face: Face, people: Sequence[Detection]) -> bool:
    """Whether somebody has this face: its middle lies in theirs, or theirs in it."""
    boxes = [p.face.box for p in people if p.face is not None]
    return any(has_center(box, face.box) or has_center(face.box, box) for box in boxes)
