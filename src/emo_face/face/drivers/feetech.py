"""Feetech STS and SMS series (needs pyserial)."""

from emo_face.face.drivers.chain import Registers
from emo_face.face.drivers.serial_bus import SerialBusDriver
from emo_face.face.drivers.wire import FeetechFraming

# Feetech, "SMS/STS memory table"; speed in steps/s; the error byte of a status packet holds the faults.
STS_SERIES = Registers(
    model=3,
    mode=33,
    mode_size=1,
    torque=40,
    goal=42,
    goal_size=2,
    state=56,
    state_size=6,
    speed=46,
    speed_size=2,
    speed_unit=1.0,
    faults={0x01: "voltage", 0x02: "angle sensor", 0x04: "overheating", 0x08: "overcurrent", 0x20: "overload"},
)
SCS_MAJOR = 5
"""Register 3, main version of the servo: 5 in the SCS series (SCS0009 reads 5, 4), 9 in STS (STS3215 reads 9, 3)."""


def signed(raw: int, bit: int) -> int:
    """A number stored as magnitude with its sign in ``bit``."""
    magnitude = raw & ((1 << bit) - 1)
    return -magnitude if raw & 1 << bit else magnitude


class FeetechDriver(SerialBusDriver):
    """STS and SMS servos. Arguments and errors: :class:`~emo_face.face.drivers.serial_bus.SerialBusDriver`.

    They have no bus watchdog: a servo goes on holding its last goal when nobody talks to it.
    """

    kind = "feetech"
    framing = FeetechFraming()
    registers = STS_SERIES

    def decode(self, block: bytes) -> tuple[int, float]:
        """Block 56..61: position (sign in bit 15), speed, load (0.1 %, sign in bit 10); little-endian."""
        position = signed(int.from_bytes(block[0:2], "little"), 15)
        return position, signed(int.from_bytes(block[4:6], "little") & 0x7FF, 10) / 1000.0

    def encode(self, ticks: int) -> bytes:
        """Goal position: magnitude, sign in bit 15."""
        ticks = max(-0x7FFF, min(0x7FFF, ticks))
        return (abs(ticks) | (0x8000 if ticks < 0 else 0)).to_bytes(2, "little")

    def misuse(self, mode: bytes) -> str:
        if mode[0] == 0:
            return ""
        kind = {1: "wheel mode", 2: "open-loop wheel mode", 3: "step mode"}.get(mode[0], "another mode")
        return f"is in {kind} (register 33 reads {mode[0]}): set it to 0, servo mode, by Feetech's FD"

    def refusal(self, model: bytes) -> str:
        if model[0] != SCS_MAJOR:
            return ""
        name = {4: "SCS0009"}.get(model[1], "SCS series")
        return (
            f"is a {name} (model {int.from_bytes(model, 'big')}): SCS servos count 1024 steps and store numbers the "
            "other way round; this driver speaks STS and SMS"
        )
