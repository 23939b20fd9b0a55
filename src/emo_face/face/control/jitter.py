"""Lateness statistics of a periodic loop, in constant memory."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class JitterSummary:
    """Lateness of wake-ups in milliseconds, and counts since the start.

    ``missed`` counts deadlines met more than one period late or not at all.
    """

    ticks: int
    missed: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Jitter:
    """Collect lateness. The newest ``window`` values give the percentiles.

    Args:
        period: seconds.
        window: number of values kept.
    """

    def __init__(self, period: float, window: int = 8192) -> None:
        self._period = period
        self._late = np.zeros(window)
        self.ticks = self.missed = 0

    def reset(self) -> None:
        """Start anew."""
        self.ticks = self.missed = 0

    def add(self, late: float) -> None:
        """Count a wake-up that was ``late`` seconds after its deadline."""
        self._late[self.ticks % self._late.size] = late
        self.ticks += 1
        self.missed += late > self._period

    def skip(self, count: int) -> None:
        """Count deadlines that passed without a wake-up."""
        self.missed += count

    def summary(self) -> JitterSummary:
        """Percentiles of the newest values."""
        values = 1e3 * self._late[: min(self.ticks, self._late.size)]
        if not values.size:
            return JitterSummary(0, self.missed, 0.0, 0.0, 0.0)
        p50, p99 = (float(p) for p in np.percentile(values, (50, 99)))
        return JitterSummary(self.ticks, self.missed, p50, p99, float(values.max()))
