"""Dynamixel X series, protocol 2.0 (needs ``dynamixel-sdk``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emo_face.face.drivers.serial_bus import Registers, SerialBusDriver


def _decode(block: Sequence[int]) -> tuple[int, float]:
    """Block 126..135: present load (0.1 %), velocity, position; little-endian, two's complement."""
    load = int.from_bytes(bytes(block[0:2]), "little", signed=True)
    position = int.from_bytes(bytes(block[6:10]), "little", signed=True)
    return position, load / 1000.0


# ROBOTIS e-Manual, control table of XL430-W250 and relatives; hardware error status at 70.
X_SERIES = Registers(
    torque=64,
    goal=116,
    goal_size=4,
    state=126,
    state_size=10,
    decode=_decode,
    faults={0x01: "input voltage", 0x04: "overheating", 0x08: "encoder", 0x10: "electrical shock", 0x20: "overload"},
    alert=0x80,
    fault_register=70,
)


class DynamixelDriver(SerialBusDriver):
    """X-series servos. Arguments and errors: :class:`~emo_face.face.drivers.serial_bus.SerialBusDriver`."""

    kind = "dynamixel"
    sdk_module = "dynamixel_sdk"
    protocol = 2.0
    registers = X_SERIES

    def _request_states(self, port: Any) -> int:
        r = self._registers
        return int(self._packets.syncReadTx(port, r.state, r.state_size, list(self._ids), len(self._ids), False))

    def _receive_packet(self, port: Any) -> tuple[Any, int]:
        packet, result = self._packets.rxPacket(port, False)
        return packet, result

    def _split(self, packet: Sequence[int]) -> tuple[int, int, Sequence[int]]:
        # 4: id, 5-6: length of instruction, error, data and crc, 8: error
        size = (packet[5] | packet[6] << 8) - 4
        return packet[4], packet[8], packet[9 : 9 + size]
