"""The limiter: no limit is ever exceeded, targets are reached exactly, whatever comes in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_face.bench.probes import limit_check
from emo_face.face.safety.limiter import JerkLimiter

DT = 0.01


def random_limits(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """Rows of :func:`limit_check.random_limits`."""
    limits = limit_check.random_limits(rng, n)
    return limits.lower, limits.upper, limits.velocity, limits.acceleration, limits.jerk


class Watch:
    """Check positions by divided differences, an independent view: any smooth path inside the limits passes exactly."""

    def __init__(self, limiter: JerkLimiter) -> None:
        self.limiter = limiter
        self.x = [limiter.position]
        self.t = [0.0]
        self.worst = np.zeros(4)

    def add(self, x: np.ndarray, now: float) -> None:
        lim, xs, ts = self.limiter, self.x, self.t
        assert (x >= lim.lower).all(), f"below the range by {(lim.lower - x).max()}"
        assert (x <= lim.upper).all(), f"above the range by {(x - lim.upper).max()}"
        xs.append(x.copy())
        ts.append(now)
        del xs[:-4], ts[:-4]
        order = [xs]
        for k in range(1, len(xs)):
            gaps = [ts[i + k] - ts[i] for i in range(len(ts) - k)]
            order.append([(b - a) / g for a, b, g in zip(order[-1], order[-1][1:], gaps, strict=False)])
            derivative = np.abs(order[-1][-1]) * (1, 1, 2, 6)[k]
            limit = (lim.upper, lim.velocity, lim.acceleration, lim.jerk)[k]
            self.worst[k] = max(self.worst[k], (derivative / limit).max())
            assert (derivative <= limit).all(), f"derivative {k} exceeds its limit by {(derivative / limit).max()}"


def adversary(rng: np.random.Generator, lim: JerkLimiter, previous: np.ndarray, hold: float) -> np.ndarray:
    """Targets that hop between the ends, outside the range, to where the actuator is, and to where it would rest."""
    n = lim.size
    span = lim.upper - lim.lower
    choices = np.stack(
        [
            lim.lower,
            lim.upper,
            rng.uniform(lim.lower - span, lim.upper + span),
            lim.position,
            lim.resting_place(),
            lim.position + 1e-9 * span * rng.normal(size=n),
            1e12 * rng.normal(size=n) * span,
        ]
    )
    pick = choices[rng.integers(0, len(choices), n), np.arange(n)]
    return np.where(rng.random(n) < hold, pick, previous)


@pytest.mark.parametrize("hold", [1.0, 0.2, 0.03])
def test_no_limit_is_exceeded_by_over_a_million_adversarial_commands(hold: float) -> None:
    rng = np.random.default_rng(int(hold * 100))
    n, ticks = 1200, 300
    lim = JerkLimiter(*random_limits(rng, n), max_dt=DT)
    lim.reset(rng.uniform(lim.lower, lim.upper))
    watch, target = Watch(lim), lim.position
    for k in range(1, ticks + 1):
        target = adversary(rng, lim, target, hold)
        watch.add(lim.step(target, DT), k * DT)
    assert n * ticks * 3 > 1_000_000
    assert watch.worst[1] > 0.99, "the test must drive actuators to their velocity limit"
    assert watch.worst[2] > 0.99, "and to their acceleration limit"
    assert watch.worst[3] > 0.99, "and to their jerk limit"


def test_limits_hold_for_irregular_ticks() -> None:
    rng = np.random.default_rng(5)
    lower, upper, velocity, acceleration, jerk = random_limits(rng, 1000)
    lim = JerkLimiter(lower, upper, velocity, acceleration, jerk, max_dt=DT)
    lim.reset(rng.uniform(lim.lower, lim.upper))
    watch, target, now = Watch(lim), lim.position, 0.0
    for _ in range(400):
        dt = float(rng.choice([0.3 * DT, 0.7 * DT, DT, 1.7 * DT, 4 * DT]))
        now += dt
        target = adversary(rng, lim, target, 0.2)
        watch.add(lim.step(target, dt), now)


def test_arbitrary_moving_start_states_brake_inside_the_range() -> None:
    rng = np.random.default_rng(11)
    n = 50_000
    lim = JerkLimiter(*random_limits(rng, n), max_dt=DT)
    lim.reset(
        rng.uniform(lim.lower, lim.upper),
        rng.uniform(-1, 1, n) * lim.velocity,
        rng.uniform(-1, 1, n) * lim.acceleration,
    )
    start, rest = lim.position, lim.resting_place()
    turning = np.sqrt(2.0 / lim.jerk) * np.abs(lim.rate) ** 1.5  # farthest an already turning actuator still goes
    able = (np.minimum(start, rest) - turning >= lim.lower) & (np.maximum(start, rest) + turning <= lim.upper)
    assert able.sum() > 5000
    ends = np.where(rng.random(n) < 0.5, lim.lower - 1e6, lim.upper + 1e6)
    last, before = lim.rate, lim.curvature
    for _ in range(300):
        x = lim.step(ends, DT)
        assert (x[able] >= lim.lower[able]).all()
        assert (x[able] <= lim.upper[able]).all()
        assert (np.abs(lim.rate) <= lim.velocity).all()
        assert (np.abs(lim.curvature) <= lim.acceleration).all()
        assert (np.abs(lim.curvature - before) <= lim.jerk * DT).all()
        last, before = lim.rate, lim.curvature
    assert np.isfinite(last).all()


def test_a_start_outside_the_range_comes_back_and_never_moves_further_out() -> None:
    lim = JerkLimiter([-1, -1], [1, 1], [2, 2], [20, 20], [400, 400], DT)
    lim.reset([1.5, -3.0])
    previous = lim.position
    for _ in range(400):
        x = lim.step(np.array([5.0, 0.0]), DT).copy()
        assert x[0] <= previous[0]
        assert x[1] >= previous[1] or previous[1] >= -1.0
        previous = x
    np.testing.assert_allclose(previous, [1.0, 0.0], atol=1e-12)


def test_constant_targets_are_reached_exactly_without_overshoot_in_bounded_time() -> None:
    rng = np.random.default_rng(3)
    n = 2000
    lim = JerkLimiter(*random_limits(rng, n), max_dt=DT)
    lim.reset(rng.uniform(lim.lower, lim.upper))
    start, target = lim.position, rng.uniform(lim.lower, lim.upper)
    way = np.sign(target - start)
    v, a, j = lim.velocity, np.minimum(lim.acceleration, lim.velocity / DT), lim.jerk
    j = np.minimum(j, np.minimum(a / DT, 0.25 * v / DT**2))  # what ticks of this length can resolve
    bound = np.abs(target - start) / v + v / a + a / j  # the time-optimal move takes at most this
    ticks = np.ceil(1.08 * bound / DT).astype(int) + 20
    arrived = np.zeros(n, dtype=int)
    for k in range(1, int(ticks.max()) + 2):
        x = lim.step(target, DT).copy()
        over = (x - target) * way / (lim.upper - lim.lower)
        assert (over <= 1e-12).all(), f"overshoot of {over.max()} of the range"
        close = np.abs(x - target) <= 1e-6 * np.minimum(1.0, lim.upper - lim.lower)
        arrived = np.where(close & (arrived == 0), k, arrived)
    assert (arrived > 0).all(), "within 1e-6 of the target in finite time"
    assert (arrived <= ticks).all(), "close to the time-optimal bound"
    np.testing.assert_array_equal(lim.rate, 0.0)


def test_it_is_close_to_time_optimal() -> None:
    """A rest-to-rest move of 1 under jerk 32 alone takes exactly (32 / 32)^(1/3) = 1 s."""
    lim = JerkLimiter([0], [2], [100], [1000], [32.0], DT)
    lim.reset([0.5])
    ticks = 0
    while abs(lim.position[0] - 1.5) > 1e-3:
        lim.step(np.array([1.5]), DT)
        ticks += 1
    assert 0.8 <= ticks * DT <= 1.05


def test_the_first_tick_after_a_target_moves() -> None:
    lim = JerkLimiter([0], [1], [5], [60], [1500], DT)
    lim.reset([0.2])
    assert lim.step(np.array([0.9]), DT)[0] > 0.2


def test_no_time_means_no_motion_and_long_ticks_are_split() -> None:
    lim = JerkLimiter([0], [1], [5], [60], [1500], DT)
    lim.reset([0.2])
    np.testing.assert_array_equal(lim.step(np.array([0.9]), 0.0), [0.2])
    np.testing.assert_array_equal(lim.step(np.array([0.9]), -1.0), [0.2])
    whole = lim.step(np.array([0.9]), 5 * DT).copy()
    other = JerkLimiter([0], [1], [5], [60], [1500], DT)
    other.reset([0.2])
    for _ in range(5):
        parts = other.step(np.array([0.9]), DT)
    np.testing.assert_allclose(whole, parts, atol=1e-12)


number = st.floats(-1e3, 1e3)
positive = st.floats(1e-3, 1e4)


@settings(max_examples=60, deadline=None)
@given(
    number,
    positive,
    positive,
    positive,
    positive,
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=5, max_size=60),
)
def test_any_limits_and_targets(low: float, span: float, v: float, a: float, j: float, targets: list[float]) -> None:
    lim = JerkLimiter([low], [low + span], [v], [a], [j], DT)
    lim.reset([low])
    for target in targets:
        x = lim.step(np.array([target]), DT)
        assert low <= x[0] <= low + span
        assert abs(lim.rate[0]) <= v
        assert abs(lim.curvature[0]) <= a


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lower": [1.0]}, "lower < upper"),
        ({"jerk": [0.0]}, "positive"),
        ({"velocity": [float("inf")]}, "finite"),
        ({"upper": [1.0, 2.0]}, "one length"),
        ({"max_dt": 0.0}, "max_dt"),
    ],
)
def test_bad_limits_are_refused(change: dict[str, object], message: str) -> None:
    good = {"lower": [0.0], "upper": [1.0], "velocity": [1.0], "acceleration": [1.0], "jerk": [1.0], "max_dt": DT}
    with pytest.raises(ValueError, match=message):
        JerkLimiter(**{**good, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bad_start_states_are_refused(bad: float) -> None:
    lim = JerkLimiter([0], [1], [1], [1], [1], DT)
    with pytest.raises(ValueError, match="finite"):
        lim.reset([bad])
    with pytest.raises(ValueError, match="broadcast"):
        lim.reset([0.0, 0.0])
