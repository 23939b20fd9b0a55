"""Small box-constrained quadratic programs, solved exactly by block principal pivoting."""

import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import FloatArray

_FULL_EXCHANGES = 10
_MAX_STEPS = 2000


def solve_box_qp(
    hessian: FloatArray, linear: FloatArray, start: FloatArray | None = None, tolerance: float = 1e-9
) -> FloatArray:
    """Minimise ``x' H x / 2 - g' x`` over 0 <= x <= 1.

    Block principal pivoting: all coordinates that break the optimality conditions change sides at once; when that
    stops helping, only the last one does, which is finite for a positive definite H. Source: J. Judice and F. Pires,
    "A block principal pivoting algorithm for large-scale strictly monotone LCPs", Computers & OR 21 (1994).

    Args:
        hessian: (n, n) symmetric positive definite.
        linear: (n,) g.
        start: (n,) an earlier solution; its coordinates strictly inside the box start free. Speed only.
        tolerance: how far, relative to the largest entry of g, a coordinate may break the conditions.

    Returns:
        (n,) the minimiser, each coordinate in [0, 1].

    Raises:
        ArithmeticError: not solved within 2000 exchanges, which a positive definite H cannot cause.
    """
    n = len(linear)
    side = np.zeros(n, dtype=np.int8)  # -1 at 0, 0 free, +1 at 1
    if start is not None:
        side[start <= 0] = -1
        side[start >= 1] = 1
    slack = tolerance * max(1.0, float(np.abs(linear).max(initial=0.0)))
    fewest, chances = n + 1, _FULL_EXCHANGES
    for _ in range(_MAX_STEPS):
        x, gradient = _stationary(hessian, linear, side)
        wanted = _exchange(x, gradient, side, slack)
        broken = np.flatnonzero(wanted != side)
        if broken.size == 0:
            return np.clip(x, 0.0, 1.0)
        if broken.size < fewest:
            fewest, chances = broken.size, _FULL_EXCHANGES
        elif chances > 0:
            chances -= 1
        else:
            broken = broken[-1:]
        side[broken] = wanted[broken]
    raise ArithmeticError(f"box-constrained least squares not solved in {_MAX_STEPS} exchanges")


def _stationary(hessian: FloatArray, linear: FloatArray, side: NDArray[np.int8]) -> tuple[FloatArray, FloatArray]:
    """The minimiser over the free coordinates with the others at their bound, and the gradient there."""
    x = (side == 1).astype(np.float64)
    free = np.flatnonzero(side == 0)
    if free.size:
        right = linear[free] - hessian[free] @ x
        x[free] = np.linalg.solve(hessian[np.ix_(free, free)], right)
    return x, hessian @ x - linear


def _exchange(x: FloatArray, gradient: FloatArray, side: NDArray[np.int8], slack: float) -> NDArray[np.int8]:
    """The side each coordinate asks for; equal to ``side`` at the optimum."""
    wanted = side.copy()
    wanted[(side == 0) & (x < -1e-12)] = -1
    wanted[(side == 0) & (x > 1 + 1e-12)] = 1
    wanted[(side == -1) & (gradient < -slack)] = 0
    wanted[(side == 1) & (gradient > slack)] = 0
    return wanted
