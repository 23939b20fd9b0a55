"""Blinks with human statistics."""

import math

import numpy as np

from emo_face.face.expressions.easing import minimum_jerk
from emo_face.face.motion.data import BlinkData


class Blinks:
    """Decide when the lids close and how far they are closed.

    Intervals are log-normal around the mean rate, which arousal and speaking raise; large gaze shifts bring blinks.
    A blink never starts while the expression keeps the lids closed.

    Args:
        data: statistics (``data/motion.yaml``).
        rng: seeded generator.
    """

    def __init__(self, data: BlinkData, rng: np.random.Generator) -> None:
        self.data, self._rng = data, rng
        self.count = 0
        self._start = -math.inf
        self._next: float | None = None
        self._rate = data.rate_per_min

    @property
    def duration(self) -> float:
        """Seconds that one blink takes."""
        return self.data.closing_s + self.data.closed_s + self.data.opening_s

    def mean_rate(self, arousal: float, speaking: bool) -> float:
        """Expected blinks a minute at ``arousal`` in [-1, 1]."""
        base = self.data.speaking_rate_per_min if speaking else self.data.rate_per_min
        return base * (1.0 + self.data.arousal_gain * arousal)

    def on_gaze_shift(self, degrees: float, now: float) -> None:
        """Perhaps blink with a gaze shift of ``degrees``; the larger, the likelier."""
        d = self.data
        share = (degrees - d.gaze_shift_min_deg) / max(1e-9, d.gaze_shift_sure_deg - d.gaze_shift_min_deg)
        if share > 0 and self._rng.random() < d.gaze_shift_most * min(1.0, share):
            self._next = now

    def closure(self, now: float, lids: float, arousal: float = 0.0, speaking: bool = False) -> float:
        """How far the blink closes the lids now, 0 open to 1 closed.

        Args:
            now: seconds.
            lids: how far the expression itself closes the lids, 0..1.
            arousal: in [-1, 1].
            speaking: whether the robot speaks.
        """
        if now < self._start:  # the clock jumped back
            self._start, self._next = -math.inf, None
        rate = self.mean_rate(arousal, speaking)
        if self._next is None or self._next - now > 20 * 60 / rate:
            self._next = now + self._interval(rate)
        elif rate != self._rate:  # stretch the wait in progress to the new rate
            self._next = now + (self._next - now) * self._rate / rate
        self._rate = rate
        if now >= self._next and now - self._start >= self.duration:
            self._next = now + self.duration + self._interval(rate)
            if lids <= self.data.suppress_above:
                self._start = now
                self.count += 1
        return self._shape(now - self._start)

    def _interval(self, rate: float) -> float:
        """Seconds between the end of one blink and the start of the next; its mean keeps the rate."""
        d = self.data
        mean = max(1e-3, 60.0 / rate - self.duration - d.minimum_interval_s)
        sigma = d.interval_sigma
        return d.minimum_interval_s + float(self._rng.lognormal(math.log(mean) - sigma * sigma / 2, sigma))

    def _shape(self, t: float) -> float:
        d = self.data
        if not 0 <= t < self.duration:
            return 0.0
        if t < d.closing_s:
            return minimum_jerk(t / d.closing_s)
        return 1.0 - minimum_jerk((t - d.closing_s - d.closed_s) / d.opening_s)
