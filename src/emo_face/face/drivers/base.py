"""What every actuator driver looks like to the control loop."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from emo_face.core.errors import ConfigError
from emo_face.core.types import Array
from emo_face.face.drivers.stop_report import StopReport


class DriverError(Exception):
    """The bus or a device did not do what it was told to do; the message names the port, the device and the fix."""


class Interrupted(DriverError):
    """Given up because of :meth:`Driver.interrupt`."""


class MissingLibrary(ConfigError):
    """The library of a bus is not installed; the message names the command that installs it."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What the actuators say.

    Attributes:
        position: (n,) actuator units, NaN if it cannot be measured or the actuator does not answer.
        load: (n,) share of the rated load in [-1, 1], NaN if it cannot be measured.
        faults: actuator name -> what is wrong (``overload``, ``does not answer``, ...), empty when all is well.
        torque: (n,) 1 on, 0 off, NaN if it was not asked or cannot be read.
        strays: actuators that answer but do not follow (they came back, lost their torque or were stopped by their
            watchdog): :meth:`Driver.enable` takes them in again, from where they stand.
    """

    position: Array
    load: Array
    faults: dict[str, str] = field(default_factory=dict)
    torque: Array | None = None
    strays: tuple[str, ...] = ()


class Driver(Protocol):
    """A bus with n actuators.

    All methods but the stops raise :class:`DriverError`, and none blocks much longer than its timeout. One actuator
    that does not answer is a fault in :class:`Feedback`, not an error of the bus. Calls must not overlap, except
    :meth:`interrupt`.

    Attributes:
        names: (n,) actuator names, in the order of every array.
    """

    names: tuple[str, ...]

    @abstractmethod
    def connect(self, keep_torque: bool = False) -> None:
        """Open the bus and look at every device. May be called again after an error.

        The first thing on the bus is torque off for everybody, unless ``keep_torque``. Fails if no device answers, or
        if one is of a family that this driver does not speak.
        """

    @abstractmethod
    def enable(self, on: bool) -> None:
        """Switch torque on or off. Switching on moves nothing: targets become the present position first.

        Actuators that follow already are left alone.
        """

    @abstractmethod
    def write(self, position: Array) -> None:
        """Send target positions (n,) in actuator units. Call only with what the safety gate put out."""

    @abstractmethod
    def read(self) -> Feedback:
        """Ask for the present state."""

    @abstractmethod
    def torque(self) -> Array:
        """(n,) what the actuators' torque switches read now: 1 on, 0 off, NaN if unknown. Opens the bus if need be."""

    @abstractmethod
    def estop(self, patience: float = 0.15) -> StopReport:
        """Take the torque away and read back that it is gone; repeats for at most about ``patience`` seconds.

        Works in every state of the bus, without :meth:`connect` too. Never raises.
        """

    def interrupt(self) -> None:
        """Make a call that is under way in another thread give up soon; holds until the next :meth:`estop`.

        As it stands here it is for drivers whose calls never wait: it does nothing.
        """
        return

    @abstractmethod
    def close(self) -> None:
        """Release the bus. Safe to call at any time."""


def unconfirmed(names: Sequence[str], torque: Array) -> tuple[str, ...]:
    """Names of those that do not read back torque off."""
    return tuple(name for name, value in zip(names, torque, strict=True) if value != 0)


def check_number(kind: str, name: str, value: object, low: float, high: float) -> None:
    """Raise ConfigError unless ``value`` is a number from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ConfigError(f"{kind}: {name}: expected a number from {low:g} to {high:g}, got {value!r}")
