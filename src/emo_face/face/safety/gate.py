"""The safety gate: the only way from a command to a motor.

Nothing that leaves :meth:`SafetyGate.tick` breaks a position, velocity, acceleration or jerk limit at the times of the
ticks (see :mod:`emo_face.face.safety.limiter` for why), whatever comes in and however late; what may not come in is
counted and dropped.

    gate = SafetyGate(limits, period=0.01)
    gate.enable(driver.read().position, now)
    gate.command(targets, stamp, now, valid_for=0.5)   # any rate, any content
    output = gate.tick(now)                            # at the loop rate
    driver.write(output.position, output.torque)
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from emo_face.core.types import Array
from emo_face.face.expressions.easing import minimum_jerk
from emo_face.face.safety.interlocks import Dwell, Interlock, RuleBook
from emo_face.face.safety.limiter import JerkLimiter
from emo_face.face.safety.limits import ActuatorLimits
from emo_face.face.safety.state import EstopAction, GateOutput, GateState

CATCH_UP = 4
"""A tick that is late by more than this many periods finds the path braked as hard as its limits allow, all the way to
rest if the gap is long enough: the motors stood still meanwhile and must not hurry after it."""


class SafetyGate:
    """Check, limit and supervise the commands of n actuators.

    Args:
        limits: names, ranges, rates, neutral and dead-bands.
        period: nominal tick length in seconds.
        interlocks, dwells: rules between actuators and over time.
        timeout: seconds without an accepted command until the face eases to neutral.
        neutral_time: seconds that easing to neutral takes (longer if the limits ask for it).
        max_age: oldest accepted stamp in seconds; future: how far ahead of ``now`` a stamp may be.
        settle_time: a command inside the dead-band is followed too once it has stood still for this many seconds.
        estop_action: torque off, or brake and hold.

    Raises:
        ValueError: a number is out of range or a rule does not fit the limits.
    """

    def __init__(
        self,
        limits: ActuatorLimits,
        *,
        period: float = 0.01,
        interlocks: Sequence[Interlock] = (),
        dwells: Sequence[Dwell] = (),
        timeout: float = 1.0,
        neutral_time: float = 1.0,
        max_age: float = 1.0,
        future: float = 0.1,
        settle_time: float = 0.5,
        estop_action: EstopAction | str = EstopAction.TORQUE_OFF,
    ) -> None:
        for name, value in {
            "period": period,
            "timeout": timeout,
            "neutral_time": neutral_time,
            "max_age": max_age,
        }.items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number of seconds, got {value}")
        self.limits, self.period, self.estop_action = limits, float(period), EstopAction(estop_action)
        self.timeout, self.neutral_time, self.max_age, self.future = timeout, neutral_time, max_age, future
        self.settle_time = settle_time
        self.rejected: Counter[str] = Counter()
        self.accepted = self.clamped = self.late_ticks = 0
        self._limiter = JerkLimiter(
            limits.lower, limits.upper, limits.velocity, limits.acceleration, limits.jerk, max_dt=period * 1.25
        )
        self._limiter.reset(limits.neutral)
        self._rules = RuleBook(limits, interlocks, dwells, period)
        self._index = {name: i for i, name in enumerate(limits.names)}
        self._has_deadband = bool((limits.deadband > 0).any())
        self._follow = limits.neutral.copy()  # the command in force
        self._asked = limits.neutral.copy()  # the newest command, before the dead-band
        self._still_since = np.full(len(limits), -math.inf)
        self._goal = limits.neutral.copy()
        self._stop_at = limits.neutral.copy()
        self._state = GateState.DISABLED
        self._held = False  # whether the motors had torque when the stop came
        self._now = -math.inf
        self._stamp = self._deadline = -math.inf

    @property
    def state(self) -> GateState:
        return self._state

    @property
    def position(self) -> Array:
        """(n,) last position that left the gate; a copy."""
        return self._limiter.position

    @property
    def velocity(self) -> Array:
        """(n,) velocity that goes with :attr:`position`; a copy."""
        return self._limiter.rate

    @property
    def moving(self) -> bool:
        """Whether the path is under way while the motors have torque."""
        on = self._held if self._state is GateState.ESTOP else self._state is not GateState.DISABLED
        return on and bool((np.abs(self.velocity) > 1e-6 * self.limits.velocity).any())

    @property
    def held_by_rules(self) -> int:
        """Number of interlocks and dwell limits that hold something back now."""
        return self._rules.held

    def enable(self, position: ArrayLike, now: float, velocity: ArrayLike = 0.0, acceleration: ArrayLike = 0.0) -> None:
        """Switch torque on, starting from where the actuators are (``position`` (n,), measured).

        The pose is held until a command comes, or until ``timeout`` eases it to neutral. A pose outside the range is
        eased back into it.

        Raises:
            RuntimeError: an emergency stop is latched.
            ValueError: the position is not finite or has the wrong length: torque stays off.
        """
        if self._state is GateState.ESTOP:
            raise RuntimeError("emergency stop is latched: clear it before enabling")
        self._limiter.reset(position, velocity, acceleration)
        self._follow[:] = self._asked[:] = self._limiter.resting_place()
        self._still_since[:] = now
        self._state, self._now = GateState.ACTIVE, now
        self._stamp, self._deadline = -math.inf, now + self.timeout

    def disable(self) -> None:
        """Switch torque off. Ease to neutral first (:meth:`neutral`) if a free joint would fall."""
        if self._state is not GateState.ESTOP:
            self._state = GateState.DISABLED

    def place(self, position: Array) -> None:
        """Go on from where some actuators really are: (n,) measured, NaN for those that follow the path."""
        limiter, chosen = self._limiter, np.isfinite(position)
        velocity, acceleration = (np.where(chosen, 0.0, now) for now in (limiter.rate, limiter.curvature))
        limiter.reset(np.where(chosen, position, limiter.position), velocity, acceleration)

    def let_go(self) -> None:
        """The motors do not follow any more (bus lost): no torque until :meth:`enable`; a stop stays latched."""
        self._held = False
        self.disable()

    def estop(self) -> None:
        """Stop at once, as the rig says, and stay stopped. Switches nothing on: what has no torque gets none."""
        if self._state is GateState.ESTOP:
            return
        self._held = self._state is not GateState.DISABLED and self.estop_action is EstopAction.HOLD
        self._stop_at[:] = self._limiter.resting_place()
        self._state = GateState.ESTOP

    def clear_estop(self) -> None:
        """Release the latch. Torque stays off until :meth:`enable`."""
        if self._state is GateState.ESTOP:
            self._state = GateState.DISABLED

    def neutral(self, now: float) -> None:
        """Ease to neutral from now on, until the next accepted command."""
        self._deadline = min(self._deadline, now)

    def command(
        self,
        position: ArrayLike | Mapping[str, float],
        stamp: float,
        now: float,
        valid_for: float | None = None,
        smooth: bool = False,
    ) -> bool:
        """Offer targets: (n,) in actuator order, or name -> value for some of the actuators.

        Args:
            position: actuator units; values outside the range are cut and counted in :attr:`clamped`.
            stamp: seconds, when the command was made; the newest stamp wins.
            now: seconds, same clock.
            valid_for: seconds after ``stamp`` for which the command holds (at most ``timeout`` after ``now``).
            smooth: the source removes noise itself, as :class:`~emo_face.face.motion.motion.FaceMotion`: no dead-band.

        Returns:
            True if accepted; otherwise the reason is counted in :attr:`rejected`: ``stamp``, ``stale``, ``future``,
            ``backwards``, ``valid_for``, ``unknown``, ``length``, ``nonfinite``, ``estop``, ``disabled``.
        """
        reason = self._refuse(stamp, now, valid_for)
        values = None if reason else self._read(position)
        if reason or isinstance(values, str) or values is None:
            self.rejected[reason or str(values)] += 1
            return False
        cut = np.maximum(values, self.limits.lower)
        np.minimum(cut, self.limits.upper, out=cut)
        self.clamped += bool((cut != values).any())
        self._accept(cut, now, smooth)
        self._stamp = stamp
        hold = self.timeout if valid_for is None else min(self.timeout, stamp + valid_for - now)
        self._deadline = now + hold
        self.accepted += 1
        return True

    def _refuse(self, stamp: float, now: float, valid_for: float | None) -> str:
        if self._state in (GateState.ESTOP, GateState.DISABLED):
            return str(self._state.value)
        if not (math.isfinite(stamp) and math.isfinite(now)):
            return "stamp"
        if valid_for is not None and not valid_for > 0:
            return "valid_for"
        if now - stamp > min(self.max_age, math.inf if valid_for is None else valid_for):
            return "stale"
        if stamp - now > self.future:
            return "future"
        if stamp < self._stamp <= now + self.future:  # a stamp from before a clock jump does not count
            return "backwards"
        return ""

    def _read(self, position: ArrayLike | Mapping[str, float]) -> Array | str:
        """(n,) finite values, or the reason why not."""
        try:
            if isinstance(position, Mapping):
                if not position or not all(name in self._index for name in position):
                    return "unknown"
                values = self._asked.copy()
                for name, value in position.items():
                    values[self._index[name]] = value
            else:
                values = np.asarray(position, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            return "nonfinite"
        if values.shape != self._follow.shape:
            return "length"
        return values if np.isfinite(values).all() else "nonfinite"

    def _accept(self, values: Array, now: float, smooth: bool) -> None:
        if smooth or not self._has_deadband:
            self._follow[:] = self._asked[:] = values
            return
        moved = np.abs(values - self._asked) > 1e-9 * (self.limits.upper - self.limits.lower)
        self._still_since[moved] = now
        self._asked[:] = values
        big = np.abs(values - self._follow) > self.limits.deadband
        settled = now - self._still_since >= self.settle_time
        np.copyto(self._follow, values, where=big | settled)

    def tick(self, now: float) -> GateOutput:
        """Advance to ``now`` (seconds) and say what the driver may do.

        A clock that stands still or jumps back moves nothing. After a gap of over ``CATCH_UP`` periods the path has
        braked on paper and starts again from there.
        """
        dt = self._elapsed(now)
        if self._state is GateState.DISABLED or (self._state is GateState.ESTOP and not self._held):
            return GateOutput(self._limiter.position, False, self._state)
        goal, limiter = self._goal, self._limiter
        if self._state is GateState.ESTOP:
            goal[:] = self._stop_at
        else:
            self._aim(now)
            if self._rules:
                self._rules.apply(limiter.position, limiter.resting_place(), limiter.rate, goal, now, dt)
        if dt > CATCH_UP * self.period:
            self.late_ticks += 1
            return GateOutput(limiter.brake(dt).copy(), True, self._state)
        return GateOutput(limiter.step(goal, dt).copy(), True, self._state)

    def _elapsed(self, now: float) -> float:
        """Seconds since the last tick. After a backward jump the deadlines move with the clock."""
        before, self._now = self._now, now
        if now < before:
            self._deadline += now - before
            self._still_since += now - before
            return 0.0
        return now - before if math.isfinite(now - before) else 0.0

    def _aim(self, now: float) -> None:
        """Set the goal: the command in force, or the way from it to neutral once it is stale."""
        late = now - self._deadline
        if late < 0:
            self._state = GateState.ACTIVE
            self._goal[:] = self._follow
            return
        self._state = GateState.STALE
        np.subtract(self.limits.neutral, self._follow, out=self._goal)
        self._goal *= minimum_jerk(late / self.neutral_time)
        self._goal += self._follow
