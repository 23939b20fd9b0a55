"""Bus servos as the makers' register maps describe them, misbehaving when told to.

The numbers do not come from our drivers:

- Feetech STS/SMS: memory table (FT-SMS-STS-emanual; the same addresses in huggingface/lerobot,
  src/lerobot/motors/feetech/tables.py): model 3 (STS3215: bytes 9, 3), mode 33 (0 servo, 1 wheel), torque 40, goal 42,
  position 56 (sign in bit 15), goal speed 46, load 60 (sign in bit 10), numbers little-endian.
- Feetech SCS: the same addresses (FT-SCSCL-emanual), model bytes 5, 4 (SCS0009), 1024 steps, numbers big-endian, no
  sync read.
- Dynamixel X: e-Manual, control table of XM430-W350 (the same in lerobot's dynamixel/tables.py): model 0, firmware 6,
  drive mode 10, operating mode 11 (3 position), torque 64, hardware error 70,
  bus watchdog 98, profile velocity 112, goal 116, load 126, position 132.
- Bus watchdog: e-Manual, "Bus Watchdog(98)": 20 ms per count while torque is on, any packet feeds it; when it
  fires the servo stops, the register reads -1 and goals are read-only until 0 is written.
"""

import time
from typing import Literal


def signed(raw: int, bit: int) -> int:
    """Sign and magnitude, as Feetech stores it."""
    return -(raw & ((1 << bit) - 1)) if raw >> bit & 1 else raw


def magnitude(value: int, bit: int) -> int:
    """The other way round."""
    return abs(value) | (1 << bit if value < 0 else 0)


class Servo:
    """One servo: its control table as bytes, and how it misbehaves.

    Attributes:
        mute: hears, does not answer. deaf: answers, does not obey. absent: not on the bus at all.
        stuck: torque reads on whatever is written. answers_as: another id. error: error byte of its answers.
        corrupt: wrong checksum. cut: only so many bytes. short_data: well-formed, but one byte too few.
    """

    TORQUE, GOAL, POSITION, SPEED = 40, (42, 2), (56, 2), (46, 2)
    SIZE = 87
    ENDIAN: Literal["little", "big"] = "little"

    def __init__(self) -> None:
        self.table = bytearray(self.SIZE)
        self.mute = self.deaf = self.absent = self.stuck = self.corrupt = self.short_data = False
        self.answers_as: int | None = None
        self.cut: int | None = None
        self.error = 0
        self.power_on()

    def power_on(self) -> None:
        """What the table holds when power comes; the horn stays where it is."""

    def number(self, field: tuple[int, int]) -> int:
        """A field as the maker encodes it."""
        return signed(self.raw(field), 15)

    def put(self, field: tuple[int, int], value: int) -> None:
        """Store a number as the maker encodes it."""
        self.store(field, magnitude(value, 15))

    def raw(self, field: tuple[int, int]) -> int:
        """A field's bits."""
        return int.from_bytes(self.table[field[0] : sum(field)], self.ENDIAN)

    def store(self, field: tuple[int, int], raw: int) -> None:
        """Set a field's bits."""
        self.table[field[0] : sum(field)] = raw.to_bytes(field[1], self.ENDIAN)

    @property
    def torque(self) -> int:
        """Its torque switch."""
        return self.table[self.TORQUE]

    @property
    def goal(self) -> int:
        """Goal position in ticks."""
        return self.number(self.GOAL)

    @property
    def position(self) -> int:
        """Where the horn stands, ticks."""
        return self.number(self.POSITION)

    @position.setter
    def position(self, ticks: int) -> None:
        self.put(self.POSITION, ticks)

    def load(self, thousandths: int) -> None:
        """Present load in 0.1 %."""
        self.store((60, 2), magnitude(thousandths, 10))

    def fed(self, now: float) -> None:
        """Some instruction packet passed on the bus."""

    def write(self, address: int, data: bytes) -> None:
        """Obey a write."""
        if self.deaf or self.absent or address + len(data) > len(self.table):
            return
        self.table[address : address + len(data)] = data
        if self.stuck:
            self.table[self.TORQUE] = 1
        if self.torque:
            self.position = self.goal  # is there at once


class StsServo(Servo):
    """STS3215."""

    def power_on(self) -> None:
        self.table[0:5] = bytes([3, 10, 0, 9, 3])  # firmware, byte order, model
        self.table[40:56] = bytes(16)


class ScsServo(Servo):
    """SCS0009: big-endian, 1024 steps."""

    ENDIAN = "big"

    def power_on(self) -> None:
        self.table[0:5] = bytes([3, 10, 1, 5, 4])


class XServo(Servo):
    """XM430-W350: two's complement, and a bus watchdog."""

    TORQUE, GOAL, POSITION, SPEED, SIZE = 64, (116, 4), (132, 4), (112, 4), 147
    WATCHDOG, FIRMWARE, MODEL = 98, 45, 1020

    def power_on(self) -> None:
        self.store((0, 2), self.MODEL)
        self.table[6], self.table[11] = self.FIRMWARE, 3
        self.table[self.TORQUE] = self.table[70] = self.table[self.WATCHDOG] = 0
        self._heard = time.monotonic()

    def number(self, field: tuple[int, int]) -> int:
        return int.from_bytes(self.table[field[0] : sum(field)], "little", signed=True)

    def put(self, field: tuple[int, int], value: int) -> None:
        self.store(field, value & (256 ** field[1] - 1))

    def load(self, thousandths: int) -> None:
        self.put((126, 2), thousandths)

    def fed(self, now: float) -> None:
        count = self.table[self.WATCHDOG]
        if self.torque and 0 < count < 128 and now - self._heard > 0.02 * count:
            self.table[self.WATCHDOG] = 0xFF
        self._heard = now

    def write(self, address: int, data: bytes) -> None:
        if self.table[self.WATCHDOG] == 0xFF and address in (100, 102, 104, 116):
            return  # range error
        if address == self.WATCHDOG and self.table[6] < 38:
            return
        super().write(address, data)
