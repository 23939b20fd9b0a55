"""Hobby servos on a PCA9685 board (needs ``adafruit-circuitpython-servokit``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import ConfigError
from emo_face.face.drivers.base import DriverError, Feedback

Array = NDArray[np.float64]


class Pca9685Driver:
    """Servos that are told a pulse width in microseconds. They report nothing back.

    Only pulses that change by a step of the chip (1/4096 of a cycle) are sent: at 100 kHz one costs half a millisecond,
    so give a board with many servos a 400 kHz bus. Torque off stops the pulses. With no way to know where a servo is,
    the first pulse after power-on may move it at the servo's own speed: power up with the face at neutral.

    Args:
        names, ids, units: of each actuator; ids are channels 0..15, the unit must be ``us``.
        address: I2C address. frequency: pulses a second, 40..333. channels: 8 or 16.
        i2c: an I2C bus as of Blinka's ``board.I2C()``; that one when None.

    Raises:
        ConfigError: the library is missing, or a unit or id does not fit.
    """

    def __init__(
        self,
        names: Sequence[str],
        ids: Sequence[int],
        units: Sequence[str],
        address: int = 0x40,
        frequency: int = 50,
        channels: int = 16,
        i2c: Any = None,
    ) -> None:
        for name, channel, unit in zip(names, ids, units, strict=True):
            if unit != "us":
                raise ConfigError(f"pca9685 actuator {name!r}: expected unit us, got {unit!r}")
            if not 0 <= channel < channels:
                raise ConfigError(f"pca9685 actuator {name!r}: expected id 0 to {channels - 1}, got {channel}")
        if channels not in (8, 16) or not 40 <= frequency <= 333:
            raise ConfigError(f"pca9685: expected 8 or 16 channels and 40 to 333 Hz, got {channels} and {frequency}")
        try:
            from adafruit_servokit import ServoKit
        except ImportError:
            raise ConfigError("the pca9685 driver needs its library: scripts/setup.sh pca9685") from None
        except NotImplementedError:  # Blinka knows no I2C on this machine
            raise ConfigError(
                "this machine has no I2C bus that Blinka knows: run on the robot, or use the mock"
            ) from None
        self._make, self._i2c = ServoKit, i2c
        self._names, self._ids = tuple(names), tuple(ids)
        self._options = {"channels": channels, "address": address, "frequency": frequency}
        self._cycle = 1e6 / frequency
        self._kit: Any = None
        self._torque = False
        self._sent: list[int | None] = [None] * len(self._ids)

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    def connect(self) -> None:
        """Find the board and set its frequency. Raises DriverError if nothing answers at the address."""
        self.close()
        try:
            kit = self._make(i2c=self._i2c, **self._options)
            for channel in self._ids:
                kit.servo[channel].set_pulse_width_range(0, int(self._cycle))
        except (OSError, ValueError, RuntimeError, NotImplementedError, AttributeError) as error:
            where = f"pca9685 at {self._options['address']:#04x}"
            raise DriverError(f"{where}: {error}; check wiring, power and `i2cdetect -y 1`") from None
        self._kit = kit

    def enable(self, on: bool) -> None:
        """On: pulses start with the next write. Off: pulses stop, the servos are free."""
        self._torque = on
        if not on:
            self._pulse([None] * len(self._ids))

    def write(self, position: Array) -> None:
        """Set pulse widths in microseconds."""
        if position.shape != (len(self._ids),) or not np.isfinite(position).all():
            raise DriverError(f"pca9685: expected {len(self._ids)} finite pulse widths")
        if self._torque:
            self._pulse([float(us) / int(self._cycle) for us in position])

    def read(self) -> Feedback:
        """Nothing is known: NaN positions and loads."""
        if self._kit is None:
            raise DriverError("pca9685: not connected")
        unknown = np.full(len(self._ids), np.nan)
        return Feedback(unknown, unknown.copy())

    def estop(self) -> None:
        """Stop the pulses."""
        self._torque = False
        if self._kit is not None:
            self._pulse([None] * len(self._ids))

    def close(self) -> None:
        """Forget the board; an I2C bus given to the constructor stays open."""
        self._kit, self._torque = None, False
        self._sent = [None] * len(self._ids)

    def _pulse(self, fractions: Sequence[float | None]) -> None:
        if self._kit is None:
            raise DriverError("pca9685: not connected")
        try:
            for i, (channel, fraction) in enumerate(zip(self._ids, fractions, strict=True)):
                step = -1 if fraction is None else round(4096 * fraction)
                if step != self._sent[i]:
                    self._kit.servo[channel].fraction = fraction
                    self._sent[i] = step
        except (OSError, ValueError, RuntimeError) as error:
            raise DriverError(f"pca9685 at {self._options['address']:#04x}: {error}; is it unplugged?") from None
