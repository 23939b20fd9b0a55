"""Whether the camera is upright: now and then the largest face is read in four orientations.

A face detector finds faces that lie on their side, but with landmarks where they would be upright, so nothing else
notices a camera that is mounted sideways. It is surest of a face that stands up: 0.95 against 0.6 to 0.9 on portraits.
"""

from collections import deque
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from emo_face.core.geometry import clip
from emo_face.core.types import Box, Face, ImageArray, Person

PERIOD = 1.0
"""Seconds between two looks."""
VOTES, NEEDED = 8, 6
MARGIN = 0.04
"""How much surer the detector must be of the turned face."""
AROUND, SIDE = 2.0, 160
"""Window over the face's longer side, and its side in pixels when it is looked at."""
LEAST_FACE = 24.0
"""Pixels; a smaller face says nothing."""


class Upright:
    """Votes on how far the picture is turned. ``detect`` is the face detector's."""

    def __init__(self, detect: Callable[[ImageArray], Sequence[Face]]) -> None:
        self._detect = detect
        self._votes: deque[int] = deque(maxlen=VOTES)
        self._due = -np.inf

    def reset(self) -> None:
        """Forget all votes."""
        self._votes.clear()
        self._due = -np.inf

    def update(self, frame: ImageArray, people: Sequence[Person], now: float) -> None:
        """Look at the largest face, at most once in :data:`PERIOD` seconds."""
        faces = [person.face for person in people if person.face is not None and person.face.box.height >= LEAST_FACE]
        faces = [face for face in faces if face.landmarks is not None]  # a cascade's score is a constant: no vote
        if now < self._due or not faces:
            return
        self._due = now + PERIOD
        window = _window(frame, max(faces, key=lambda face: face.box.height).box)
        scores = [max((face.score for face in self._detect(_turned(window, k))), default=0.0) for k in range(4)]
        best = int(np.argmax(scores))
        self._votes.append(best if scores[best] >= scores[0] + MARGIN else 0)

    @property
    def turn(self) -> int:
        """Degrees clockwise by which the picture must be turned to stand upright: 0, 90, 180 or 270."""
        counts = np.bincount(list(self._votes), minlength=4) if self._votes else np.zeros(4)
        best = int(np.argmax(counts))
        return 90 * best if counts[best] >= NEEDED else 0

    @property
    def warning(self) -> str:
        """What is wrong and the fix; empty if the picture stands upright."""
        return f"faces lie {_HOW[self.turn]}: turn the camera, or set rotation to {self.turn}" if self.turn else ""


_HOW = {0: "", 90: "on their side", 180: "upside down", 270: "on their side"}


def turned(frame: ImageArray, degrees: int) -> ImageArray:
    """The picture turned clockwise by 0, 90, 180 or 270 degrees."""
    return _turned(frame, degrees // 90)


def _turned(frame: ImageArray, quarters: int) -> ImageArray:
    return frame if quarters % 4 == 0 else np.ascontiguousarray(np.rot90(frame, -quarters))


def _window(frame: ImageArray, box: Box) -> ImageArray:
    side = AROUND * max(box.width, box.height)
    x, y = box.x + box.width / 2 - side / 2, box.y + box.height / 2 - side / 2
    inside = clip(Box(x, y, side, side), frame.shape[1], frame.shape[0])
    part = frame[
        int(inside.y) : max(int(inside.y + inside.height), int(inside.y) + 1),
        int(inside.x) : max(int(inside.x + inside.width), int(inside.x) + 1),
    ]
    scale = SIDE / max(part.shape[:2])
    return np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)
