"""Lip motion while the robot speaks, from visemes or from the loudness of its voice."""

from __future__ import annotations

import math

import numpy as np

from emo_face.core.types import Array
from emo_face.face.expressions.easing import relax
from emo_face.face.motion.data import MotionData, vector


class Lips:
    """Blend visemes or a speech envelope into mouth shapes.

    Args:
        data: shapes and time constants (``data/motion.yaml``).
    """

    def __init__(self, data: MotionData) -> None:
        self.data = data.lips
        self._visemes = {name: vector(shape) for name, shape in data.visemes.items()}
        self._open = vector(data.lips.envelope)
        used = self._open > 0
        for shape in self._visemes.values():
            used |= shape > 0
        self._mouth = used
        self._goal = np.zeros_like(self._open)
        self._now = np.zeros_like(self._open)
        self._until = -math.inf
        self._silent = True  # the lips are at rest and nothing moves them

    @property
    def visemes(self) -> tuple[str, ...]:
        """Known viseme names."""
        return tuple(self._visemes)

    def viseme(self, name: str, now: float, weight: float = 1.0, duration: float | None = None) -> bool:
        """Show viseme ``name`` at ``weight`` in [0, 1] for ``duration`` seconds. False if unknown or not finite."""
        hold = self.data.timeout_s if duration is None else duration
        if name not in self._visemes or not (math.isfinite(weight) and math.isfinite(hold)):
            return False
        self._goal = self._visemes[name] * min(1.0, max(0.0, weight))
        self._until = now + min(2.0, max(0.0, hold))
        return True

    def envelope(self, level: float, now: float) -> bool:
        """Open the mouth with the loudness ``level`` in [0, 1] of the voice. False if not finite."""
        if not math.isfinite(level):
            return False
        self._goal = self._open * min(1.0, max(0.0, level))
        self._until = now + self.data.timeout_s
        return True

    def update(self, face: Array, now: float, dt: float) -> bool:
        """Blend the mouth of ``face`` (52,) in place; true while the robot speaks.

        Speech takes over the mouth channels in proportion to how much it moves them, and leaves the rest of the
        expression (the corners of a smile, the brows) alone.
        """
        if not now < self._until <= now + 2.0 + self.data.timeout_s:
            self._until = -math.inf
            if self._silent:
                return False
            self._goal = np.zeros_like(self._goal)
        self._silent = False
        share = np.where(self._goal > self._now, relax(dt, self.data.attack_s), relax(dt, self.data.release_s))
        self._now += share * (self._goal - self._now)
        speaking = self._until > now
        if self._now.max() <= 1e-4:
            self._silent = not speaking
        else:
            mouth = np.maximum(face, self._now) + 0.25 * np.minimum(face, self._now)
            np.copyto(face, np.minimum(mouth, 1.0), where=self._mouth & (self._now > 0))
        return speaking
