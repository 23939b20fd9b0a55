"""Jerk-limited following of a moving target: many actuators at once, any tick length, provably inside the limits.

Between two ticks every actuator moves along an exact continuous path with piecewise constant jerk, so position,
velocity, acceleration and jerk hold at *every* instant, not only at the ticks, and whatever the tick spacing.

How it works (every quantity divided by the jerk limit, so that jerk is -1, 0 or +1):

1.  From any state the fastest stop has a closed form (:mod:`emo_face.face.stopping`): where it rests is S.
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

from emo_face.face.stopping import FastestStop

Array = NDArray[np.float64]

_add, _subtract, _multiply, _divide = np.add, np.subtract, np.multiply, np.divide
_maximum, _minimum, _copysign = np.maximum, np.minimum, np.copysign

_KNOTS = np.array([0.0, 1 / 64, 1 / 12, 0.35, 1.0])
_STEPS = np.diff(_KNOTS)
_K = _KNOTS.size
_MIX = np.stack([1 - _KNOTS, _KNOTS], axis=1)
# A jerk that is on for part of a tick moves the state by powers of the time left. Rows: position, velocity,
# acceleration; then B (off, on, on, off) and E; last axis: whole tick, ends of the stop's phases, end of E's push.
_PULSES = np.array([1 / 6, 1 / 2, 1.0])[:, None, None] * np.array(
    [[-1.0, 1.0, 1.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0, -1.0]]
)
_HEADROOM = 1e-6
"""Relative room kept under each limit for rounding."""
_ULP = 2.0**-53
_TINY = 1e-30


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
        """Make every work array once: at this size a call costs more than its arithmetic."""
        n = self.lower.size
        self._state = np.zeros((3, n))  # position, velocity, acceleration, divided by jerk
        self._out = np.zeros(n)
        self._lead, self._towards, self._goal, self._beyond = np.zeros((4, n))
        self._wrong = np.zeros(n, dtype=bool)
        self._left = np.zeros((3, 5, n))  # times left: cubed, squared, plain
        self._pulses = np.zeros((3, 2, n))
        self._signs = np.zeros((1, 2, n))
        self._free = np.zeros((3, 1, n))
        self._pair = np.zeros((3, 2, n))  # states after B and E
        self._paths = np.zeros((3, _K, n))
        self._knots = FastestStop((_K, n), self._amax)
        self._now = FastestStop((n,), self._amax)
        self._f = np.zeros((_K, 2, n))  # resting place and eased velocity at each blend
        self._bound = np.zeros((_K - 1, 2, n))
        self._span, self._share = np.zeros((2, _K - 1, 2, n))
        self._blends = np.zeros(2 * n)
        self._size, self._still = np.zeros((3, n)), np.zeros((3, n), dtype=bool)
        self._stillness = np.empty((3, n))  # settling from below these takes a fifth of the headroom in jerk
        self._stillness[:] = 0.05 * _HEADROOM * np.array([[self.max_dt**3 / 6], [self.max_dt**2 / 2], [self.max_dt]])
        self._stillness[0] += 4 * _ULP * self._extent / self._jerk
        self._ticks = 0
        self._tolerance = 64 * _ULP * self._extent / self._jerk
        self._dt, self._drift, self._times = 0.0, np.eye(3), np.zeros((5, n))
        self._zero5, self._one, self._tiny = np.zeros((5, n)), np.ones(n), np.full(n, _TINY)
        self._zeros, self._ones = np.zeros((_K - 1, 2, n)), np.ones((_K - 1, 2, n))

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
        return np.asarray(self._state[1] * self._jerk)

    @property
    def curvature(self) -> Array:
        """(n,) present acceleration in unit/s^2; a copy."""
        return np.asarray(self._state[2] * self._jerk)

    def resting_place(self) -> Array:
        """(n,) where each actuator comes to rest if it brakes as hard as its limits allow."""
        return np.asarray((self._state[0] + self._now.rest) * self._jerk)

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
        state = self._state
        np.divide(start, self._jerk, state)
        # Bringing the acceleration to zero changes the velocity by a^2 / 2, which must fit into its limits.
        most = np.minimum(self._amax, 2.0 * np.sqrt(self._vmax))
        np.clip(state[2], -most, most, out=state[2])
        eased = self._vmax - 0.5 * state[2] ** 2
        high, low = np.where(state[2] > 0, eased, self._vmax), np.where(state[2] < 0, -eased, -self._vmax)
        np.clip(state[1], np.minimum(low, high), high, out=state[1])
        self._out[:] = start[0]
        self._now.solve(state[1], state[2])

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
        state, goal, now, beyond = self._state, self._goal, self._now, self._beyond
        _maximum(target, self.lower, out=goal)
        _minimum(goal, self.upper, out=goal)
        _divide(goal, self._jerk, goal)
        self._two_paths(dt)
        base, full = self._pair[:, 0], self._pair[:, 1]
        blend = self._blend()
        _subtract(full, base, state)
        _multiply(state, blend, state)
        _add(state, base, state)
        now.solve(state[1], state[2])
        _add(now.rest, state[0], beyond)
        _subtract(beyond, goal, beyond)
        _multiply(beyond, self._towards, beyond)
        np.greater(beyond, self._tolerance, self._wrong)
        if np.count_nonzero(self._wrong):
            np.copyto(state, base, where=self._wrong)
            now.solve(state[1], state[2])
        self._ticks += 1
        if not self._ticks % 8:
            self._settle()
        self._read_out()

    def _settle(self) -> None:
        """Put actuators that as good as rest exactly to rest (denormal numbers would be slow)."""
        state, size, still = self._state, self._size, self._still
        _subtract(state[0], self._goal, size[0])
        size[1:] = state[1:]
        np.abs(size, size)
        np.less_equal(size, self._stillness, still)
        np.logical_and(still[0], still[1], self._wrong)
        np.logical_and(still[2], self._wrong, self._wrong)
        if np.count_nonzero(self._wrong):
            np.copyto(state[0], self._goal, where=self._wrong)
            np.copyto(state[1:], 0.0, where=self._wrong)
            self._now.solve(state[1], state[2])

    def _read_out(self) -> None:
        """Positions in the user's unit; rounding must not leave the range nor move further out of it."""
        out, bound = self._out, self._beyond
        _minimum(out, self.lower, out=bound)
        _maximum(out, self.upper, out=self._lead)
        _multiply(self._state[0], self._jerk, out)
        _maximum(out, bound, out=out)
        _minimum(out, self._lead, out=out)

    def _two_paths(self, dt: float) -> None:
        """Fill ``_pair`` with the states after the fastest stop and after full jerk towards the target."""
        if dt != self._dt:
            self._dt = dt
            self._drift = np.array(((1.0, dt, 0.5 * dt * dt), (0.0, 1.0, dt), (0.0, 0.0, 1.0)))
            self._times = np.full_like(self._times, dt)
        state, now, lead, towards = self._state, self._now, self._lead, self._towards
        a, (cubed, squared, left) = state[2], self._left
        left[0] = 0.0
        _multiply(now.sigma, a, lead)
        _add(lead, now.c, left[1])
        _add(lead, now.ratio, left[2])
        _add(left[2], now.c, left[3])
        _add(state[0], now.rest, lead)
        _subtract(self._goal, lead, lead)
        _copysign(self._one, lead, towards)
        _multiply(towards, a, lead)
        _subtract(self._amax, lead, left[4])
        _subtract(self._times, left, left)
        _maximum(left, self._zero5, out=left)
        _multiply(left, left, squared)
        _multiply(squared, left, cubed)
        np.matmul(_PULSES, self._left, self._pulses)
        self._signs[0, 0], self._signs[0, 1] = now.sigma, towards
        np.matmul(self._drift, state, self._free[:, 0])
        _multiply(self._pulses, self._signs, self._pair)
        _add(self._pair, self._free, self._pair)

    def _blend(self) -> Array:
        """(n,) largest blend in [0, 1] that rests at or before the target with the velocity in its limit."""
        f, share, span, bound, lead = self._f, self._share, self._span, self._bound, self._lead
        np.matmul(_MIX, self._pair, self._paths)
        x, v, a = self._paths
        self._knots.solve(v, a)
        _add(x, self._knots.rest, f[:, 0])
        f[:, 1] = self._knots.reach
        bound[:, 0] = self._goal
        _multiply(self._towards, self._vmax, lead)
        bound[:, 1] = lead
        _multiply(self._towards, self._tiny, lead)  # no division by zero where B and E agree
        _subtract(f[1:], f[:-1], span)
        _add(span, lead, span)
        _subtract(bound, f[:-1], share)
        _divide(share, span, share)
        _maximum(share, self._zeros, out=share)
        _minimum(share, self._ones, out=share)
        np.dot(_STEPS, share.reshape(_K - 1, -1), self._blends)
        _minimum(self._blends[: self.size], self._blends[self.size :], out=lead)
        return lead
