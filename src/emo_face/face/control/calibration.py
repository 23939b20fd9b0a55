"""Find limits and neutral of one actuator at a time, in small capped steps, through a gate of its own."""

import math
from dataclasses import dataclass

import numpy as np

from emo_face.face.drivers.base import Driver
from emo_face.face.drivers.stop_report import StopReport
from emo_face.face.rig.rig import Rig
from emo_face.face.safety.gate import SafetyGate
from emo_face.face.safety.limits import ActuatorLimits
from emo_face.face.safety.state import EstopAction

OUTER = {"us": (500.0, 2500.0), "ticks": (0.0, 4095.0), "rad": (-math.pi, math.pi), "share": (-1.0, 1.0)}
"""What a unit allows at most, before anybody knows the head."""
LARGEST_STEP, SMALLEST_STEP = 0.01, 0.0005
"""Steps, as a share of the outer range."""
SLOW = 0.05
"""Speed while calibrating, share of the outer range a second."""
LOAD = 0.5
"""Share of the rated load that counts as touching something."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Where the chosen actuator is.

    Attributes:
        commanded: position that was sent.
        measured, load: position and load (-1 to 1) that were read, NaN if unknown.
        moving: still on its way to the target. blocked: it was stopped by something and backed off.
    """

    commanded: float
    measured: float
    load: float
    moving: bool
    blocked: bool


class RigCalibration:
    """Move one actuator; all others hold still where they are.

    Args:
        rig: what is known so far. driver: its bus.
        period: seconds between two ticks.
    """

    def __init__(self, rig: Rig, driver: Driver, period: float = 0.02) -> None:
        self.rig, self.driver, self.period = rig, driver, period
        low, high = (np.array([OUTER[u][k] for u in rig.units]) for k in (0, 1))
        low, high = np.minimum(low, rig.limits.lower), np.maximum(high, rig.limits.upper)
        self._span = high - low
        speed = np.minimum(rig.limits.velocity, SLOW * self._span)
        limits = ActuatorLimits.of(
            rig.names, lower=low, upper=high, neutral=rig.limits.neutral, velocity=speed,
            acceleration=np.minimum(rig.limits.acceleration, 4 * speed),
            jerk=np.minimum(rig.limits.jerk, 40 * speed),
        )  # fmt: skip
        self.gate = SafetyGate(limits, period=period, timeout=3600.0, estop_action=EstopAction.TORQUE_OFF)
        self.chosen = 0
        self.step = LARGEST_STEP / 4
        self._target = rig.limits.neutral.copy()
        self._good = 0.0  # last place reached without touching anything
        self.marks = self._marks_of(0)

    @property
    def name(self) -> str:
        """The chosen actuator."""
        return self.rig.names[self.chosen]

    def start(self, now: float) -> None:
        """Connect and take the present pose. Raises DriverError."""
        self.driver.connect()
        measured = self.driver.read().position
        self._target = np.where(np.isfinite(measured), measured, self.rig.limits.neutral)
        self.driver.enable(True)
        self.gate.enable(self._target, now)
        self.choose(self.chosen)

    def choose(self, index: int) -> None:
        """Go on with another actuator; the one before stays where it is."""
        self.chosen = index % len(self.rig.names)
        self._good = float(self._target[self.chosen])
        self.marks = self._marks_of(self.chosen)

    def nudge(self, direction: int) -> None:
        """One step up (+1) or down (-1)."""
        self._aim(float(self._target[self.chosen]) + math.copysign(self.step * self._span[self.chosen], direction))

    def resize(self, factor: float) -> None:
        """Make steps larger or smaller, within their caps."""
        self.step = min(LARGEST_STEP, max(SMALLEST_STEP, self.step * factor))

    def home(self) -> None:
        """Go slowly to the neutral that is marked now."""
        self._aim(self.marks["neutral"])

    def mark(self, what: str) -> float:
        """Take the place where the actuator was sent as ``min``, ``neutral`` or ``max``; returns it in its unit."""
        place = float(self._target[self.chosen])
        self.marks[what] = round(place) if self.rig.units[self.chosen] in ("us", "ticks") else round(place, 4)
        return self.marks[what]

    def problem(self) -> str:
        """Why the marks cannot be accepted, or an empty text."""
        low, middle, high = (self.marks[k] for k in ("min", "neutral", "max"))
        if not low < high:
            return f"min {low:g} is not below max {high:g}"
        if not low <= middle <= high:
            return f"neutral {middle:g} is not between min {low:g} and max {high:g}"
        return ""

    def tick(self, now: float) -> Reading:
        """Move a little and look. Raises DriverError."""
        self.gate.command(self._target, now, now)
        output = self.gate.tick(now)
        if output.torque:
            self.driver.write(output.position)
        state = self.driver.read()
        i = self.chosen
        commanded, measured, load = float(output.position[i]), float(state.position[i]), float(state.load[i])
        moving = abs(commanded - self._target[i]) > 1e-6 * self._span[i]
        slack = max(2 * self.step, 4 * SMALLEST_STEP) * self._span[i]
        blocked = abs(load) > LOAD or (not moving and abs(measured - commanded) > slack)
        if blocked:
            self._aim(self._good)
        elif not moving:
            self._good = commanded
        return Reading(commanded, measured, load, moving, blocked)

    def stop(self) -> StopReport:
        """Torque off at once; says what is true. Never raises."""
        self.gate.estop()
        return self.driver.estop()

    def close(self) -> StopReport:
        """Torque off, as a stop, and release the bus; says whether it is off. Never raises."""
        report = self.stop()
        self.driver.close()
        return report

    def _aim(self, place: float) -> None:
        limits = self.gate.limits
        self._target[self.chosen] = min(max(place, limits.lower[self.chosen]), limits.upper[self.chosen])

    def _marks_of(self, i: int) -> dict[str, float]:
        limits = self.rig.limits
        return {"min": float(limits.lower[i]), "neutral": float(limits.neutral[i]), "max": float(limits.upper[i])}
