"""Dynamixel X series and MX(2.0), protocol 2.0 (needs pyserial)."""

from emo_face.face.drivers.chain import Registers
from emo_face.face.drivers.serial_bus import TICKS, SerialBusDriver
from emo_face.face.drivers.wire import DynamixelFraming

# ROBOTIS e-Manual, control table of XL430-W250 and relatives; profile velocity (112) counts 0.229 rev/min; hardware
# error status at 70; bus watchdog at 98 from firmware 38 on, in steps of 20 ms.
X_SERIES = Registers(
    model=0,
    mode=10,
    mode_size=2,
    torque=64,
    goal=116,
    goal_size=4,
    state=126,
    state_size=10,
    speed=112,
    speed_size=4,
    speed_unit=0.229 / 60 * TICKS,
    faults={0x01: "input voltage", 0x04: "overheating", 0x08: "encoder", 0x10: "electrical shock", 0x20: "overload"},
    alert=0x80,
    fault_register=70,
    watchdog=98,
)
X_MODELS, MX_MODELS = range(1000, 2000), (30, 311, 321)
"""Model numbers with this table: X series, and MX-28, MX-64 and MX-106 with the firmware for protocol 2.0."""
OTHERS = {
    350: "XL-320 (1024 steps, torque at register 24)",
    12: "AX-12A (protocol 1.0)",
    29: "MX-28 (protocol 1.0; put the firmware for protocol 2.0 on it)",
    310: "MX-64 (protocol 1.0; put the firmware for protocol 2.0 on it)",
    320: "MX-106 (protocol 1.0; put the firmware for protocol 2.0 on it)",
    2000: "PH42-020 (P series)", 2010: "PH54-100 (P series)", 2020: "PH54-200 (P series)",
}  # fmt: skip


TIME_BASED = 0x04
"""Bit of Drive Mode (10): profile velocity (112) is a time in ms then, and bounds no speed."""
POSITION_MODES = (3, 4, 5)
"""Operating Mode (11): position, extended position, current-based position."""


class DynamixelDriver(SerialBusDriver):
    """X-series servos. Arguments and errors: :class:`~emo_face.face.drivers.serial_bus.SerialBusDriver`.

    Their bus watchdogs are armed while torque is on: without a packet for ``watchdog`` seconds each servo stops where
    it is and takes no goal until the driver has taken it in again.
    """

    kind = "dynamixel"
    framing = DynamixelFraming()
    registers = X_SERIES

    def decode(self, block: bytes) -> tuple[int, float]:
        """Block 126..135: present load (0.1 %), velocity, position; little-endian, two's complement."""
        load = int.from_bytes(block[0:2], "little", signed=True)
        return int.from_bytes(block[6:10], "little", signed=True), load / 1000.0

    def encode(self, ticks: int) -> bytes:
        """Goal position: two's complement."""
        return ticks.to_bytes(4, "little", signed=True)

    def misuse(self, mode: bytes) -> str:
        if mode[1] not in POSITION_MODES:
            return f"is in operating mode {mode[1]}: set register 11 to 3, position, by DYNAMIXEL Wizard"
        if mode[0] & TIME_BASED:
            return "has a time-based profile, so its speed has no bound: clear bit 2 of register 10, Drive Mode"
        return ""

    def refusal(self, model: bytes) -> str:
        number = int.from_bytes(model, "little")
        if number in X_MODELS or number in MX_MODELS:
            return ""
        return f"is a {OTHERS.get(number, f'model {number}')}: this driver speaks the X series and MX(2.0)"
