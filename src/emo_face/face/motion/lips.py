"""Lip motion while the robot speaks, from timed visemes, single ones, or the loudness of its voice."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.types import Array
from emo_face.face.expressions.easing import relax
from emo_face.face.motion.data import MotionData, vector

_OPENING = [
    ARKIT_INDEX[name]
    for name in ("jawOpen", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight")
]
LONGEST_HOLD = 2.0
"""Seconds that a single viseme is held at most."""


@dataclass(frozen=True, slots=True)
class VisemeTrack:
    """Visemes of something that is said.

    Attributes:
        start: seconds, when the sound begins. offsets: seconds after it, rising; each lasts until the next.
        weights: in [0, 1]. duration: seconds of the whole.
    """

    start: float
    names: tuple[str, ...]
    offsets: tuple[float, ...]
    weights: tuple[float, ...]
    duration: float

    @property
    def end(self) -> float:
        """Seconds when the last one ends."""
        return self.start + self.duration

    def at(self, now: float) -> tuple[str, float] | None:
        """(name, weight) at ``now`` seconds, or None before the first and after the end."""
        index = bisect_right(self.offsets, now - self.start) - 1
        if index < 0 or now >= self.end:
            return None
        return self.names[index], self.weights[index]


def track_of(
    start: float, names: Sequence[str], offsets: Sequence[float], weights: Sequence[float], duration: float
) -> VisemeTrack:
    """A track, checked; empty ``weights`` are all 1.

    Raises:
        ValueError: lengths differ, offsets fall, or a number is out of range; names the field.
    """
    weights = weights if len(weights) else [1.0] * len(names)
    if not len(names) == len(offsets) == len(weights):
        raise ValueError(f"names, offsets, weights: expected one length, got {len(names), len(offsets), len(weights)}")
    if not (math.isfinite(start) and 0 <= duration < math.inf):
        raise ValueError(f"duration: expected a number of seconds from 0, got {duration}")
    if not all(math.isfinite(o) and o >= 0 for o in offsets) or list(offsets) != sorted(offsets):
        raise ValueError("offsets: expected rising numbers of seconds from 0")
    if not all(0 <= w <= 1 for w in weights):
        raise ValueError("weights: expected numbers from 0 to 1")
    return VisemeTrack(start, tuple(names), tuple(map(float, offsets)), tuple(map(float, weights)), float(duration))


class Lips:
    """Blend visemes or a speech envelope into mouth shapes.

    Args:
        data: shapes and time constants (``data/motion.yaml``).
        lead: seconds by which a track is shown before its sound: the lag of the output behind it.
        hold: seconds by which lips that must meet stay together longer, for an output that is slow to close.
    """

    def __init__(self, data: MotionData, lead: float = 0.0, hold: float = 0.0) -> None:
        self.data, self.lead, self.hold = data.lips, lead, hold
        self._visemes = {name: vector(shape) for name, shape in data.visemes.items()}
        self._open = vector(data.lips.envelope)
        used = self._open > 0
        for shape in self._visemes.values():
            used |= shape > 0
        self.mouth = used
        self._goal = np.zeros_like(self._open)
        self._now = np.zeros_like(self._open)
        self._closed = 0.0  # how far the lips are held together, whatever the expression does
        self._closing = False
        self._until = -math.inf
        self._track: VisemeTrack | None = None
        self._silent = True  # the lips are at rest and nothing moves them

    @property
    def visemes(self) -> tuple[str, ...]:
        """Known viseme names."""
        return tuple(self._visemes)

    @property
    def silent(self) -> bool:
        """Whether the mouth belongs to the expression alone."""
        return self._silent and self._track is None

    def viseme(self, name: str, now: float, weight: float = 1.0, duration: float | None = None) -> bool:
        """Show viseme ``name`` at ``weight`` in [0, 1] for ``duration`` seconds. False if unknown or not finite."""
        hold = self.data.timeout_s if duration is None else duration
        if name not in self._visemes or not (math.isfinite(weight) and math.isfinite(hold)):
            return False
        self._track = None
        self._aim(name, weight)
        self._until = now + min(LONGEST_HOLD, max(0.0, hold))
        return True

    def say(self, track: VisemeTrack) -> bool:
        """Show a track in time with its sound, in place of what is left of another. False for an unknown name."""
        if not set(track.names) <= self._visemes.keys():
            return False
        self._track = track if track.names else None
        if self._track is None:
            self._until = -math.inf
        return True

    def envelope(self, level: float, now: float) -> bool:
        """Open the mouth with the loudness ``level`` in [0, 1] of the voice. False if not finite.

        While a track is shown its loudness is not needed, and not used.
        """
        if not math.isfinite(level):
            return False
        if self._track is None:
            self._goal, self._closing = self._open * min(1.0, max(0.0, level)), False
            self._until = now + self.data.timeout_s
        return True

    def _aim(self, name: str, weight: float) -> None:
        self._goal = self._visemes[name] * min(1.0, max(0.0, weight))
        self._closing = name in self.data.closing and weight > 0

    def _follow(self, now: float) -> None:
        track = self._track
        if track is None:
            return
        if now + self.lead >= track.end:
            self._track = None
        elif (said := track.at(now + self.lead)) is not None:
            held = track.at(now + self.lead - self.hold)
            self._aim(*(held if held is not None and held[0] in self.data.closing else said))
            self._until = math.nextafter(now, math.inf)  # this tick; the next aims again

    def update(self, face: Array, now: float, dt: float) -> bool:
        """Blend the mouth of ``face`` (52,) in place; true while the robot speaks.

        Speech takes over the mouth channels in proportion to how much it moves them, and leaves the rest of the
        expression (the corners of a smile, the brows) alone. Lips that must meet do so whatever the expression.
        """
        self._follow(now)
        if not now < self._until <= now + LONGEST_HOLD + self.data.timeout_s:
            self._until = -math.inf
            if self._silent:
                return False
            self._goal, self._closing = np.zeros_like(self._goal), False
        self._silent = False
        release = self.data.closing_s if self._closing else self.data.release_s
        share = np.where(self._goal > self._now, relax(dt, self.data.attack_s), relax(dt, release))
        self._now += share * (self._goal - self._now)
        pace = self.data.closing_s if self._closing else self.data.attack_s
        self._closed += relax(dt, pace) * (float(self._closing) - self._closed)
        speaking = self._until > now
        if max(self._now.max(), self._closed) <= 1e-4:
            self._silent, self._closed = not speaking, 0.0
        else:
            face[_OPENING] *= 1.0 - self._closed
            mouth = np.maximum(face, self._now) + 0.25 * np.minimum(face, self._now)
            np.copyto(face, np.minimum(mouth, 1.0), where=self.mouth & (self._now > 0))
        return speaking
