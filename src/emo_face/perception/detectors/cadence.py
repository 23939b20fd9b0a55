"""When to look for bodies: if something moved or a person is in doubt; in between they are carried on by their faces.

Bodies cost two thirds of a frame's processor time and change little from frame to frame; faces are cheap and are sought
in every frame, since emotions are read from them. What moves is told by comparing a small grey picture with that of the
last look at bodies, so that what moves slowly adds up.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from emo_face.core.geometry import iou
from emo_face.core.types import Box, Detection, Face, ImageArray

Closer = Callable[[list[Detection]], list[Detection]]

LONGEST = 1.0
"""Seconds without a look at bodies."""
WIDE = 96
"""Width of the small picture, pixels: a cell of a 640-pixel frame is 7 wide, so a sensor's noise averages out."""
CHANGED = 12
"""Grey levels by which a cell must differ to have changed."""
MOVED = 0.004
"""Share of all cells that must have changed, outside of who is followed by the face."""
SAME_FACE = 0.3
"""Overlap with the face of the last frame above which it is the same one."""
FACE_MOVED, FACE_GREW = 0.5, 0.2
"""In widths of the face and as a share of it, since the last look: beyond that the body is no longer known."""
AROUND = 0.15
"""Share of a body's box that belongs to the person on every side of it: arms, hair."""


@dataclass(frozen=True, slots=True)
class _Followed:
    """One person. ``looked``: as of the last look at bodies; ``now``: as of the last frame."""

    looked: Detection
    now: Detection


class AdaptiveCadence:
    """Follows the people of the last look. Per frame: :meth:`due`, then :meth:`carry` or :meth:`looked`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everybody: the next frame is looked at."""
        self._followed: tuple[_Followed, ...] = ()
        self._small: NDArray[np.int16] | None = None
        self._at = -math.inf
        self._settled = False

    def due(self, frame: ImageArray, now: float) -> bool:
        """Whether bodies must be looked for before anything else is known of ``frame``; ``now`` in seconds."""
        if self._small is None or not self._settled or not 0 <= now - self._at < LONGEST:
            return True
        small = _small(frame)
        if small.shape != self._small.shape:
            return True
        changed = np.abs(small - self._small) > CHANGED
        scale = small.shape[1] / frame.shape[1]
        for person in self._followed:
            if person.now.face is not None:  # the face tells where this one is
                changed[_cells(_around(person), scale)] = False
        return bool(np.count_nonzero(changed) > MOVED * changed.size)

    def carry(self, faces: Sequence[Face], closer: Closer) -> list[Detection] | None:
        """The people of the last frame where ``faces`` say that they are now.

        Args:
            closer: takes people, some without a face, and returns them in the same order with the faces that a closer
                look finds; called for those whose face is not among ``faces``.

        Returns:
            One detection per person of the last look; None if somebody is in doubt: a face came, went, moved far or
            grew, so that bodies must be looked for.
        """
        left = list(faces)
        known = [_take_same(person.now.face, left) for person in self._followed]
        if left:
            return None
        lost = [
            face is None and person.now.face is not None for face, person in zip(known, self._followed, strict=True)
        ]
        if any(lost):
            again = closer([replace(p.now, face=face) for p, face in zip(self._followed, known, strict=True)])
            known = [person.face for person in again]
            if any(gone and face is None for gone, face in zip(lost, known, strict=True)):
                return None
        people = []
        for person, face in zip(self._followed, known, strict=True):
            moved = _moved(person.looked, face)
            if moved is None:
                return None
            people.append(moved)
        self._followed = tuple(_Followed(p.looked, now) for p, now in zip(self._followed, people, strict=True))
        return people

    def looked(self, frame: ImageArray, people: Sequence[Detection], now: float) -> None:
        """Take in what a look at bodies and faces has found; until two looks agree every frame is looked at."""
        self._settled = len(people) == len(self._followed) and all(
            any(iou(_box(one), _box(person.now)) > SAME_FACE for person in self._followed) for one in people
        )
        self._followed = tuple(_Followed(one, one) for one in people)
        self._small, self._at = _small(frame), now


def _take_same(before: Face | None, faces: list[Face]) -> Face | None:
    """Take the face that overlaps most with ``before`` out of ``faces``; None if none is the same."""
    if before is None or not faces:
        return None
    best = max(range(len(faces)), key=lambda k: iou(faces[k].box, before.box))
    return faces.pop(best) if iou(faces[best].box, before.box) >= SAME_FACE else None


def _moved(looked: Detection, face: Face | None) -> Detection | None:
    """A person as of the last look, moved as far as their face; None if that is too far to know the body."""
    before = looked.face
    if face is None or before is None:
        return looked
    dx, dy = (new - old for new, old in zip(face.box.center, before.box.center, strict=True))
    size = max(before.box.width, 1e-9)
    if math.hypot(dx, dy) > FACE_MOVED * size or abs(face.box.width / size - 1) > FACE_GREW:
        return None
    body = looked.body
    if body is not None:
        body = Box(body.x + dx, body.y + dy, body.width, body.height)
    return Detection(looked.score, body, face)


def _box(person: Detection) -> Box:
    box = person.body or (person.face.box if person.face is not None else None)
    assert box is not None
    return box


def _around(person: _Followed) -> Box:
    """Where a person may have caused a change since the last look: then, and now."""
    boxes = [_box(person.looked), _box(person.now)]
    left, top = min(box.x for box in boxes), min(box.y for box in boxes)
    right, bottom = max(box.right for box in boxes), max(box.bottom for box in boxes)
    across, down = AROUND * (right - left), AROUND * (bottom - top)
    return Box(left - across, top - down, right - left + 2 * across, bottom - top + 2 * down)


def _cells(box: Box, scale: float) -> tuple[slice, slice]:
    rows = slice(max(0, math.floor(box.y * scale)), max(0, math.ceil(box.bottom * scale)))
    return rows, slice(max(0, math.floor(box.x * scale)), max(0, math.ceil(box.right * scale)))


def _small(frame: ImageArray) -> NDArray[np.int16]:
    """(h, WIDE) grey, its own mean taken out: a camera that adjusts its exposure is no motion."""
    height = max(1, round(WIDE * frame.shape[0] / frame.shape[1]))
    grey = cv2.cvtColor(cv2.resize(frame, (WIDE, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    return np.asarray(grey.astype(np.int16) - round(float(np.median(grey))), np.int16)
