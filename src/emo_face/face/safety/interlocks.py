"""Rules between actuators (interlocks) and over time (dwell limits), enforced on targets before they are limited.

Both work on targets only, yet hold for positions: the limiter never rests beyond a target it could still stop at, so
an actuator whose target is kept inside a range, and which is inside, stays inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emo_face.core.types import Array
from emo_face.face.safety.limits import ActuatorLimits

_HAIR = 1e-9


@dataclass(frozen=True, slots=True)
class Interlock:
    """While ``when`` is past ``threshold``, ``then`` stays in ``lower..upper``.

    ``above`` tells on which side of the threshold the rule is in force. The first actuator waits at the threshold until
    the second is inside its reduced range, so the forbidden pair never occurs.
    """

    when: str
    threshold: float
    then: str
    lower: float
    upper: float
    above: bool = True


@dataclass(frozen=True, slots=True)
class Dwell:
    """``actuator`` stays past ``threshold`` for at most ``max_s`` seconds, then short of it for ``rest_s``."""

    actuator: str
    threshold: float
    max_s: float
    rest_s: float
    above: bool = True


class _InterlockState:
    def __init__(self, rule: Interlock, limits: ActuatorLimits) -> None:
        self.rule = rule
        self.a, self.b = limits.index(rule.when), limits.index(rule.then)
        if self.a == self.b:
            raise ValueError(f"interlock {rule.when!r} restricts itself")
        low, high = float(limits.lower[self.b]), float(limits.upper[self.b])
        if not low <= rule.lower < rule.upper <= high:
            raise ValueError(f"interlock on {rule.then!r}: {rule.lower}..{rule.upper} is not inside {low}..{high}")
        self.sign = 1.0 if rule.above else -1.0
        # room for rounding: wait a hair before the threshold, stay a hair inside the range
        self.wait_at = rule.threshold - self.sign * _HAIR * float(limits.upper[self.a] - limits.lower[self.a])
        hair = _HAIR * (rule.upper - rule.lower)
        self.low, self.high = rule.lower + hair, rule.upper - hair
        self.turn = float(np.sqrt(2.0 / limits.jerk[self.b]))
        self.committed = self.wanted = self.held = False

    def cut(self, position: Array, rest: Array, target: Array) -> None:
        """Keep the second actuator's target in its reduced range while the rule is, or is about to be, in force."""
        a, b, s = self.a, self.b, self.sign
        limit = s * self.rule.threshold
        self.committed = max(s * float(position[a]), s * float(rest[a])) > limit
        self.wanted = s * float(target[a]) > limit
        self.held = False
        if self.committed or self.wanted:
            before = float(target[b])
            target[b] = min(max(before, self.low), self.high)
            self.held = bool(before != target[b])

    def wait(self, position: Array, rest: Array, rate: Array, target: Array) -> None:
        """Keep the first actuator at the threshold until the second one is inside."""
        if self.committed or not self.wanted:
            return
        b = self.b
        # sqrt(2 v^3 / jerk) bounds how far an actuator that is already turning still goes
        margin = self.turn * abs(float(rate[b])) ** 1.5
        low, high = min(position[b], rest[b]) - margin, max(position[b], rest[b]) + margin
        if not (low >= self.rule.lower and high <= self.rule.upper):
            target[self.a] = self.wait_at
            self.held = True


class _DwellState:
    def __init__(self, rule: Dwell, limits: ActuatorLimits, period: float) -> None:
        self.rule = rule
        self.i = i = limits.index(rule.actuator)
        self.sign = 1.0 if rule.above else -1.0
        low, high = float(limits.lower[i]), float(limits.upper[i])
        span = high - rule.threshold if rule.above else rule.threshold - low
        back = rule.threshold - low if rule.above else high - rule.threshold
        if not (span > 0 and back > 0):
            raise ValueError(
                f"dwell limit on {rule.actuator!r}: threshold {rule.threshold} is not inside {low}..{high}"
            )
        self.release = rule.threshold - self.sign * 0.05 * back
        v, a, j = (float(x[i]) for x in (limits.velocity, limits.acceleration, limits.jerk))
        # turning round and a rest-to-rest move of the whole stretch bound the time that leaving takes
        self.lead = 2 * (v / a + a / j) + (span + abs(self.release - rule.threshold)) / v + v / a + a / j + 4 * period
        if not (self.lead < rule.max_s and rule.rest_s >= 0):
            raise ValueError(
                f"dwell limit on {rule.actuator!r}: max_s {rule.max_s} must exceed {self.lead:.3f}, the time to leave"
            )
        self.past = 0.0
        self.rest_until: float | None = None
        self.leaving = False

    def apply(self, position: Array, target: Array, now: float, dt: float) -> bool:
        rule, i, s = self.rule, self.i, self.sign
        past = s * float(position[i]) > s * rule.threshold
        self.past = self.past + dt if past else 0.0
        if past and self.past >= rule.max_s - self.lead:
            self.leaving = True
        elif not past and self.leaving:
            self.leaving, self.rest_until = False, now + rule.rest_s
        if self.rest_until is not None and not (now < self.rest_until <= now + rule.rest_s):
            self.rest_until = None
        if (self.leaving or self.rest_until is not None) and s * float(target[i]) > s * self.release:
            target[i] = self.release
            return True
        return False


class RuleBook:
    """All interlocks and dwell limits of a rig.

    Args:
        limits: the actuators.
        interlocks, dwells: rules in the actuators' units.
        period: tick length in seconds.

    Raises:
        ValueError: a rule names an unknown actuator, a range outside the limits, or a time too short to obey.
    """

    def __init__(
        self, limits: ActuatorLimits, interlocks: Sequence[Interlock], dwells: Sequence[Dwell], period: float
    ) -> None:
        self._interlocks = [_InterlockState(rule, limits) for rule in interlocks]
        _check_ranges(interlocks)
        self._dwells = [_DwellState(rule, limits, period) for rule in dwells]
        self.held = 0

    def __bool__(self) -> bool:
        return bool(self._interlocks or self._dwells)

    def apply(self, position: Array, rest: Array, rate: Array, target: Array, now: float, dt: float) -> None:
        """Cut ``target`` (n,) in place; :attr:`held` counts the rules that hold something back now."""
        held = 0
        for dwell in self._dwells:
            held += dwell.apply(position, target, now, dt)
        # first every cut, then every wait: a cut may send an actuator past another rule's threshold
        for lock in self._interlocks:
            lock.cut(position, rest, target)
        for lock in self._interlocks:
            lock.wait(position, rest, rate, target)
        self.held = held + sum(lock.held for lock in self._interlocks)


def _check_ranges(interlocks: Sequence[Interlock]) -> None:
    """Raise ValueError if two rules leave one actuator no place to be."""
    for k, rule in enumerate(interlocks):
        for other in interlocks[:k]:
            if rule.then == other.then and not max(rule.lower, other.lower) < min(rule.upper, other.upper):
                raise ValueError(f"interlocks on {rule.then!r} leave no common range")
