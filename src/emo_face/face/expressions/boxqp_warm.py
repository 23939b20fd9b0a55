"""Box-constrained quadratic programs whose answers change little from one call to the next."""

from dataclasses import dataclass

import numpy as np

from emo_face.core.types import Array
from emo_face.face.expressions.boxqp import solve_box_qp

_KEPT = 64
_EXCHANGES = 5
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class _Pattern:
    """The minimiser for one choice of coordinates at 0, at 1 and free: x = matrix @ g + offset."""

    matrix: Array
    offset: Array
    free: Array
    side: Array


class WarmBoxQP:
    """Minimise ``x' H x / 2 - g' x`` over 0 <= x <= 1 for one H and many g.

    Which coordinates are at a bound seldom changes between calls; for a known choice the minimiser is an affine map of
    g, which is kept, applied, and checked against the optimality conditions; coordinates that break them change sides,
    a few times. If that does not end, :func:`~emo_face.face.expressions.boxqp.solve_box_qp` solves from scratch. Both
    give the exact minimiser.

    Args:
        hessian: (n, n) symmetric positive definite.
    """

    def __init__(self, hessian: Array) -> None:
        self._hessian = hessian
        self._patterns: dict[bytes, _Pattern] = {}
        self._now: _Pattern | None = None
        self._last: Array | None = None

    def solve(self, linear: Array) -> Array:
        """(n,) the minimiser for g = ``linear`` (n,)."""
        now = self._now
        for _ in range(_EXCHANGES if now is not None else 0):
            assert now is not None
            x = now.matrix @ linear + now.offset
            wrong = now.free * (np.abs(x - 0.5) - 0.5) + now.side * (self._hessian @ x - linear)
            if float(wrong.max(initial=0.0)) <= _SLACK:
                self._now, self._last = now, np.minimum(np.maximum(x, 0.0), 1.0)
                return self._last
            now = self._pattern(np.where(wrong <= _SLACK, now.side, now.free * np.sign(x - 0.5)))
        x = np.asarray(solve_box_qp(self._hessian, linear, self._last), dtype=np.float64)
        self._last = x
        self._now = self._pattern(np.where(x <= 0.0, -1.0, np.where(x >= 1.0, 1.0, 0.0)))
        return x

    def _pattern(self, side: Array) -> _Pattern:
        key = side.tobytes()
        if key not in self._patterns:
            if len(self._patterns) >= _KEPT:
                self._patterns.pop(next(iter(self._patterns)))
            n = side.size
            free, at_one = np.flatnonzero(side == 0), (side == 1).astype(np.float64)
            matrix, offset = np.zeros((n, n)), at_one.copy()
            if free.size:
                inverse = np.linalg.inv(self._hessian[np.ix_(free, free)])
                matrix[np.ix_(free, free)] = inverse
                offset[free] = -inverse @ (self._hessian[free] @ at_one)
            self._patterns[key] = _Pattern(matrix, offset, (side == 0).astype(np.float64), side)
        return self._patterns[key]
