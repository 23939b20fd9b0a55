"""The safety gate: what may not come in is counted and dropped, what goes out keeps every limit and every rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_face.face.safety.gate import CATCH_UP, SafetyGate
from emo_face.face.safety.interlocks import Dwell, Interlock
from emo_face.face.safety.limits import ActuatorLimits
from emo_face.face.safety.state import EstopAction, GateState

DT = 0.01
NAN, INF = float("nan"), float("inf")


def limits(n: int = 3, **change: object) -> ActuatorLimits:
    values = {"lower": -1.0, "upper": 1.0, "velocity": 5.0, "acceleration": 60.0, "jerk": 1500.0, **change}
    return ActuatorLimits.of([f"a{i}" for i in range(n)], **values)  # type: ignore[arg-type]


def enabled(n: int = 3, **options: object) -> SafetyGate:
    gate = SafetyGate(limits(n), period=DT, **options)  # type: ignore[arg-type]
    gate.enable(np.zeros(n), 0.0)
    return gate


def run(gate: SafetyGate, start: float, seconds: float, target: object = None) -> float:
    now = start
    for k in range(1, round(seconds / DT) + 1):
        now = start + k * DT
        if target is not None:
            gate.command(target, now, now)  # type: ignore[arg-type]
        gate.tick(now)
    return now


@pytest.mark.parametrize(
    ("position", "stamp", "valid_for", "reason"),
    [
        ([NAN, 0, 0], 1.0, None, "nonfinite"),
        ([INF, 0, 0], 1.0, None, "nonfinite"),
        ([0, 0], 1.0, None, "length"),
        (np.zeros((3, 1)), 1.0, None, "length"),
        ([], 1.0, None, "length"),
        (["x", 0, 0], 1.0, None, "nonfinite"),
        ({"a0": 0.1, "nose": 0.2}, 1.0, None, "unknown"),
        ({}, 1.0, None, "unknown"),
        ({"a0": NAN}, 1.0, None, "nonfinite"),
        ({"a0": None}, 1.0, None, "nonfinite"),
        ([0, 0, 0], NAN, None, "stamp"),
        ([0, 0, 0], -INF, None, "stamp"),
        ([0, 0, 0], -5.0, None, "stale"),
        ([0, 0, 0], 0.5, 0.2, "stale"),
        ([0, 0, 0], 9.0, None, "future"),
        ([0, 0, 0], 1.0, 0.0, "valid_for"),
        ([0, 0, 0], 1.0, -1.0, "valid_for"),
        ([0, 0, 0], 1.0, NAN, "valid_for"),
    ],
)
def test_bad_commands_are_dropped_and_counted(
    position: object, stamp: float, valid_for: float | None, reason: str
) -> None:
    gate = enabled()
    assert gate.command([0.5, 0.5, 0.5], 0.9, 0.95)
    before = run(gate, 0.95, 0.05)
    assert gate.command(position, stamp, before, valid_for) is False  # type: ignore[arg-type]
    assert gate.rejected == {reason: 1}
    run(gate, before, 0.8)
    np.testing.assert_allclose(gate.position, 0.5, atol=1e-9, err_msg="the good command stays in force")


def test_the_newest_stamp_wins_and_backward_stamps_are_counted() -> None:
    gate = enabled()
    assert gate.command([0.4] * 3, 1.00, 1.01)
    assert not gate.command([-0.9] * 3, 0.98, 1.02)
    assert gate.rejected["backwards"] == 1
    assert gate.command([0.4] * 3, 1.00, 1.02), "the same stamp again is not older"


def test_a_clock_that_jumps_back_does_not_block_new_commands() -> None:
    gate = enabled()
    run(gate, 1000.0, 0.5, [0.5] * 3)
    place = gate.position
    np.testing.assert_array_equal(gate.tick(2.0).position, place, "a backward tick moves nothing")
    assert gate.command([0.1] * 3, 2.0, 2.0)
    run(gate, 2.0, 1.0, [0.1] * 3)
    np.testing.assert_allclose(gate.position, 0.1, atol=1e-9)


def test_values_outside_the_range_are_cut_and_counted() -> None:
    gate = enabled()
    run(gate, 0.0, 1.5, [7.0, -7.0, 0.0])
    np.testing.assert_allclose(gate.position, [1, -1, 0], atol=1e-9)
    assert gate.clamped == 150


def test_a_partial_command_leaves_the_others_where_they_are() -> None:
    gate = enabled()
    end = run(gate, 0.0, 1.0, [0.5, -0.5, 0.2])
    run(gate, end, 1.0, {"a1": 0.4})
    np.testing.assert_allclose(gate.position, [0.5, 0.4, 0.2], atol=1e-9)


def test_the_watchdog_eases_to_neutral_in_neutral_time() -> None:
    gate = SafetyGate(limits(neutral=0.1), period=DT, timeout=0.5, neutral_time=1.0)
    gate.enable(np.zeros(3), 0.0)
    end = run(gate, 0.0, 1.0, [0.9, -0.9, 0.5])
    assert gate.state is GateState.ACTIVE
    half = run(gate, end, 1.0)
    assert gate.state is GateState.STALE
    assert 0.3 < gate.position[0] < 0.7, "halfway after timeout + neutral_time / 2"
    run(gate, half, 1.2)
    np.testing.assert_allclose(gate.position, 0.1, atol=1e-9)
    assert gate.command([0.5] * 3, 4.0, 4.0)
    gate.tick(4.0)
    assert gate.state is GateState.ACTIVE, "a fresh command wakes it"


def test_valid_for_shortens_the_watchdog() -> None:
    gate = enabled(timeout=1.0)
    gate.command([0.5] * 3, 0.0, 0.0, valid_for=0.1)
    assert gate.tick(0.09).state is GateState.ACTIVE
    assert gate.tick(0.11).state is GateState.STALE


def test_nothing_moves_before_enable_and_enable_starts_from_the_present_pose() -> None:
    gate = SafetyGate(limits(), period=DT)
    assert not gate.command([0.9] * 3, 0.0, 0.0)
    assert gate.rejected == {"disabled": 1}
    output = gate.tick(0.01)
    assert not output.torque
    gate.enable([0.7, -0.2, 0.0], 0.02)
    np.testing.assert_allclose(gate.tick(0.03).position, [0.7, -0.2, 0.0], atol=1e-9)


@pytest.mark.parametrize("bad", [[NAN, 0, 0], [0, 0], [INF] * 3])
def test_enable_with_a_bad_pose_keeps_torque_off(bad: list[float]) -> None:
    gate = SafetyGate(limits(), period=DT)
    with pytest.raises(ValueError, match=r"finite|broadcast"):
        gate.enable(bad, 0.0)
    assert not gate.tick(0.01).torque


@pytest.mark.parametrize("action", list(EstopAction))
def test_estop_during_a_transition_is_latched(action: EstopAction) -> None:
    gate = enabled(estop_action=action)
    end = run(gate, 0.0, 0.15, [1.0] * 3)
    speed = gate.velocity[0]
    assert speed > 1.0, "the test stops a moving face"
    gate.estop()
    output = gate.tick(end + DT)
    assert output.torque is (action is EstopAction.HOLD)
    assert not gate.command([-1.0] * 3, end, end)
    assert gate.rejected["estop"] == 1
    stopped = run(gate, end, 0.5)
    place = gate.position
    if action is EstopAction.HOLD:
        assert gate.velocity[0] == 0.0
        assert place[0] - output.position[0] < speed**2 / (2 * 60) + speed * 60 / 1500 + 0.05, (
            "brakes as hard as it may"
        )
    with pytest.raises(RuntimeError, match="latched"):
        gate.enable(place, stopped)
    gate.disable()
    assert gate.tick(stopped + DT).state is GateState.ESTOP, "disable does not clear the latch"
    gate.clear_estop()
    assert not gate.tick(stopped + 3 * DT).torque, "clearing the latch does not switch torque on"
    gate.enable(place, stopped + 4 * DT)
    assert gate.tick(stopped + 5 * DT).torque


def test_the_dead_band_swallows_noise_but_not_a_standing_command() -> None:
    gate = SafetyGate(limits(1, deadband=0.02), period=DT, settle_time=0.5)
    gate.enable([0.0], 0.0)
    end = run(gate, 0.0, 1.5, [0.5])
    rng = np.random.default_rng(0)
    places = []
    for k in range(1, 300):
        now = end + k * DT
        gate.command([0.5 + float(rng.uniform(-0.015, 0.015))], now, now)
        places.append(gate.tick(now).position[0])
    assert np.ptp(places) == 0.0, "a servo must not hum in the noise"
    end += 3.0
    run(gate, end, 1.5, [0.51])
    np.testing.assert_allclose(gate.position, 0.51, atol=1e-6)


def test_a_late_tick_catches_up_only_a_little() -> None:
    gate = enabled(timeout=10.0)
    gate.command([1.0] * 3, 0.0, 0.0)
    gate.tick(DT)
    before = gate.position[0]
    gate.tick(DT + 3.0)
    assert gate.late_ticks == 1
    assert gate.position[0] - before <= 5.0 * CATCH_UP * DT


def test_interlock_the_forbidden_pair_never_occurs() -> None:
    """Lids closed beyond 0.8: brows stay within half their range. Random targets, 40 heads, all the time."""
    heads, rng = 40, np.random.default_rng(2)
    names = [f"{kind}{i}" for i in range(heads) for kind in ("lid", "brow")]
    lim = ActuatorLimits.of(names, lower=-1, upper=1, velocity=5, acceleration=60, jerk=1500)
    rules = [Interlock(f"lid{i}", 0.8, f"brow{i}", -0.5, 0.5) for i in range(heads)]
    gate = SafetyGate(lim, period=DT, interlocks=rules)
    gate.enable(np.zeros(2 * heads), 0.0)
    target, closed, wide = np.zeros(2 * heads), np.zeros(heads, bool), np.zeros(heads, bool)
    for k in range(1, 3000):
        target = np.where(rng.random(2 * heads) < 0.02, rng.choice([-1.0, 0.0, 0.7, 1.0], 2 * heads), target)
        gate.command(target, k * DT, k * DT)
        place = gate.tick(k * DT).position
        lid, brow = place[0::2], place[1::2]
        assert not ((lid > 0.8) & (np.abs(brow) > 0.5)).any()
        closed |= lid > 0.95
        wide |= np.abs(brow) > 0.9
    assert closed.all(), "no lid may wait for ever"
    assert wide.all(), "nor may a brow"


def test_interlocks_in_a_chain_never_break_each_other() -> None:
    """a beyond 0.5 needs b in 0.6..1, b beyond 0.4 needs c in -0.3..0.3: each waits for the next."""
    sets, rng = 12, np.random.default_rng(8)
    names = [f"{kind}{i}" for i in range(sets) for kind in "abc"]
    lim = ActuatorLimits.of(names, lower=-1, upper=1, velocity=5, acceleration=60, jerk=1500)
    rules = [Interlock(f"a{i}", 0.5, f"b{i}", 0.6, 1.0) for i in range(sets)]
    rules += [Interlock(f"b{i}", 0.4, f"c{i}", -0.3, 0.3) for i in range(sets)]
    gate = SafetyGate(lim, period=DT, interlocks=rules)
    gate.enable(np.zeros(3 * sets), 0.0)
    target, reached = np.zeros(3 * sets), np.zeros(sets, bool)
    for k in range(1, 3000):
        target = np.where(rng.random(3 * sets) < 0.02, rng.uniform(-1.0, 1.0, 3 * sets), target)
        gate.command(target, k * DT, k * DT)
        a, b, c = gate.tick(k * DT).position.reshape(sets, 3).T
        assert not ((a > 0.5) & (b < 0.6)).any()
        assert not ((b > 0.4) & (np.abs(c) > 0.3)).any()
        reached |= a > 0.6
    assert reached.all()


def test_interlock_from_a_forbidden_start_state_recovers() -> None:
    lim = ActuatorLimits.of(["lid", "brow"], lower=-1, upper=1, velocity=5, acceleration=60, jerk=1500)
    gate = SafetyGate(lim, period=DT, interlocks=[Interlock("lid", 0.8, "brow", -0.5, 0.5)])
    gate.enable([1.0, 1.0], 0.0)
    run(gate, 0.0, 1.0, [1.0, 1.0])
    np.testing.assert_allclose(gate.position, [1.0, 0.5], atol=1e-8)
    assert gate.held_by_rules == 1


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_dwell_the_jaw_is_never_wide_open_for_longer_than_allowed(side: float) -> None:
    lim = ActuatorLimits.of(["jaw"], lower=-1, upper=1, velocity=5, acceleration=60, jerk=1500)
    gate = SafetyGate(lim, period=DT, dwells=[Dwell("jaw", 0.8 * side, 1.0, 0.5, above=side > 0)])
    gate.enable([0.0], 0.0)
    rng = np.random.default_rng(4)
    past = np.zeros(6000, bool)
    target = side
    for k in range(1, 6000):
        if k > 3000 and rng.random() < 0.05:
            target = float(rng.uniform(-1, 1))
        gate.command([target], k * DT, k * DT)
        past[k] = side * gate.tick(k * DT).position[0] > 0.8
    edges = np.flatnonzero(np.diff(past.astype(int)))
    starts, ends = edges[0::2], edges[1::2]
    held = (ends - starts[: len(ends)]) * DT
    assert held.max() <= 1.0
    assert held.max() > 0.4, "and the rule does not forbid opening"
    forced = held > 0.4
    rests = (starts[1:] - ends[: len(starts) - 1]) * DT
    assert (rests[forced[: len(rests)]] >= 0.5 - DT).all()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"interlocks": [Interlock("a0", 0.5, "nose", 0, 1)]}, "unknown actuator 'nose'"),
        ({"interlocks": [Interlock("a0", 0.5, "a1", -2, 1)]}, "not inside"),
        ({"interlocks": [Interlock("a0", 0.5, "a0", -0.5, 1)]}, "itself"),
        ({"interlocks": [Interlock("a0", 0.5, "a1", -1, 0), Interlock("a2", 0.5, "a1", 0.1, 1)]}, "no common range"),
        ({"dwells": [Dwell("a0", 0.5, 0.01, 0.5)]}, "max_s"),
        ({"dwells": [Dwell("a0", 3.0, 5.0, 0.5)]}, "threshold"),
        ({"period": 0.0}, "period"),
        ({"neutral_time": NAN}, "neutral_time"),
        ({"estop_action": "panic"}, "panic"),
    ],
)
def test_bad_configurations_are_refused(rules: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SafetyGate(limits(), **{"period": DT, **rules})  # type: ignore[arg-type]


anything = st.floats(allow_nan=True, allow_infinity=True)
action = st.one_of(
    st.tuples(st.just("command"), st.lists(anything, min_size=2, max_size=4), anything, anything),
    st.tuples(st.just("tick"), st.floats(-0.1, 0.5), st.none(), st.none()),
    st.tuples(st.sampled_from(["estop", "clear", "disable", "neutral"]), st.none(), st.none(), st.none()),
    st.tuples(st.just("enable"), st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.none(), st.none()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(action, max_size=40))
def test_no_sequence_of_calls_breaks_it(actions: list[tuple[str, object, object, object]]) -> None:
    gate, now = enabled(), 0.0
    for kind, first, second, third in actions:
        if kind == "command":
            stamp = now if not math.isfinite(second) else second  # type: ignore[arg-type]
            gate.command(first, stamp, now, third)  # type: ignore[arg-type]
        elif kind == "tick":
            now += first  # type: ignore[operator]
        elif kind == "enable" and gate.state is not GateState.ESTOP:
            gate.enable(first, now)  # type: ignore[arg-type]
        elif kind in ("estop", "disable"):
            getattr(gate, kind)()
        elif kind == "clear":
            gate.clear_estop()
        elif kind == "neutral":
            gate.neutral(now)
        output = gate.tick(now)
        assert np.isfinite(output.position).all()
        assert (np.abs(output.position) <= 1.0).all()
        assert (np.abs(gate.velocity) <= 5.0).all()
        assert output.torque is (gate.state in (GateState.ACTIVE, GateState.STALE))
