"""Hobby servos on PCA9685 boards (needs ``adafruit-circuitpython-servokit``)."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from emo_face.core.errors import ConfigError
from emo_face.core.install import how_to_install
from emo_face.core.types import Array
from emo_face.face.drivers.base import Driver, DriverError, Feedback, MissingLibrary, check_number
from emo_face.face.drivers.stop_report import StopReport, StopState

INSTALL = f"the pca9685 driver needs its library: {how_to_install('pca9685')}"
SLEEP = 0x10
"""Bit of register MODE1 (NXP PCA9685, table 5), set at power-on: no output can pulse until somebody wakes the chip."""
ALL_CALL = 0x70
"""Address that every board takes commands at (7.1.1); ServoKit switches that off when it opens a board, not before."""
# what the libraries raise for a board or a bus that is not there
BUS_ERRORS = (OSError, ValueError, RuntimeError, NotImplementedError, AttributeError)


class Pca9685Driver(Driver):
    """Servos that are told a pulse width in microseconds. They report nothing back.

    Only pulses that change by a step of the chip (1/4096 of a cycle) are sent: at 100 kHz one costs half a millisecond,
    so give a board with many servos a 400 kHz bus. Torque off stops the pulses; what the servo does then is its own
    affair, so a stop cannot be verified. The chip has no watchdog: it repeats its last pulses for ever if nobody talks
    to it, so after a killed process motion goes on from the pulses that it still makes. If it makes none, nobody knows
    where the servo is, and the first pulse may move it at the servo's own speed: power up with the face at neutral. A
    clean end, after torque off, puts the chip to sleep.

    Args:
        names, ids, units: of each actuator; the unit must be ``us``. Id 0 to 15 is a channel of the first board, 16 to
            31 of the second, and so on (with 8 channels per board: 0 to 7, 8 to 15, ...).
        address: I2C address of the only board. addresses: of several, instead.
        frequency: pulses per second, 40..333. channels: 8 or 16 per board.
        reference_clock_speed: Hz of the chip's oscillator, nominally 25 MHz, in truth 23 to 27: measure a pulse.
        i2c_bus: number of the bus (7 for ``/dev/i2c-7``), if it is not Blinka's default one.
        i2c: an I2C bus as of Blinka's ``board.I2C()``, if the program has one already.

    Raises:
        ConfigError: an option, a unit or an id does not fit. MissingLibrary: the library is not installed.
    """

    def __init__(
        self,
        names: Sequence[str],
        ids: Sequence[int],
        units: Sequence[str],
        address: int = 0x40,
        frequency: int = 50,
        channels: int = 16,
        reference_clock_speed: int = 25_000_000,
        addresses: Sequence[int] = (),
        i2c_bus: int | None = None,
        i2c: Any = None,
    ) -> None:
        boards = _boards(address, addresses)
        if channels not in (8, 16):
            raise ConfigError(f"pca9685: channels: expected 8 or 16, got {channels!r}")
        check_number("pca9685", "frequency", frequency, 40, 333)
        check_number("pca9685", "reference_clock_speed", reference_clock_speed, 20e6, 50e6)
        if i2c_bus is not None:
            check_number("pca9685", "i2c_bus", i2c_bus, 0, 255)
        last = channels * len(boards) - 1
        for name, channel, unit in zip(names, ids, units, strict=True):
            if unit != "us":
                raise ConfigError(f"pca9685 actuator {name!r}: expected unit us, got {unit!r}")
            if not 0 <= channel <= last:
                more = "" if len(boards) > 1 else "; a second board is `addresses: [64, 65]`"
                raise ConfigError(f"pca9685 actuator {name!r}: expected id 0 to {last}, got {channel}{more}")
        self._make, self._bus, self._i2c = _servo_kit(), i2c_bus, i2c
        self.names = tuple(names)
        self._places = [(boards[channel // channels], channel % channels) for channel in ids]
        self._options = {
            "channels": channels, "frequency": frequency, "reference_clock_speed": int(reference_clock_speed),
        }  # fmt: skip
        self._cycle = 1e6 / frequency
        self._kits: dict[int, Any] = {}
        self._on = self._free = False  # free: all pulses were stopped, and none begun since
        self._sent: list[int | None] = [None] * len(self.names)
        self._found = np.full(len(self.names), np.nan)  # us that the boards made when they were opened

    def connect(self, keep_torque: bool = False) -> None:
        """Find the boards and set their clocks. Raises DriverError that names the board that does not answer."""
        self.close()
        missing = self._open()
        if missing:
            self._kits.clear()
            raise DriverError(next(iter(missing.values())))
        if not keep_torque:
            self._pulse([None] * len(self.names))
            self._free = True

    def enable(self, on: bool) -> None:
        """On: pulses start with the next write. Off: pulses stop, the servos are free."""
        self._on = on
        if not on:
            self._sent = [None] * len(self.names)  # whatever we believe: say it again
            self._pulse([None] * len(self.names))
            self._free = True

    def write(self, position: Array) -> None:
        """Set pulse widths in microseconds."""
        if position.shape != (len(self.names),) or not np.isfinite(position).all():
            raise DriverError(f"pca9685: expected {len(self.names)} finite pulse widths")
        if self._on:
            self._free = False
            self._found[:] = np.nan
            self._pulse([float(us) / int(self._cycle) for us in position])

    def read(self) -> Feedback:
        """Pulses that somebody else began; of one's own servos nothing is known: NaN.

        Raises DriverError for a board that is gone, or was without power.
        """
        if not self._kits:
            raise DriverError("pca9685: not connected")
        for address, kit in self._kits.items():
            with _unplugged(address):
                asleep = kit._pca.mode1_reg & SLEEP  # ServoKit has no public way
            if asleep:
                raise DriverError(f"pca9685 at {address:#04x}: it was reset and makes no pulses; check its power")
        return Feedback(self._found.copy(), np.full(len(self.names), np.nan))

    def torque(self) -> Array:
        return np.full(len(self.names), np.nan)

    def estop(self, patience: float = 0.15) -> StopReport:
        """Stop the pulses of every board that takes it; one that does not costs only its own actuators."""
        self._on = False
        self._sent = [None] * len(self.names)
        missing = self._open()
        left = []
        for i, (name, (address, _)) in enumerate(zip(self.names, self._places, strict=True)):
            try:
                if address in missing:
                    raise DriverError(missing[address])
                self._set(i, None)
            except DriverError as error:
                missing[address] = str(error)
                left.append(name)
        if left:
            self._kits = {address: kit for address, kit in self._kits.items() if address not in missing}
            return StopReport(StopState.NOT_OFF, tuple(left), "; ".join(missing.values()))
        self._free = True
        return StopReport(StopState.SENT, detail="the pulses have stopped; hobby servos do not report their torque")

    def close(self) -> None:
        """Put boards whose pulses have stopped to sleep, forget all; an I2C bus that was given stays open."""
        for kit in self._kits.values() if self._free else ():
            with contextlib.suppress(*BUS_ERRORS):  # unplugged
                kit._pca.mode1_reg |= SLEEP  # ServoKit has no public way
        self._kits, self._on, self._free = {}, False, False
        self._sent = [None] * len(self.names)

    def _open(self) -> dict[int, str]:
        """Make contact with the boards that are not open yet; address -> why not, for those that do not answer."""
        missing = {}
        for address in dict.fromkeys(address for address, _ in self._places):
            if address in self._kits:
                continue
            try:
                if self._bus is not None and self._i2c is None:
                    self._i2c = linux_i2c(self._bus)
                kit = self._make(i2c=self._i2c, address=address, **self._options)
                for i, (board, channel) in enumerate(self._places):
                    if board == address:
                        kit.servo[channel].set_pulse_width_range(0, int(self._cycle))
                        made = kit.servo[channel].fraction
                        self._found[i] = np.nan if made is None else made * int(self._cycle)
                self._kits[address] = kit
            except BUS_ERRORS as error:
                bus = "" if self._bus is None else f" on I2C bus {self._bus}"
                hint = f"check wiring, power and `i2cdetect -y {1 if self._bus is None else self._bus}`"
                missing[address] = f"pca9685 at {address:#04x}{bus}: {error}; {hint}"
        return missing

    def _pulse(self, fractions: Sequence[float | None]) -> None:
        for i, fraction in enumerate(fractions):
            step = -1 if fraction is None else round(4096 * fraction)
            if step != self._sent[i]:
                self._set(i, fraction)
                self._sent[i] = step

    def _set(self, i: int, fraction: float | None) -> None:
        address, channel = self._places[i]
        if address not in self._kits:
            raise DriverError("pca9685: not connected")
        with _unplugged(address):
            self._kits[address].servo[channel].fraction = fraction


@contextlib.contextmanager
def _unplugged(address: int) -> Iterator[None]:
    try:
        yield
    except BUS_ERRORS as error:
        raise DriverError(f"pca9685 at {address:#04x}: {error}; is it unplugged?") from None


def linux_i2c(number: int) -> Any:
    """``/dev/i2c-<number>`` as the libraries want it. Raises OSError or a kin if there is none."""
    from adafruit_blinka import Lockable
    from adafruit_blinka.microcontroller.generic_linux.i2c import I2C

    class Bus(I2C, Lockable):  # untyped base
        pass

    return Bus(number)


def _boards(address: object, addresses: object) -> list[int]:
    """I2C addresses in the order in which ids count through them."""
    given = addresses if addresses else [address]
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise ConfigError(f"pca9685: addresses: expected a list such as [64, 65], got {addresses!r}")
    for each in given:
        check_number("pca9685", "address", each, 0x40, 0x7F)
    boards = [int(each) for each in given]
    if ALL_CALL in boards:
        raise ConfigError(f"pca9685: address: {ALL_CALL:#04x} is every board's (All Call): expected a board's own")
    if len(set(boards)) != len(boards):
        raise ConfigError(f"pca9685: addresses: each board has its own address, got {boards}")
    return boards


def _servo_kit() -> Callable[..., Any]:
    try:
        from adafruit_servokit import ServoKit
    except ImportError:
        raise MissingLibrary(INSTALL) from None
    except NotImplementedError:  # Blinka knows no I2C on this machine
        raise MissingLibrary(
            "this machine has no I2C bus that Blinka knows: run on the robot, or use the mock"
        ) from None
    return ServoKit  # type: ignore[no-any-return]
