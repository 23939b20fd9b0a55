"""Jerk-limited following of a moving target: many actuators at once, any tick length, provably inside the limits.

Between two ticks every actuator moves along an exact continuous path with piecewise constant jerk, so position,
velocity, acceleration and jerk hold at *every* instant, not only at the ticks, and whatever the tick spacing.

How it works (every quantity divided by the jerk limit, so that jerk is -1, 0 or +1):

1.  From any state the fastest stop has a closed form (:mod:`emo_face.face.safety.stopping`): where it rests is S.
2.  Every tick considers two admissible paths: B, the fastest stop itself (its resting place stays S), and E, full jerk
    towards the target until the acceleration limit. Every blend B + w (E - B), 0 <= w <= 1, is admissible too, because
    the dynamics are linear and the limits convex. The limiter takes the largest w that can still rest at or before the
    target and keeps the velocity in its limit.
3.  S is convex in w on the side of motion, so interpolation on chords errs to the safe side; where the sign of motion
    changes inside a tick this is checked, and B is taken instead.

So if a state can stop inside the range, so can the next one (by induction it always stays inside), and a target that
stands still is approached without overshoot. A start state that cannot stop inside gets the fastest stop and returns.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emo_face.face.safety.stopping import CURVE, PLACE, RATE, ROWS, SCALES, FastestStop
from emo_face.face.safety.tickpaths import PULSES, TERMS, tick_polynomial

Array = NDArray[np.float64]

_add, _subtract, _multiply, _divide = np.add, np.subtract, np.multiply, np.divide
_maximum, _minimum, _copysign = np.maximum, np.minimum, np.copysign

_KNOTS = np.array([0.0, 1 / 64, 1 / 12, 0.35, 1.0])
_STEPS = np.diff(_KNOTS)
_K = _KNOTS.size
_POLYNOMIAL = tick_polynomial(_KNOTS)
_VARYING = np.ascontiguousarray(_POLYNOMIAL[:, 3 * PULSES :]).reshape(4, -1)
_HEADROOM = 1e-6
"""Relative room kept under each limit for rounding."""
_ULP = 2.0**-53
_TINY = 1e-30
_SETTLE_EVERY = 8


class JerkLimiter:
    """Move n values towards targets inside position, velocity, acceleration and jerk limits.

    Args:
        lower, upper: (n,) range, any unit; ``lower < upper``.
        velocity, acceleration, jerk: (n,) positive limits in unit/s, unit/s^2, unit/s^3.
        max_dt: longest single step in seconds; longer ones are split. Jerk and acceleration are used only as far as
            steps of this length can resolve them.

    Raises:
        ValueError: shapes differ, a limit is not positive and finite, or ``lower >= upper``.
    """

    def __init__(
        self,
        lower: ArrayLike,
        upper: ArrayLike,
        velocity: ArrayLike,
        acceleration: ArrayLike,
        jerk: ArrayLike,
        max_dt: float,
    ) -> None:
        rows = [np.array(v, dtype=np.float64).reshape(-1) for v in (lower, upper, velocity, acceleration, jerk)]
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
        self.reset(np.clip(0.0, self.lower, self.upper))

    def _plan(self) -> None:
        """Derive the planning limits, divided by jerk."""
        dt, keep = self.max_dt, 1 - _HEADROOM
        self._extent = np.maximum(np.abs(self.lower), np.abs(self.upper))
        rounding = 32 * _ULP * self._extent / dt**3  # third differences of rounded positions
        accel = np.minimum(self.acceleration * keep, self.velocity / dt)
        jerk = np.maximum(self.jerk * keep - rounding, 0.5 * self.jerk)
        self._jerk = np.minimum.reduce([jerk, accel / dt, 0.25 * self.velocity / dt**2])
        self._amax = accel / self._jerk
        # A zero crossing of the acceleration inside a tick tops the velocity by jerk dt^2 / 8; chords add less.
        self._vmax = self.velocity * keep / self._jerk - 0.25 * dt**2

    def _allocate(self) -> None:
        """Make every work array and view once, contiguous: at this size a call costs more than its arithmetic."""
        n = self.lower.size
        # What the matrix takes: powers of the times left, signs (three times sigma, then towards), the state.
        self._terms = terms = np.zeros((TERMS, n))
        cubed, squared, plain, signs = terms[: 4 * PULSES].reshape(4, PULSES, n)
        self._state = state = terms[4 * PULSES :]
        # What it gives: the state at the end of the tick for each blend, after the stop, and from there to full jerk.
        self._flat = np.zeros((CURVE * _K + 2 * ROWS, n))
        paths = self._flat[: CURVE * _K].reshape(CURVE, _K, n)
        base, way = self._flat[CURVE * _K :].reshape(2, ROWS, n)
        ends = np.zeros((2, _K, n))  # twice the resting place, and the eased velocity, at each blend
        self._half_jerk = 0.5 * self._jerk
        self._stop, self._towards = np.zeros(n), signs[3]
        self._knots = FastestStop(paths, self._amax, np.zeros((_K, n)), ends[1], ends[0])
        self._now = FastestStop(state, self._amax, signs[0], np.zeros(n), self._stop)
        self._matrix = _POLYNOMIAL[0].copy()
        self._changing = self._matrix[3 * PULSES :].reshape(-1)
        left, (turned, pushed), self._times = np.zeros((PULSES, n)), np.zeros((2, n)), np.zeros((PULSES, n))
        self._switch = signs[0], signs[1:3], state[CURVE], turned, pushed, *self._now.bends
        self._powers = *left, left, np.zeros_like(left), signs, plain, squared, cubed
        self._mix = *self._allocate_blends(ends), base, way
        size = np.array([[self.max_dt**3 / 3], [self.max_dt**2 / 2], [self.max_dt]])
        self._stillness = 0.05 * _HEADROOM * size + np.zeros((3, n))  # settling below takes a fifth of the headroom
        self._stillness[0] += 4 * _ULP * self._extent / self._half_jerk
        self._tolerance = 64 * _ULP * self._extent / self._half_jerk
        self._out, self._lead, self._one = np.zeros(n), np.zeros(n), np.ones(n)
        self._wrong = np.zeros(n, dtype=bool)
        self._ticks, self._dt, self._inside = 0, 0.0, False

    def _allocate_blends(self, ends: Array) -> Array:
        """Work arrays for the largest blends of ``ends`` (2, k, n), and where they are put: (2, rows of a state, n)."""
        n = self.lower.size
        # One pair of blends after the other; the row between the resting places and the velocities weighs nothing.
        rows = 2 * _K - 1
        bound, tiny, span, share = np.zeros((4, rows, n))
        flat = ends.reshape(2 * _K, n)
        self._goal, self._bounds = bound[0], (bound[1 : _K - 1], bound[_K], bound[_K + 1 :], tiny[0], tiny[1:])
        self._reach = flat[1:], flat[:-1], bound, tiny, span, share
        self._smallest = np.full(n, _TINY)
        fits = np.zeros((2, ROWS, n))
        self._share = np.zeros((rows, n)), np.ones((rows, n)), fits.reshape(-1, n)
        self._weights = np.zeros((2 * ROWS, rows))
        self._weights[:ROWS, : _K - 1] = self._weights[ROWS:, _K:] = _STEPS
        return fits

    @property
    def size(self) -> int:
        return int(self.lower.size)

    @property
    def position(self) -> Array:
        """(n,) present position; a copy."""
        return self._out.copy()

    @property
    def rate(self) -> Array:
        """(n,) present velocity in unit/s; a copy."""
        return np.asarray(self._state[RATE] * self._jerk)

    @property
    def curvature(self) -> Array:
        """(n,) present acceleration in unit/s^2; a copy."""
        return np.asarray(self._state[CURVE] * self._jerk)

    def resting_place(self) -> Array:
        """(n,) where each actuator comes to rest if it brakes as hard as its limits allow."""
        return np.asarray(self._stop * self._half_jerk)

    def reset(self, position: ArrayLike, velocity: ArrayLike = 0.0, acceleration: ArrayLike = 0.0) -> None:
        """Start from a state.

        Velocity and acceleration beyond their limits are cut to them; the position may lie outside the range.

        Raises:
            ValueError: a value is not finite or has another shape than () or (n,).
        """
        start = np.array(
            [
                np.broadcast_to(np.asarray(v, dtype=np.float64), self.lower.shape)
                for v in (position, velocity, acceleration)
            ]
        )
        if not np.isfinite(start).all():
            raise ValueError("position, velocity and acceleration of a start state must be finite")
        place, rate, curve = start / self._jerk
        # Bringing the acceleration to zero changes the velocity by a^2 / 2, which must fit into its limits.
        most = np.minimum(self._amax, 2.0 * np.sqrt(self._vmax))
        curve = np.clip(curve, -most, most)
        eased = self._vmax - 0.5 * curve**2
        high, low = np.where(curve > 0, eased, self._vmax), np.where(curve < 0, -eased, -self._vmax)
        rate = np.clip(rate, np.minimum(low, high), high)
        self._put(place, rate, curve)
        self._out[:] = start[0]
        self._inside = False

    def _put(self, place: Array, rate: Array, curve: Array) -> None:
        """Take a state over: position, velocity and acceleration, (n,) each and divided by jerk."""
        for row, quantity, factor in SCALES:
            np.multiply((place, rate, curve)[quantity], factor, self._state[row])
        self._now.solve()

    def brake(self, dt: float) -> Array:
        """Advance by ``dt`` seconds along the fastest stop, in closed form: exact for every ``dt``.

        Returns:
            (n,) positions, as :meth:`step`.
        """
        sigma, bend, ratio = self._now.sigma, *self._now.bends
        place, rate, curve = 0.5 * self._state[PLACE], self._state[RATE].copy(), self._state[CURVE].copy()
        rest, left = 0.5 * self._stop, np.full(self.size, dt)
        turn = np.maximum(sigma * curve + bend, 0.0)  # until the acceleration is -sigma c, then a cruise, then c back
        for jerk, span in ((-sigma, turn), (0.0, np.maximum(ratio - bend, 0.0)), (sigma, bend)):
            t = np.minimum(left, span)
            place += t * (rate + t * (curve / 2 + t * jerk / 6))
            rate += t * (curve + t * jerk / 2)
            curve += t * jerk
            left = left - t
        done = left > 0
        self._put(np.where(done, rest, place), np.where(done, 0.0, rate), np.where(done, 0.0, curve))
        self._read_out()
        return self._out

    def step(self, target: Array, dt: float) -> Array:
        """Advance by ``dt`` seconds towards ``target`` (n,), cut to the range.

        ``dt <= 0`` changes nothing. ``target`` must be finite: the safety gate sees to it.

        Returns:
            (n,) positions, always inside the range once they have been inside; a view that the next step overwrites.
        """
        parts = max(1, math.ceil(dt / self.max_dt - 1e-6)) if dt > 0 else 0
        for _ in range(parts):
            self._advance(target, dt / parts)
        return self._out

    def _advance(self, target: Array, dt: float) -> None:
        state, goal, lead, wrong = self._state, self._goal, self._lead, self._wrong
        rest_fits, speed_fits, base, way = self._mix
        _maximum(target, self.lower, out=goal)
        _minimum(goal, self.upper, out=goal)
        _divide(goal, self._half_jerk, goal)
        self._two_paths(dt)
        self._knots.solve()
        self._largest_blends()
        _minimum(rest_fits, speed_fits, out=rest_fits)
        _multiply(way, rest_fits, way)
        _add(base, way, state)
        self._now.solve()
        _subtract(self._stop, goal, lead)
        _multiply(lead, self._towards, lead)
        np.greater(lead, self._tolerance, wrong)
        if np.count_nonzero(wrong):
            np.copyto(state, base, where=wrong)
            self._now.solve()
        self._ticks += 1
        if not self._ticks % _SETTLE_EVERY:
            self._settle()
        self._read_out()

    def _two_paths(self, dt: float) -> None:
        """Fill the paths: the states after the fastest stop, after full jerk towards the target, and between."""
        sigma, sigmas, curve, turned, pushed, c, ratio = self._switch
        first, second, third, push, left, none, signs, plain, squared, cubed = self._powers
        if dt != self._dt:
            self._dt = dt
            self._times.fill(dt)
            np.dot(np.array((1.0, dt, dt * dt, dt * dt * dt)), _VARYING, self._changing)
        _subtract(self._goal, self._stop, self._lead)
        _copysign(self._one, self._lead, self._towards)
        sigmas[:] = sigma
        _multiply(sigma, curve, turned)
        _multiply(self._towards, curve, pushed)
        _add(turned, c, first)
        _add(turned, ratio, second)
        _add(second, c, third)
        _subtract(self._amax, pushed, push)
        _subtract(self._times, left, left)
        _maximum(left, none, out=left)
        _multiply(signs, left, plain)
        _multiply(plain, left, squared)
        _multiply(squared, left, cubed)
        np.dot(self._matrix.T, self._terms, self._flat)

    def _largest_blends(self) -> None:
        """Largest blends in [0, 1] that rest at or before the target, and that keep the velocity in its limit."""
        places, speed, speeds, hair, hairs = self._bounds
        later, before, bound, tiny, span, share = self._reach
        zero, one, fits = self._share
        places[:] = self._goal
        _copysign(self._vmax, self._lead, speed)
        speeds[:] = speed
        _copysign(self._smallest, self._lead, hair)  # no division by zero where both paths agree
        hairs[:] = hair
        _subtract(later, before, span)
        _add(span, tiny, span)
        _subtract(bound, before, share)
        _divide(share, span, share)
        _maximum(share, zero, out=share)
        _minimum(share, one, out=share)
        np.dot(self._weights, share, fits)

    def _settle(self) -> None:
        """Put actuators that as good as rest exactly to rest (denormal numbers would be slow)."""
        state, lead, wrong = self._state, self._lead, self._wrong
        np.abs(state[RATE], lead)
        np.less_equal(lead, self._stillness[1], wrong)
        if not np.count_nonzero(wrong):
            return
        wrong &= np.abs(state[PLACE] - self._goal) <= self._stillness[0]
        wrong &= np.abs(state[CURVE]) <= self._stillness[2]
        if np.count_nonzero(wrong):
            np.copyto(state[PLACE], self._goal, where=wrong)
            np.copyto(state[RATE:], 0.0, where=wrong)
            self._now.solve()

    def _read_out(self) -> None:
        """Positions in the user's unit; rounding must not leave the range nor move further out of it."""
        out = self._out
        low, high = self.lower, self.upper
        if not self._inside:
            low, high = np.minimum(out, low), np.maximum(out, high)
            self._inside = bool((low == self.lower).all() and (high == self.upper).all())
        _multiply(self._state[PLACE], self._half_jerk, out)
        _maximum(out, low, out=out)
        _minimum(out, high, out=out)
