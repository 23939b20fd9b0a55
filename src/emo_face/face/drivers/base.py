"""What every actuator driver looks like to the control loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class DriverError(Exception):
    """The bus or a device did not do what it was asked; the message names the port, the device and the fix."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What the actuators say.

    Attributes:
        position: (n,) actuator units, NaN where it cannot be measured.
        load: (n,) share of the rated load in [-1, 1], NaN where it cannot be measured.
        faults: actuator name -> what is wrong (``overload``, ``overheating``, ...), empty when all is well.
    """

    position: Array
    load: Array
    faults: dict[str, str] = field(default_factory=dict)


class Driver(Protocol):
    """A bus with n actuators. All methods raise :class:`DriverError`; none of them blocks longer than its timeout.

    Attributes:
        names: (n,) actuator names, in the order of every array.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    def connect(self) -> None:
        """Open the bus and check that every device answers. May be called again after an error."""
        ...

    def enable(self, on: bool) -> None:
        """Switch torque on or off. Switching on moves nothing: targets become the present position first."""
        ...

    def write(self, position: Array) -> None:
        """Send target positions (n,) in actuator units. Call only with what the safety gate put out."""
        ...

    def read(self) -> Feedback:
        """Ask for the present state."""
        ...

    def estop(self) -> None:
        """Take the torque away as fast as the bus allows; must work without :meth:`connect` and never raises twice."""
        ...

    def close(self) -> None:
        """Release the bus. Safe to call at any time."""
        ...
