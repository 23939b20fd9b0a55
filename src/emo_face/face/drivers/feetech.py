"""Feetech STS and SMS series (needs ``feetech-servo-sdk``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emo_face.face.drivers.serial_bus import Registers, SerialBusDriver


def _decode(block: Sequence[int]) -> tuple[int, float]:
    """Block 56..61: position (sign in bit 15), speed, load (0.1 %, sign in bit 10); little-endian."""
    raw = block[0] | block[1] << 8
    load = block[4] | block[5] << 8
    position = -(raw & 0x7FFF) if raw & 0x8000 else raw
    share = (load & 0x3FF) / 1000.0
    return position, -share if load & 0x400 else share


# Feetech memory table of STS3215 and relatives; the error byte of a status packet holds the faults.
STS_SERIES = Registers(
    torque=40,
    goal=42,
    goal_size=2,
    state=56,
    state_size=6,
    decode=_decode,
    faults={0x01: "voltage", 0x02: "angle sensor", 0x04: "overheating", 0x08: "overcurrent", 0x20: "overload"},
)


class FeetechDriver(SerialBusDriver):
    """STS and SMS servos. Arguments and errors: :class:`~emo_face.face.drivers.serial_bus.SerialBusDriver`."""

    kind = "feetech"
    sdk_module = "scservo_sdk"
    protocol = 0
    registers = STS_SERIES

    def _receive_packet(self, port: Any) -> tuple[Any, int]:
        packet, result = self._packets.rxPacket(port)
        return packet, result

    def _split(self, packet: Sequence[int]) -> tuple[int, int, Sequence[int]]:
        # 2: id, 3: length of error, data and checksum, 4: error
        return packet[2], packet[4], packet[5 : 3 + packet[3]]
