"""The limiter against a textbook reference: one actuator, scalars, integrated jerk by jerk; compared tick by tick."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from emo_face.face.safety.buffers import KNOTS
from emo_face.face.safety.limiter import JerkLimiter

State = tuple[float, float, float]  # position, velocity, acceleration, all divided by the jerk limit


def move(state: State, phases: list[tuple[float, float]], dt: float) -> State:
    """Integrate (jerk, seconds) one after the other for ``dt`` seconds; what is left has no jerk."""
    p, v, a = state
    for jerk, span in [*phases, (0.0, math.inf)]:
        t = min(span, dt)
        p, v, a = p + v * t + a * t * t / 2 + jerk * t**3 / 6, v + a * t + jerk * t * t / 2, a + jerk * t
        dt -= t
    return p, v, a


def stop(state: State, most: float) -> list[tuple[float, float]]:
    """The fastest stop: jerk against the motion, a cruise at the acceleration limit ``most``, jerk back."""
    _, v, a = state
    sign = math.copysign(1.0, v + a * abs(a) / 2)
    q = sign * v + a * a / 2
    c = max(min(math.sqrt(max(q, 0.0)), most), 1e-150)
    return [(-sign, max(sign * a + c, 0.0)), (0.0, max(q / c - c, 0.0)), (sign, c)]


def rest(state: State, most: float) -> float:
    """Where the fastest stop ends."""
    phases = stop(state, most)
    return move(state, phases, sum(span for _, span in phases))[0]


def tick(state: State, goal: float, dt: float, most: float, fastest: float) -> State:
    """The largest blend of stopping and of full jerk to the goal that rests at or before it, inside the limits."""
    to = math.copysign(1.0, goal - rest(state, most))
    slow = move(state, stop(state, most), dt)
    fast = move(state, [(to, max(most - to * state[2], 0.0))], dt)
    blends = [tuple(b + w * (e - b) for b, e in zip(slow, fast, strict=True)) for w in KNOTS]
    limits = (([rest(b, most) for b in blends], goal), ([b[1] + b[2] * abs(b[2]) / 2 for b in blends], to * fastest))
    shares = []
    for values, bound in limits:
        pieces = zip(itertools.pairwise(KNOTS), itertools.pairwise(values), strict=True)
        room = [(hi - lo) * min(max((bound - x) / (y - x + to * 1e-30), 0.0), 1.0) for (lo, hi), (x, y) in pieces]
        shares.append(sum(room))
    w = min(shares)
    new = tuple(b + w * (e - b) for b, e in zip(slow, fast, strict=True))
    beyond = (rest(new, most) - goal) * to > 1e-12 * max(1.0, abs(goal))
    return slow if beyond else new  # type: ignore[return-value]


@pytest.mark.parametrize("seed", range(6))
def test_every_tick_is_the_references(seed: int) -> None:
    rng = np.random.default_rng(seed)
    span, velocity = rng.uniform(1, 10), rng.uniform(0.5, 5)
    limiter = JerkLimiter(-span, span, velocity, rng.uniform(1, 60), rng.uniform(20, 3000), max_dt=0.0125)
    jerk, most, fastest = (float(x[0]) for x in (limiter._jerk, limiter._amax, limiter._vmax))
    state: State = (0.0, 0.0, 0.0)
    target, dt = 0.0, 0.01
    for k in range(400):
        if k % int(rng.integers(5, 60)) == 0:
            target = float(rng.uniform(-1.2, 1.2)) * span
        if k % 50 == 0:
            dt = float(rng.uniform(0.002, 0.0125))
        state = tick(state, min(max(target, -span), span) / jerk, dt, most, fastest)
        limiter.step(np.array([target]), dt)
        seen = limiter.position[0], limiter.rate[0], limiter.curvature[0]
        wanted = tuple(float(x) * jerk for x in state)
        assert seen[0] == pytest.approx(wanted[0], abs=1e-6 * span), k
        assert seen[1] == pytest.approx(wanted[1], abs=1e-4 * velocity), k
        state = tuple(x / jerk for x in (limiter.position[0], limiter.rate[0], limiter.curvature[0]))  # type: ignore[assignment]


@pytest.mark.parametrize("seed", range(4))
def test_braking_over_a_gap_is_the_references_stop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(30):
        limiter = JerkLimiter(-9, 9, rng.uniform(0.5, 5), rng.uniform(1, 60), rng.uniform(20, 3000), max_dt=0.0125)
        for _ in range(int(rng.integers(1, 60))):
            limiter.step(np.array([rng.choice([-9.0, 9.0])]), 0.01)
        jerk, most = float(limiter._jerk[0]), float(limiter._amax[0])
        state: State = tuple(x / jerk for x in (limiter.position[0], limiter.rate[0], limiter.curvature[0]))  # type: ignore[assignment]
        gap = float(10 ** rng.uniform(-3, 1))
        wanted = move(state, stop(state, most), gap)
        assert limiter.brake(gap)[0] == pytest.approx(wanted[0] * jerk, abs=1e-9)
        assert limiter.rate[0] == pytest.approx(wanted[1] * jerk, abs=1e-7)
