"""The matrix that takes a state and the switching times of two paths to the states at the end of a tick.

Positions, velocities and accelerations are linear in powers of the time for which a jerk is on, so one product with a
constant matrix gives every blend of both paths at once.
"""

import numpy as np

from emo_face.core.types import Array
from emo_face.face.safety.fastest_stop import CURVE, PLACE, RATE, ROWS, SCALES

PULSES = 4
"""Switching times: the three of the fastest stop, and the end of full jerk towards the target."""
TERMS = 4 * PULSES + ROWS
"""Rows of what the matrix takes: signed third, second and first powers of the times left, the signs, the state."""


def tick_polynomial(blends: Array) -> Array:
    """(4, :data:`TERMS`, rows) P: the matrix of a tick of t seconds is P[0] + P[1] t + P[2] t^2 + P[3] t^3, transposed.

    Its rows give, each for :data:`~emo_face.face.safety.fastest_stop.SCALES`: k blends in [0, 1] (6 rows of
    k), the stop (7) and what full jerk is beyond the stop (7). The fastest stop starts with a jerk of -sigma and
    switches by +sigma, +sigma and -sigma; full jerk towards the target starts with +1 and switches off. A jerk that is
    on for a time t adds t^3 / 6, t^2 / 2 and t to position, velocity and acceleration. Only the terms from the signs
    on (3 * :data:`PULSES`) depend on t.
    """
    paths = np.zeros((4, 3, 2, TERMS))  # power of t; position, velocity, acceleration; after the stop, after full jerk
    for k, share in enumerate((1 / 6, 1 / 2, 1.0)):
        paths[0, k, 0, PULSES * k : PULSES * k + 3] = share, share, -share
        paths[0, k, 1, PULSES * k + 3] = -share
        paths[3 - k, k, 0, 3 * PULSES] = -share
        paths[3 - k, k, 1, 4 * PULSES - 1] = share
    state = 4 * PULSES
    for quantity, terms in enumerate((
        ((0, PLACE, 0.5), (1, RATE, 1.0), (2, CURVE, 0.5)), ((0, RATE, 1.0), (1, CURVE, 1.0)), ((0, CURVE, 1.0),)
    )):  # fmt: skip
        for power, row, share in terms:
            paths[power, quantity, :, state + row] = share
    mixed, ends = np.zeros((4, CURVE, blends.size, TERMS)), np.zeros((4, 2, ROWS, TERMS))
    for row, quantity, factor in SCALES:
        stop, full = factor * paths[:, quantity, 0], factor * paths[:, quantity, 1]
        ends[:, 0, row], ends[:, 1, row] = stop, full - stop
        if row != CURVE:
            mixed[:, row] = stop[:, None] + blends[:, None] * (full - stop)[:, None]
    rows = np.concatenate([mixed.reshape(4, -1, TERMS), ends.reshape(4, -1, TERMS)], axis=1)
    return np.ascontiguousarray(rows.transpose(0, 2, 1))
