"""Breathing: a slow cycle on a few channels."""

import numpy as np

from emo_face.core.types import Array
from emo_face.face.expressions.easing import minimum_jerk
from emo_face.face.motion.data import BreathingData, vector


class Breathing:
    """Add a breathing cycle; its rate follows arousal, its phase starts at random.

    Args:
        data: rate and channels (``data/motion.yaml``).
        rng: seeded generator.
    """

    def __init__(self, data: BreathingData, rng: np.random.Generator) -> None:
        self.data = data
        self._shape = vector(data.channels)
        self._phase = float(rng.random())

    def update(self, dt: float, arousal: float) -> Array:
        """(52,) values to add, after ``dt`` seconds more at ``arousal`` in [-1, 1]."""
        rate = self.data.rate_per_min / 60.0 * (1.0 + self.data.arousal_gain * arousal)
        self._phase = (self._phase + rate * max(0.0, dt)) % 1.0
        inhale = self.data.inhale_share
        if self._phase < inhale:
            depth = minimum_jerk(self._phase / inhale)
        else:
            depth = 1.0 - minimum_jerk((self._phase - inhale) / (1.0 - inhale))
        return depth * self._shape
