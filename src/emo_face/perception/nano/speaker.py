"""Who speaks: whose mouth moves, if nobody says who it was.

Each face is brought to one place and size by its landmarks; what then still changes around the mouth, and not around
the eyes, is talk (a visual voice activity detection by pixel differences, as Siatras et al., "Visual lip activity
detection and speaker detection using mouth region intensities", IEEE TCSVT 19, 2009). The head's own motion and the
camera's noise move both regions alike and cancel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import ImageArray, Person
from emo_face.perception.nano.facecrop import cut, grey, usable

MEMORY = 1.5
"""Seconds over which motion is remembered: the final text comes after the mouth has come to rest."""
LONGEST_GAP = 0.5
"""Seconds between two pictures beyond which they say nothing about motion."""
MOVING = 0.045
"""Motion of the mouth, in contrasts of the face, from which somebody may be speaking."""
CLEAR = 2.0
"""How many times more the speaker's mouth must have moved than the next one's."""
_MOUTH = (slice(31, 46), slice(12, 36))
_EYES = (slice(6, 22), slice(8, 40))
"""Rows and columns of the 48-pixel crop."""


@dataclass(slots=True)
class _Face:
    crop: NDArray[np.float32]
    seen: float
    motion: float = 0.0


class MouthMotion:
    """Remembers how much each person's mouth has moved lately."""

    def __init__(self) -> None:
        self._faces: dict[str, _Face] = {}

    def reset(self) -> None:
        """Forget everybody."""
        self._faces.clear()

    def update(self, frame: ImageArray, people: Sequence[Person], now: float) -> None:
        """Take in a frame; ``now`` in seconds. People without a usable face keep what they had until it fades."""
        picture = grey(frame) if any(person.face is not None for person in people) else None
        for person in people:
            if picture is None or person.face is None or not usable(person.face):
                continue
            crop = cut(picture, person.face).astype(np.float32)
            old = self._faces.get(person.person_id)
            gap = now - old.seen if old is not None else math.inf
            if old is None or not 0 < gap <= LONGEST_GAP:
                self._faces[person.person_id] = _Face(crop, now, self.of(person.person_id, now) if gap > 0 else 0.0)
                continue
            moved = _difference(old.crop, crop, _MOUTH) - _difference(old.crop, crop, _EYES)
            keep = math.exp(-gap / MEMORY)
            contrast = max(float(crop.std()), 8.0)
            old.motion = keep * old.motion + (1 - keep) * max(moved, 0.0) / contrast
            old.crop, old.seen = crop, now
        self._faces = {k: f for k, f in self._faces.items() if 0 <= now - f.seen <= 3 * MEMORY}

    def of(self, person_id: str, now: float) -> float:
        """Motion of a person's mouth lately, in contrasts of the face; 0 if nothing is known."""
        face = self._faces.get(person_id)
        return 0.0 if face is None else face.motion * math.exp(-max(now - face.seen, 0.0) / MEMORY)

    def speaker(self, ids: Sequence[str], now: float) -> str:
        """The one whose mouth clearly moves more than everybody else's; "" if that is nobody or not clear."""
        ranked = sorted(((self.of(person_id, now), person_id) for person_id in ids), reverse=True)
        if not ranked or ranked[0][0] < MOVING:
            return ""
        return ranked[0][1] if len(ranked) == 1 or ranked[0][0] >= CLEAR * ranked[1][0] else ""


def _difference(a: NDArray[np.float32], b: NDArray[np.float32], region: tuple[slice, slice]) -> float:
    """Mean absolute difference of a region, its own change of brightness taken out."""
    change = b[region] - a[region]
    return float(np.abs(change - np.median(change)).mean())
