"""Small time functions that several layers share."""

import math


def minimum_jerk(share: float) -> float:
    """Share of the way after ``share`` of the time, both in [0, 1]; at rest at both ends (Flash and Hogan 1985)."""
    s = min(1.0, max(0.0, share))
    return s * s * s * (10.0 + s * (6.0 * s - 15.0))


def relax(dt: float, tau: float) -> float:
    """Share of the remaining way that a first-order lag of time constant ``tau`` goes in ``dt`` seconds, in [0, 1]."""
    return 1.0 - math.exp(-max(0.0, dt) / tau)
