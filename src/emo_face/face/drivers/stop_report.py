"""What an emergency stop achieved, worded so that it claims no more than was verified."""

from dataclasses import dataclass
from enum import Enum


class StopState(str, Enum):
    """How far a stop got; the value is the sentence that people read."""

    STOPPED = "stopped"
    """Every actuator reads back torque off."""
    HOLDING = "holding"
    """A rig that holds: every actuator reads back torque on and the path has braked."""
    SENT = "sent, cannot be verified"
    """The bus took the command and cannot be read."""
    CANNOT = "this bus cannot cut torque"
    """Whoever owns the motors (ros2_control) must be stopped there."""
    NOT_OFF = "NOT off: cut the power"
    """Some actuators did not confirm."""


@dataclass(frozen=True, slots=True)
class StopReport:
    """Answer of a stop.

    Attributes:
        state: how far it got. actuators: those that did not confirm; empty if all did.
        detail: why, one line, or empty.
    """

    state: StopState
    actuators: tuple[str, ...] = ()
    detail: str = ""

    @property
    def success(self) -> bool:
        """Only for what was read back from the motors."""
        return self.state in (StopState.STOPPED, StopState.HOLDING)

    @property
    def final(self) -> bool:
        """Whether trying again cannot tell more."""
        return self.state is not StopState.NOT_OFF

    def __str__(self) -> str:
        names = f" ({', '.join(self.actuators)})" if self.actuators else ""
        return f"{self.state.value}{names}" + (f": {self.detail}" if self.detail else "")
