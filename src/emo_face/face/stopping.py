"""The fastest jerk-limited stop, for many actuators at once and without allocating."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_add, _multiply, _copysign = np.add, np.multiply, np.copysign


class FastestStop:
    """Solve how a state (velocity, acceleration) comes to rest soonest; every quantity divided by the jerk limit.

    With ``sigma`` the sign of v + a|a|/2, the stop is a jerk of -sigma until the acceleration is -sigma c, a cruise,
    and a jerk of +sigma. With q = sigma v + a^2/2, c is min(sqrt(q), A), and integrating v over a gives the distance

        rest = sigma (q (q/c + c) / 2 + v a) + a^3 / 3.

    Results of the last :meth:`solve`, each of ``shape``: ``sigma``, ``c``, ``ratio`` = q/c, ``reach`` (velocity once
    the acceleration has been eased out) and ``rest`` (signed distance to the resting place).

    Args:
        shape: shape of the states, (n,) or (k, n).
        amax: (n,) acceleration limit divided by jerk, positive.
    """

    def __init__(self, shape: tuple[int, ...], amax: Array) -> None:
        self.sigma, self.c, self.ratio, self.reach, self.rest = np.zeros((5, *shape))
        self._half, self._q, self._work = np.zeros((3, *shape))
        # Constants at full shape: NumPy broadcasts slower than it multiplies at this size.
        self._amax = np.broadcast_to(amax, shape).copy()
        self._point5, self._third, self._one = np.full(shape, 0.5), np.full(shape, 2 / 3), np.ones(shape)
        self._tiny = np.full(shape, 1e-150)

    def solve(self, v: Array, a: Array) -> None:
        """Solve for velocities ``v`` and accelerations ``a``, both of ``shape`` and within the limits."""
        half, q, work, sigma, c, rest = self._half, self._q, self._work, self.sigma, self.c, self.rest
        _multiply(a, a, half)
        _multiply(half, self._point5, half)
        _copysign(half, a, self.reach)
        _add(self.reach, v, self.reach)
        _copysign(self._one, self.reach, sigma)
        _multiply(sigma, v, q)
        _add(q, half, q)
        np.sqrt(q, c)
        np.minimum(c, self._amax, out=c)
        np.maximum(c, self._tiny, out=c)
        np.divide(q, c, self.ratio)
        _add(self.ratio, c, rest)
        _multiply(rest, q, rest)
        _multiply(rest, self._point5, rest)
        _multiply(v, a, work)
        _add(rest, work, rest)
        _multiply(rest, sigma, rest)
        _multiply(half, a, half)
        _multiply(half, self._third, half)
        _add(rest, half, rest)
