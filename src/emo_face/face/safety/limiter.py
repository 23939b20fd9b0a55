"""Jerk-limited following of a moving target: many actuators at once, any tick length, provably inside the limits.

Between two ticks every actuator moves along an exact continuous path with piecewise constant jerk, so position,
velocity, acceleration and jerk hold at *every* instant, not only at the ticks, and whatever the tick spacing.

How it works (every quantity divided by the jerk limit, so that jerk is -1, 0 or +1):

1.  From any state the fastest stop has a closed form (:mod:`emo_face.face.safety.fastest_stop`): where it rests is S.
2.  Every tick considers two admissible paths: B, the fastest stop itself (its resting place stays S), and E, full jerk
    towards the target until the acceleration limit. Every blend B + w (E - B), 0 <= w <= 1, is admissible too, because
    the dynamics are linear and the limits convex. The limiter takes the largest w that can still rest at or before the
    target and keeps the velocity in its limit.
3.  S is convex in w on the side of motion, so interpolation on chords errs to the safe side; if the sign of motion
    changes inside a tick this is checked, and B is taken instead.

So if a state can stop inside the range, so can the next one (by induction it always stays inside), and a target that
stands still is approached without overshoot. A start state that cannot stop inside gets the fastest stop and returns.

Why not Ruckig, the usual choice: tried beside this, it failed 2 of 40 adversarial runs (a state that it will not plan
from) and left the range by 9e-9; here every state has to yield a path that stays inside. A textbook reference in
tests/unit/face/safety/test_limiter_reference.py is compared tick by tick.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from emo_face.core.types import Array
from emo_face.face.safety.buffers import VARYING, LimiterBuffers
from emo_face.face.safety.fastest_stop import CURVE, PLACE, RATE, SCALES

_add, _subtract, _multiply, _divide = np.add, np.subtract, np.multiply, np.divide
_maximum, _minimum, _copysign = np.maximum, np.minimum, np.copysign

_SETTLE_EVERY = 8


class JerkLimiter(LimiterBuffers):
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
        super().__init__((lower, upper, velocity, acceleration, jerk), max_dt)
        self.reset(np.clip(0.0, self.lower, self.upper))

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
        goal, lead, wrong = self._goal, self._lead, self._wrong
        _maximum(target, self.lower, out=goal)
        _minimum(goal, self.upper, out=goal)
        _divide(goal, self._half_jerk, goal)
        self._two_paths(dt)
        self._knots.solve()
        self._largest_blends()
        _minimum(self._rest_fits, self._speed_fits, out=self._rest_fits)
        _multiply(self._way, self._rest_fits, self._way)
        _add(self._base, self._way, self._state)
        self._now.solve()
        _subtract(self._stop, goal, lead)
        _multiply(lead, self._towards, lead)
        np.greater(lead, self._tolerance, wrong)
        if np.count_nonzero(wrong):
            np.copyto(self._state, self._base, where=wrong)
            self._now.solve()
        self._ticks += 1
        if not self._ticks % _SETTLE_EVERY:
            self._settle()
        self._read_out()

    def _two_paths(self, dt: float) -> None:
        """Fill the paths: the states after the fastest stop, after full jerk towards the target, and between."""
        left, plain, squared, (bend, ratio) = self._left, self._plain, self._squared, self._now.bends
        if dt != self._dt:
            self._dt = dt
            self._times.fill(dt)
            np.dot(np.array((1.0, dt, dt * dt, dt * dt * dt)), VARYING, self._changing)
        _subtract(self._goal, self._stop, self._lead)
        _copysign(self._one, self._lead, self._towards)
        self._sigmas[:] = self._sigma
        _multiply(self._sigma, self._curve, self._turned)
        _multiply(self._towards, self._curve, self._pushed)
        _add(self._turned, bend, self._first)
        _add(self._turned, ratio, self._second)
        _add(self._second, bend, self._third)
        _subtract(self._amax, self._pushed, self._push)
        _subtract(self._times, left, left)
        _maximum(left, self._none, out=left)
        _multiply(self._signs, left, plain)
        _multiply(plain, left, squared)
        _multiply(squared, left, self._cubed)
        np.dot(self._matrix.T, self._terms, self._flat)

    def _largest_blends(self) -> None:
        """Largest blends in [0, 1] that rest at or before the target, and that keep the velocity in its limit."""
        hair, span, share = self._hair, self._span, self._share
        self._goals[:] = self._goal
        _copysign(self._vmax, self._lead, self._speed)
        self._speeds[:] = self._speed
        _copysign(self._smallest, self._lead, hair[0])  # no division by zero if both paths agree
        hair[1:] = hair[0]
        _subtract(self._later, self._before, span)
        _add(span, hair, span)
        _subtract(self._bound, self._before, share)
        _divide(share, span, share)
        _maximum(share, self._zeros, out=share)
        _minimum(share, self._ones, out=share)
        np.dot(self._weights, share, self._fits)

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
