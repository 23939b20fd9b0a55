"""The fastest jerk-limited stop, for many actuators at once, without allocating and in few NumPy calls."""

import numpy as np

from emo_face.core.types import Array

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

    States are kept as the rows that this needs (:data:`SCALES`), adjacent if one call can do two products.

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
        self._velocity, self._place, self._eases = rows[RATE], rows[PLACE], rows[EASE : EASE + 2]
        self._ease = rows[EASE]  # a / sqrt(2): its square is a^2 / 2, and the other's a^2 / 3
        self._sum, self._factors = rows[4], rows[4:6]  # the work row: c + q/c, beside it 2 a
        self.sigma, self._reach, self._stop = sigma, reach, stop
        self.bends = np.zeros((2, *shape))
        self._bend, self._ratio = self.bends
        self._squares, self._product, self._signed = np.zeros((2, *shape)), np.zeros((2, *shape)), np.zeros(shape)
        self._half, self._third = self._squares
        self._braking, self._turning = self._product  # q, then q (q/c + c); sigma v + a^2/3, then 2 a times it
        self._limit, self._tiny = np.broadcast_to(amax, shape).copy(), np.full(shape, 1e-150)
        self._one = np.ones(shape)

    def solve(self) -> None:
        """Solve for the states that the rows hold now, all within the limits."""
        half, signed, reach, bend, ratio = self._half, self._signed, self._reach, self._bend, self._ratio
        _multiply(self._eases, self._eases, self._squares)
        _copysign(half, self._ease, signed)
        _add(signed, self._velocity, reach)
        _copysign(self._one, reach, self.sigma)
        _multiply(self.sigma, self._velocity, signed)
        _add(half, signed, self._braking)
        _add(self._third, signed, self._turning)
        _sqrt(self._braking, bend)
        _minimum(bend, self._limit, out=bend)
        _maximum(bend, self._tiny, out=bend)
        _divide(self._braking, bend, ratio)
        _add(ratio, bend, self._sum)
        _copysign(self._sum, reach, self._sum)
        _multiply(self._product, self._factors, self._product)
        _add(self._braking, self._turning, self._stop)
        _add(self._stop, self._place, self._stop)
