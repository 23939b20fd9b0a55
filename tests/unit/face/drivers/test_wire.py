"""Packets as the makers' own SDKs build and read them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_face.face.drivers.wire import READ, SYNC_READ, SYNC_WRITE, WRITE, DynamixelFraming, FeetechFraming, crc16


class Port(SimpleNamespace):
    """What an SDK calls a port: keeps what is written, gives back what is to be read."""

    def __init__(self, incoming: bytes = b"") -> None:
        super().__init__(sent=b"", incoming=incoming, is_using=False)

    def clearPort(self) -> None:
        self.is_using = False  # one packet after the other, whoever waits for an answer

    def setPacketTimeout(self, *_: Any) -> None:
        pass

    def setPacketTimeoutMillis(self, *_: Any) -> None:
        pass

    def isPacketTimeout(self) -> bool:
        return not self.incoming

    def writePort(self, packet: Any) -> int:
        self.sent += bytes(packet)
        self.is_using = False
        return len(packet)

    def readPort(self, size: int) -> list[int]:
        out, self.incoming = self.incoming[:size], self.incoming[size:]
        return list(out)


def test_feetech_instructions_are_the_sdks() -> None:
    sdk, ours = pytest.importorskip("scservo_sdk"), FeetechFraming()
    packets, port = sdk.PacketHandler(0), Port()
    packets.write1ByteTxOnly(port, 0xFE, 40, 0)
    packets.readTx(port, 3, 56, 6)
    packets.syncReadTx(port, 56, 6, [1, 2, 7], 3)
    packets.syncWriteTxOnly(port, 42, 2, [1, 5, 128, 2, 0, 8], 6)
    assert port.sent == (
        ours.instruction(0xFE, WRITE, b"\x28\0")
        + ours.instruction(3, READ, bytes([56, 6]))
        + ours.instruction(0xFE, SYNC_READ, bytes([56, 6, 1, 2, 7]))
        + ours.instruction(0xFE, SYNC_WRITE, bytes([42, 2, 1, 5, 128, 2, 0, 8]))
    )


def test_dynamixel_instructions_are_the_sdks() -> None:
    sdk, ours = pytest.importorskip("dynamixel_sdk"), DynamixelFraming()
    packets, port = sdk.PacketHandler(2.0), Port()
    packets.write1ByteTxOnly(port, 0xFE, 64, 0)
    packets.readTx(port, 3, 126, 10)
    packets.syncReadTx(port, 126, 10, [1, 2, 7], 3, False)
    goal = [1, 5, 8, 0, 0]
    packets.syncWriteTxOnly(port, 116, 4, goal, 5)
    word = ours.address
    assert port.sent == (
        ours.instruction(0xFE, WRITE, word(64) + b"\0")
        + ours.instruction(3, READ, word(126) + word(10))
        + ours.instruction(0xFE, SYNC_READ, word(126) + word(10) + bytes([1, 2, 7]))
        + ours.instruction(0xFE, SYNC_WRITE, word(116) + word(4) + bytes(goal))
    )
    # the SDK's addStuffing loses its work (version 4.1 rebinds the list), so that is taken from the e-Manual alone:
    # an FD after FF FF FD from the instruction on, counted in the length
    assert ours.instruction(1, WRITE, b"\xff\xff\xfd")[5:12] == bytes.fromhex("070003fffffdfd")


@pytest.mark.parametrize(("module", "protocol"), [("scservo_sdk", 0), ("dynamixel_sdk", 2.0)])
def test_what_the_sdk_reads_we_read(module: str, protocol: float) -> None:
    sdk = pytest.importorskip(module)
    ours = FeetechFraming() if protocol == 0 else DynamixelFraming()
    if protocol == 0:
        answer = ours.instruction(7, 0x20, bytes([5, 128]))  # an answer has the error where an instruction has its code
    else:
        answer = ours.instruction(7, 0x55, bytes([0x20, 5, 128, 0xFF, 0xFF, 0xFD]))
    packet, result = sdk.PacketHandler(protocol).rxPacket(Port(answer), *([False] if protocol else []))[:2]
    assert result == 0
    status, rest = ours.take(b"\xff\xff\x01" + answer + b"\xff")
    assert status is not None
    assert (status.servo, status.error, rest) == (7, 0x20, b"\xff")
    assert bytes(packet)[2 if protocol == 0 else 4] == status.servo
    assert status.data[:2] == bytes([5, 128])


def test_the_crc_of_the_manual() -> None:
    # e-Manual, protocol 2.0, "Read" of XM430: FF FF FD 00 01 07 00 02 84 00 04 00 and CRC 1D 15
    assert crc16(bytes.fromhex("fffffd000107000284000400")) == 0x151D


@pytest.mark.parametrize("framing", [FeetechFraming(), DynamixelFraming()], ids=["feetech", "dynamixel"])
@given(noise=st.binary(max_size=30), data=st.binary(max_size=20), more=st.binary(max_size=5))
def test_an_answer_is_found_in_noise_and_nothing_is_made_up(
    framing: Any, noise: bytes, data: bytes, more: bytes
) -> None:
    feetech = isinstance(framing, FeetechFraming)
    answer = framing.instruction(9, 0, data) if feetech else framing.instruction(9, 0x55, b"\0" + data)
    buffer, found = noise + answer + more, []
    for _ in range(60):
        status, left = framing.take(buffer)
        if status is None:
            break
        assert len(left) < len(buffer)
        found.append(status)
        buffer = left
    if not noise:
        assert found[0].data == data
    assert all(len(status.data) <= len(noise + answer + more) for status in found)
    assert np.isfinite(len(found))
