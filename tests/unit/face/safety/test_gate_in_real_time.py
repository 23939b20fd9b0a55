"""The gate's promise at the real times of the ticks: hostile clocks, three rigs and random ones (short form).

The long form is `emo-face bench safety`; its committed result stands in docs/benchmarks.md.
"""

from __future__ import annotations

import numpy as np
import pytest

from emo_face.bench.probes.real_time_gate import CLOCKS, RIGS, Watched, drive, random_gate, shares, try_clocks
from emo_face.face.rig import load_rig
from emo_face.face.safety import CATCH_UP, GateState


def test_no_limit_is_broken_at_the_times_of_the_ticks() -> None:
    seen = try_clocks(4_000, seed=3, stretch=200)
    assert seen.ticks >= 4_000
    assert seen.violations == 0, seen.worst
    assert min(seen.worst[name] for name in ("velocity", "acceleration", "jerk")) > 0.9, "they are used"


@pytest.mark.parametrize("clock", CLOCKS)
def test_random_rigs(clock: str) -> None:
    seen, rng = Watched(), np.random.default_rng(11)
    for _ in range(4):
        drive(random_gate(rng), rng, clock, 150, seen)
    assert seen.violations == 0, seen.worst


def test_a_path_that_breaks_a_limit_is_seen() -> None:
    limits = load_rig("minimal_4servo").limits
    times = np.arange(5) * 0.01
    path = np.repeat(limits.neutral[None], 5, axis=0)
    path[3, 0] += 1.01 * limits.velocity[0] * 0.01
    used = shares(times, path, limits)
    assert used["velocity"].max() == pytest.approx(1.01)
    assert used["jerk"].max() > 1


@pytest.mark.parametrize("name", RIGS)
@pytest.mark.parametrize("periods", [CATCH_UP + 0.5, 8, 40, 1e9])
def test_after_a_gap_the_path_has_braked_and_its_step_is_bounded(name: str, periods: float) -> None:
    rig = load_rig(name)
    gate, now = rig.gate(0.01), 0.0
    gate.enable(rig.limits.lower, now)
    while np.abs(gate.velocity).max() == 0 or now < 0.15:
        gate.command(rig.limits.upper, now, now, smooth=True)
        now += 0.01
        gate.tick(now)
    before, moving = gate.position, gate.velocity
    now += periods * 0.01
    after = gate.tick(now).position
    assert gate.late_ticks == 1
    assert (np.abs(after - before) <= rig.limits.stopping_distance * (1 + 1e-9)).all()
    assert (np.abs(gate.velocity) <= np.abs(moving) + 1e-6 * rig.limits.velocity).all()
    if periods > 1000:
        assert not gate.velocity.any(), "at rest where the brake ended"
        gate.command(rig.limits.upper, now, now, smooth=True)
        first = gate.tick(now + 0.01).position - after
        assert (np.abs(first) <= rig.limits.jerk * 0.01**3 / 6 * (1 + 1e-6)).all(), "and starts again from rest"


def test_a_stop_that_holds_brakes_over_a_gap_too() -> None:
    rig = load_rig("head_12servo")
    gate, now = rig.gate(0.01), 0.0
    gate.enable(rig.limits.lower, now)
    for _ in range(12):
        now += 0.01
        gate.command(rig.limits.upper, now, now, smooth=True)
        gate.tick(now)
    gate.estop()
    out = gate.tick(now + 5.0)
    assert (out.state, out.torque) == (GateState.ESTOP, True)
    assert not gate.moving
    np.testing.assert_allclose(gate.tick(now + 5.01).position, out.position)
