"""Drive safety gates with hostile clocks and commands, and look at their paths at the real times of the ticks.

A path inside its limits at every instant has its divided differences inside them too, whatever the spacing of the
samples: |f[t0,t1]| <= V, 2 |f[t0..t2]| <= A, 6 |f[t0..t3]| <= J. The motors live in the time that is handed to
``tick``, so that is the one that counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from emo_face.core.types import Array
from emo_face.face.rig import load_rig
from emo_face.face.safety import ActuatorLimits, EstopAction, GateState, SafetyGate

T = TypeVar("T")

RIGS = ("minimal_4servo", "head_12servo", "head_25channel")
CLOCKS = ("on time", "early and late", "very late", "gaps", "stalls")
TOLERANCE = 1e-6
SHORTEST = 2e-5  # s; below this spacing rounding says more than the path


ORDERS = ("velocity", "acceleration", "jerk")


@dataclass
class Watched:
    """Ticks looked at, ticks that broke a limit, and the largest share used of each limit."""

    ticks: int = 0
    violations: int = 0
    worst: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("position", *ORDERS), 0.0))


def shares(times: Array, path: Array, limits: ActuatorLimits) -> dict[str, Array]:
    """Name of a limit -> share of it that each tick used: ``path`` (k, n) at ``times`` (k,), ascending."""
    rounding = 4 * np.finfo(float).eps * np.maximum(np.abs(limits.lower), np.abs(limits.upper))
    outside = (path < limits.lower) | (path > limits.upper) | ~np.isfinite(path)
    used = {"position": np.asarray(2.0 * outside.any(axis=1), np.float64)}
    table = path
    for order, name in enumerate(ORDERS, 1):
        if len(times) <= order:
            break
        span = times[order:] - times[:-order]
        table = order * np.diff(table, axis=0) / span[:, None]
        shortest = np.min([np.diff(times)[k : len(times) - order + k] for k in range(order)], axis=0)
        room = 2.0 ** (2 * order - 1) * rounding / np.maximum(shortest, SHORTEST)[:, None] ** order
        share = ((np.abs(table) - room) / getattr(limits, name)).max(axis=1)
        used[name] = np.where(shortest < SHORTEST, 0.0, share)
    return used


def random_gate(rng: np.random.Generator) -> SafetyGate:
    """1 to 25 actuators with limits over many orders of magnitude."""
    n = int(rng.integers(1, 26))
    middle = rng.choice([0, 1, 2048, 1500, 1e6, -1e3], n) * rng.random(n)
    span = 10 ** rng.uniform(-4, 4, n)
    lower, upper = middle - span * rng.uniform(0.01, 1, n), middle + span * rng.uniform(0.01, 1, n)
    velocity = (upper - lower) * 10 ** rng.uniform(-2, 2, n)
    acceleration = velocity * 10 ** rng.uniform(-1, 3, n)
    limits = ActuatorLimits.of(
        [f"a{i}" for i in range(n)],
        lower=lower,
        upper=upper,
        neutral=rng.uniform(lower, upper),
        velocity=velocity,
        acceleration=acceleration,
        jerk=acceleration * 10 ** rng.uniform(-1, 4, n),
    )
    period = float(rng.choice([0.001, 0.005, 0.01, 0.02, 0.1]))
    return SafetyGate(
        limits,
        period=period,
        timeout=rng.uniform(0.05, 1),
        estop_action=EstopAction(rng.choice(["hold", "torque_off"])),
    )


def spacing(clock: str, rng: np.random.Generator) -> float:
    """Periods until the next tick."""
    if clock == "early and late":
        return float(rng.uniform(0.3, 1.25))
    if clock == "very late":
        return float(rng.uniform(0.05, 4.0))
    if clock == "gaps":
        return float(_pick(rng, (1, 1, 1, 1, 1, 1, 1, 5, 8, 20, 1000)))
    if clock == "stalls":  # any length, around the one from which on the path brakes, and jitter between
        return float(10 ** rng.uniform(0.5, 1.5)) if rng.random() < 0.3 else float(rng.uniform(0.2, 4.5))
    return 1.0


def drive(gate: SafetyGate, rng: np.random.Generator, clock: str, ticks: int, seen: Watched) -> None:
    """``ticks`` ticks of one gate under hostile commands, stops and enables."""
    limits, now, times, path = gate.limits, float(rng.choice([0.0, 1e3])), list[float](), list[Array]()

    def look() -> None:
        if len(times) > 1:
            used = shares(np.array(times), np.array(path), limits)
            broken = np.zeros(len(times), dtype=bool)
            for name, share in used.items():
                seen.worst[name] = max(seen.worst[name], float(share.max(initial=0.0)))
                broken[len(times) - len(share) :] |= share > 1 + TOLERANCE
            seen.violations += int(broken.sum())
        times.clear()
        path.clear()

    gate.enable(rng.uniform(limits.lower, limits.upper), now)
    for _ in range(ticks):
        for _ in range(_pick(rng, (0, 1, 1, 1, 3))):
            _command(gate, rng, now)
        event = rng.random()
        for share, act in ((0.004, gate.estop), (0.010, gate.clear_estop), (0.013, gate.disable)):
            if event < share:
                act()
                break
        if gate.state is GateState.DISABLED and rng.random() < 0.3:
            look()
            gate.enable(rng.uniform(limits.lower, limits.upper), now)
        now += gate.period * spacing(clock, rng)
        position, torque, _ = gate.tick(now)
        seen.ticks += 1
        if not torque:
            look()
            continue
        times.append(now)
        path.append(position)
    look()


def try_clocks(ticks: int, seed: int = 1, stretch: int = 500) -> Watched:
    """At least ``ticks`` ticks over the shipped rigs and random ones, each with every clock."""
    rng, seen = np.random.default_rng(seed), Watched()
    while seen.ticks < ticks:
        for name in (*RIGS, ""):
            for clock in CLOCKS:
                gate = load_rig(name).gate(float(rng.choice([0.005, 0.01, 1 / 60]))) if name else random_gate(rng)
                drive(gate, rng, clock, stretch, seen)
    return seen


def _command(gate: SafetyGate, rng: np.random.Generator, now: float) -> None:
    """One command, half of them hostile."""
    lower, upper, kind = gate.limits.lower, gate.limits.upper, _pick(rng, range(5))
    if kind == 1:
        place = lower + rng.random(len(lower)) * (upper - lower)
    else:
        place = np.where(rng.random(len(lower)) < 0.5, lower, upper)
        if kind == 2:
            place *= 10
        elif kind == 3:
            place[:] = np.nan
        elif kind == 4:
            place = place[:-1]
    stamp = now + _pick(rng, (0, 0, 0, -0.01, 0.05, -5, 5, np.inf))
    gate.command(place, stamp, now, smooth=rng.random() < 0.5)


def _pick(rng: np.random.Generator, of: Sequence[T]) -> T:
    """One of a few; fifty times as quick as ``rng.choice``."""
    return of[int(rng.random() * len(of))]
