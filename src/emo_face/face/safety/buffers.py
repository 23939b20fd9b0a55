"""Planning limits and work arrays of the jerk limiter, each under its name, made once."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from emo_face.core.types import Array
from emo_face.face.safety.fastest_stop import CURVE, ROWS, FastestStop
from emo_face.face.safety.tickpaths import PULSES, TERMS, tick_polynomial

KNOTS = np.array([0.0, 1 / 64, 1 / 12, 0.35, 1.0])
STEPS = np.diff(KNOTS)
K = KNOTS.size
POLYNOMIAL = tick_polynomial(KNOTS)
VARYING = np.ascontiguousarray(POLYNOMIAL[:, 3 * PULSES :]).reshape(4, -1)
HEADROOM = 1e-6
"""Relative room kept under each limit for rounding."""
ULP = 2.0**-53
TINY = 1e-30


class LimiterBuffers:
    """What :class:`~emo_face.face.safety.limiter.JerkLimiter` works on.

    Args:
        limits: lower, upper, velocity, acceleration and jerk, as the limiter's.
        max_dt: as the limiter's; so are the errors.
    """

    def __init__(self, limits: Sequence[ArrayLike], max_dt: float) -> None:
        rows = [np.array(v, dtype=np.float64).reshape(-1) for v in limits]
        if any(v.shape != rows[0].shape for v in rows) or not rows[0].size:
            raise ValueError(f"limits must have one length of at least 1, got {[v.size for v in rows]}")
        if not all(np.isfinite(v).all() for v in rows) or not (rows[0] < rows[1]).all():
            raise ValueError("limits must be finite with lower < upper")
        if not all((v > 0).all() for v in rows[2:]):
            raise ValueError("velocity, acceleration and jerk limits must be positive")
        if not (math.isfinite(max_dt) and max_dt > 0):
            raise ValueError(f"max_dt must be a positive number of seconds, got {max_dt}")
        self.lower, self.upper, self.velocity, self.acceleration, self.jerk = rows
        self.max_dt = float(max_dt)
        self._plan()
        self._allocate()

    def _plan(self) -> None:
        """Derive the planning limits, divided by jerk."""
        dt, keep = self.max_dt, 1 - HEADROOM
        self._extent = np.maximum(np.abs(self.lower), np.abs(self.upper))
        rounding = 32 * ULP * self._extent / dt**3  # third differences of rounded positions
        accel = np.minimum(self.acceleration * keep, self.velocity / dt)
        jerk = np.maximum(self.jerk * keep - rounding, 0.5 * self.jerk)
        self._jerk = np.minimum.reduce([jerk, accel / dt, 0.25 * self.velocity / dt**2])
        self._amax = accel / self._jerk
        # A zero crossing of the acceleration inside a tick tops the velocity by jerk dt^2 / 8; chords add less.
        self._vmax = self.velocity * keep / self._jerk - 0.25 * dt**2

    def _allocate(self) -> None:
        """Make every work array and view once, contiguous: at this size a call costs more than its arithmetic."""
        n = self.lower.size
        self._half_jerk = 0.5 * self._jerk
        # What the matrix takes: powers of the times left, signs (three times sigma, then towards), the state.
        self._terms = np.zeros((TERMS, n))
        self._cubed, self._squared, self._plain, self._signs = self._terms[: 4 * PULSES].reshape(4, PULSES, n)
        self._sigma, self._sigmas, self._towards = self._signs[0], self._signs[1:3], self._signs[3]
        self._state = self._terms[4 * PULSES :]
        self._curve, self._stop = self._state[CURVE], np.zeros(n)
        self._now = FastestStop(self._state, self._amax, self._sigma, np.zeros(n), self._stop)
        # When each jerk is switched: the three times of the fastest stop, and when full jerk reaches the limit.
        self._left, self._none, self._times = np.zeros((3, PULSES, n))
        self._first, self._second, self._third, self._push = self._left
        self._turned, self._pushed = np.zeros((2, n))
        # What it gives: the state at the end of the tick for each blend, after the stop, and from there to full jerk.
        self._flat = np.zeros((CURVE * K + 2 * ROWS, n))
        self._base, self._way = self._flat[CURVE * K :].reshape(2, ROWS, n)
        self._matrix = POLYNOMIAL[0].copy()
        self._changing = self._matrix[3 * PULSES :].reshape(-1)
        self._allocate_blends(self._flat[: CURVE * K].reshape(CURVE, K, n))
        size = np.array([[self.max_dt**3 / 3], [self.max_dt**2 / 2], [self.max_dt]])
        self._stillness = 0.05 * HEADROOM * size + np.zeros((3, n))  # settling below takes a fifth of the headroom
        self._stillness[0] += 4 * ULP * self._extent / self._half_jerk
        self._tolerance = 64 * ULP * self._extent / self._half_jerk
        self._out, self._lead, self._one = np.zeros(n), np.zeros(n), np.ones(n)
        self._wrong = np.zeros(n, dtype=bool)
        self._ticks, self._dt, self._inside = 0, 0.0, False

    def _allocate_blends(self, paths: Array) -> None:
        """Work arrays for the largest blends, of states ``paths`` (6, k, n) at each blend."""
        n = self.lower.size
        ends = np.zeros((2, K, n))  # twice the resting place, and the eased velocity, at each blend
        self._knots = FastestStop(paths, self._amax, np.zeros((K, n)), ends[1], ends[0])
        # One pair of blends after the other; the row between the resting places and the velocities weighs nothing.
        rows = 2 * K - 1
        flat = ends.reshape(2 * K, n)
        self._before, self._later = flat[:-1], flat[1:]
        self._bound, self._hair, self._span, self._share = np.zeros((4, rows, n))
        self._goal, self._goals = self._bound[0], self._bound[1 : K - 1]
        self._speed, self._speeds = self._bound[K], self._bound[K + 1 :]
        self._zeros, self._ones, self._smallest = np.zeros((rows, n)), np.ones((rows, n)), np.full(n, TINY)
        fits = np.zeros((2, ROWS, n))
        self._fits, (self._rest_fits, self._speed_fits) = fits.reshape(-1, n), fits
        self._weights = np.zeros((2 * ROWS, rows))
        self._weights[:ROWS, : K - 1] = self._weights[ROWS:, K:] = STEPS
