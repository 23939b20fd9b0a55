"""Try to make the safety gate break a limit, and look at its output with independent eyes."""

from dataclasses import dataclass

import numpy as np

from emo_face.core.types import Array
from emo_face.face.safety.gate import SafetyGate
from emo_face.face.safety.limits import ActuatorLimits


@dataclass(frozen=True, slots=True)
class LimitCheck:
    """Result of :func:`try_commands`.

    Attributes:
        commands: actuator commands tried. violations: limits exceeded, of any kind, without any tolerance.
        worst: largest share of the velocity, acceleration and jerk limit that was used.
    """

    commands: int
    violations: int
    worst: tuple[float, float, float]


def random_limits(rng: np.random.Generator, n: int) -> ActuatorLimits:
    """Limits over many orders of magnitude: slow and fast, stiff and soft, narrow and wide, radians and ticks."""
    unit = 10.0 ** rng.choice([0.0, -2.0, 3.0], n)
    lower = rng.uniform(-2, 1, n) * unit
    upper = lower + 10.0 ** rng.uniform(-1, 0.6, n) * unit
    velocity = 10.0 ** rng.uniform(-1, 1.3, n) * unit
    acceleration = velocity * 10.0 ** rng.uniform(-0.5, 2, n)
    jerk = acceleration * 10.0 ** rng.uniform(0, 2.5, n)
    return ActuatorLimits.of(
        [f"a{i}" for i in range(n)],
        lower=lower,
        upper=upper,
        neutral=rng.uniform(lower, upper),
        velocity=velocity,
        acceleration=acceleration,
        jerk=jerk,
    )


def try_commands(seed: int = 0, actuators: int = 1000, ticks: int = 1100, period: float = 0.01) -> LimitCheck:
    """Send adversarial commands to a gate and check its output by divided differences.

    Commands hop between the ends, beyond them, random places, to where the actuator is and to a hair beside it; some
    are infinite, NaN or of the wrong length; some ticks bring none. A path inside the limits at every instant has its
    divided differences inside them too, so nothing is tolerated.
    """
    rng = np.random.default_rng(seed)
    limits = random_limits(rng, actuators)
    gate = SafetyGate(limits, period=period, timeout=0.2, neutral_time=0.3)
    gate.enable(rng.uniform(limits.lower, limits.upper), 0.0)
    history = [gate.position] * 4
    target, tried, violations, worst = gate.position, 0, 0, np.zeros(3)
    for k in range(1, ticks + 1):
        now = k * period
        target = _adversary(rng, limits, gate.position, target)
        kind = rng.random()
        if kind < 0.95:
            gate.command(target, now, now)
        elif kind < 0.97:
            gate.command(np.where(rng.random(actuators) < 0.1, np.nan, target), now, now)
        elif kind < 0.98:
            gate.command(target[:-1], now, now)
        tried += actuators
        history = [*history[1:], gate.tick(now).position]
        broken, used = _look(history, limits, period)
        violations += broken
        worst = np.maximum(worst, used)
    return LimitCheck(tried, violations, (float(worst[0]), float(worst[1]), float(worst[2])))


def _adversary(rng: np.random.Generator, limits: ActuatorLimits, here: Array, previous: Array) -> Array:
    span = limits.upper - limits.lower
    choices = np.stack(
        [
            limits.lower,
            limits.upper,
            rng.uniform(limits.lower - span, limits.upper + span),
            here,
            here + 1e-9 * span * rng.normal(size=here.size),
            1e9 * span * rng.normal(size=here.size),
        ]
    )
    pick = choices[rng.integers(0, len(choices), here.size), np.arange(here.size)]
    return np.asarray(np.where(rng.random(here.size) < 0.2, pick, previous))


def _look(history: list[Array], limits: ActuatorLimits, period: float) -> tuple[int, Array]:
    h3, h2, h1, x = history
    outside = int(((x < limits.lower) | (x > limits.upper)).sum())
    rates = (
        np.abs(x - h1) / period / limits.velocity,
        np.abs(x - 2 * h1 + h2) / period**2 / limits.acceleration,
        np.abs(x - 3 * h1 + 3 * h2 - h3) / period**3 / limits.jerk,
    )
    return outside + sum(int((r > 1.0).sum()) for r in rates), np.array([float(r.max()) for r in rates])
