"""Limits of a set of actuators, checked once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emo_face.core.types import Array

RATES = 1e-6, 1e12
"""What a rate may be, in ranges per s, s^2 or s^3; beyond that the paths' arithmetic ends."""


@dataclass(frozen=True)
class ActuatorLimits:
    """What n actuators may do. Every array is (n,), in the actuator's own unit (rad, microseconds, ticks, or 0..1).

    Attributes:
        names: unique actuator names.
        lower, upper: position range, ``lower < upper``.
        neutral: position of the neutral face, inside the range.
        velocity, acceleration, jerk: positive, unit/s, unit/s^2, unit/s^3; of a size that :data:`RATES` allows.
        deadband: smallest change of a command that is followed at once, >= 0 (0 switches it off).
    """

    names: tuple[str, ...]
    lower: Array
    upper: Array
    neutral: Array
    velocity: Array
    acceleration: Array
    jerk: Array
    deadband: Array

    @staticmethod
    def of(
        names: Sequence[str],
        *,
        lower: ArrayLike,
        upper: ArrayLike,
        velocity: ArrayLike,
        acceleration: ArrayLike,
        jerk: ArrayLike,
        neutral: ArrayLike = 0.0,
        deadband: ArrayLike = 0.0,
    ) -> "ActuatorLimits":
        """Build limits from scalars or (n,) sequences.

        Raises:
            ValueError: names repeat, a shape does not fit, or a value is out of its range; names the actuator.
        """
        columns = {
            key: np.array(np.broadcast_to(np.asarray(value, dtype=np.float64), (len(names),)))
            for key, value in {
                "lower": lower, "upper": upper, "neutral": neutral, "velocity": velocity,
                "acceleration": acceleration, "jerk": jerk, "deadband": deadband,
            }.items()
        }  # fmt: skip
        limits = ActuatorLimits(tuple(names), **columns)
        limits._check()
        for column in columns.values():
            column.setflags(write=False)
        return limits

    def __len__(self) -> int:
        return len(self.names)

    @property
    def stopping_distance(self) -> Array:
        """(n,) farthest that an actuator goes while it brakes as hard as it may, from any state inside the limits.

        That is also the farthest step after a stall: the motors stood still while the path braked on paper.
        """
        v, a, j = self.velocity, self.acceleration, self.jerk
        turning = v * a / j  # an acceleration that must be eased out first keeps the velocity at most at its limit
        braking = np.where(v * j >= a * a, v * (v / a + a / j) / 2, v * np.sqrt(v / j))
        return np.asarray(np.minimum(turning + braking, self.upper - self.lower), np.float64)

    def index(self, name: str) -> int:
        """Position of actuator ``name``. Raises ValueError that lists the known names."""
        try:
            return self.names.index(name)
        except ValueError:
            raise ValueError(f"unknown actuator {name!r}: known are {', '.join(self.names)}") from None

    def _check(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"actuator names must be unique and at least one, got {list(self.names)}")
        checks = {
            "lower < upper": self.lower < self.upper,
            "neutral inside lower..upper": (self.lower <= self.neutral) & (self.neutral <= self.upper),
            "deadband >= 0": self.deadband >= 0,
        }
        for field in ("lower", "upper", "neutral", "deadband"):
            checks[f"{field} finite"] = np.isfinite(getattr(self, field))
        for field in ("velocity", "acceleration", "jerk"):
            with np.errstate(all="ignore"):
                share = getattr(self, field) / (self.upper - self.lower)
            good = (share >= RATES[0]) & (share <= RATES[1])
            checks[f"{field} > 0, {RATES[0]:g} to {RATES[1]:g} times its range"] = good
        for rule, good in checks.items():
            if not good.all():
                raise ValueError(f"actuator {self.names[int(np.argmin(good))]!r}: expected {rule}")
