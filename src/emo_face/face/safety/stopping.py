"""The fastest jerk-limited stop, for many actuators at once, without allocating and in few NumPy calls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_add, _multiply, _divide, _copysign, _sqrt = np.add, np.multiply, np.divide, np.copysign, np.sqrt
_minimum, _maximum = np.minimum, np.maximum

ROWS = 7
"""Rows that describe a state: :data:`PLACE`, :data:`RATE`, :data:`EASE` (two), a work row, and the acceleration."""
PLACE, RATE, EASE, CURVE = 0, 1, 2, 6
SCALES: tuple[tuple[int, int, float], ...] = (
    (PLACE, 0, 2.0), (RATE, 1, 1.0), (EASE, 2, 2**-0.5), (EASE + 1, 2, 3**-0.5), (5, 2, 2.0), (CURVE, 2, 1.0),
)  # fmt: skip
"""(row, 0 position | 1 velocity | 2 acceleration, factor): multiples, so linear maps keep the rows in step."""


class FastestStop:
    """Solve how a state comes to rest soonest; every quantity divided by the jerk limit.

    With ``sigma`` the sign of v + a|a|/2, the stop is a jerk of -sigma until the acceleration is -sigma c, a cruise,
    and a jerk of +sigma. With q = sigma v + a^2/2, c is min(sqrt(q), A), and integrating v over a gives twice the way

        2 rest = sigma q (q/c + c) + 2 a (sigma v + a^2/3).

    States are kept as the rows that this needs (:data:`SCALES`), neighbours where one call can do two products.

    Results of the last :meth:`solve`: ``sigma``, ``reach`` (velocity once the acceleration has been eased out) and
    ``stop`` (twice the resting place), ``bends`` (2, ...): c and q/c.

    Args:
        rows: (6 or more, ...) states, shared with the caller; the work row is overwritten.
        amax: (n,) acceleration limit divided by jerk, positive.
        sigma, reach, stop: where to put these results, of the shape of one row. All arrays must be contiguous: NumPy
            takes three times as long for a call that strides or broadcasts.
    """

    def __init__(self, rows: Array, amax: Array, sigma: Array, reach: Array, stop: Array) -> None:
        shape = rows.shape[1:]
        self.sigma, self.bends = sigma, np.zeros((2, *shape))
        square, product, signed = np.zeros((2, *shape)), np.zeros((2, *shape)), np.zeros(shape)
        limit, tiny = np.broadcast_to(amax, shape).copy(), np.full(shape, 1e-150)
        eases, one = rows[EASE : EASE + 2], np.ones(shape)
        self._turn = rows[RATE], rows[EASE], eases, square, *square, signed, one, sigma, reach
        self._last = (*self.bends, limit, tiny, rows[4], rows[4:6], product, *product, rows[PLACE], stop)

    def solve(self) -> None:
        """Solve for the states that the rows hold now, all within the limits."""
        v, ease, eases, square, half, third, signed, one, sigma, reach = self._turn
        c, ratio, limit, tiny, work, factors, product, q, rest, place, stop = self._last
        _multiply(eases, eases, square)
        _copysign(half, ease, signed)
        _add(signed, v, reach)
        _copysign(one, reach, sigma)
        _multiply(sigma, v, signed)
        _add(half, signed, q)
        _add(third, signed, rest)
        _sqrt(q, c)
        _minimum(c, limit, out=c)
        _maximum(c, tiny, out=c)
        _divide(q, c, ratio)
        _add(ratio, c, work)
        _copysign(work, reach, work)
        _multiply(product, factors, product)
        _add(q, rest, stop)
        _add(stop, place, stop)
