"""Servo buses at the other end of a pseudo-terminal: they read and answer byte by byte, and misbehave when told to.

Written from the makers' protocol descriptions, not from their SDKs, so that both ends are checked.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import threading
import tty
from dataclasses import dataclass, field


@dataclass
class Servo:
    """One servo: its control table as bytes, and how it misbehaves."""

    table: bytearray = field(default_factory=lambda: bytearray(256))
    mute: bool = False
    answers_as: int | None = None
    error: int = 0
    corrupt: bool = False
    cut: int | None = None  # answer only so many bytes
    short_data: bool = False  # well-formed, but one byte too few


class FakeBus:
    """A thread that serves servos on a pty; ``path`` is the port to open.

    Attributes:
        packets: (id, instruction, parameters) of every well-formed packet, in order.
        garbage: bytes sent before each answer.
        damaged: packets with a wrong checksum.
    """

    def __init__(self, ids: list[int]) -> None:
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self._slave = slave
        self.servos = {i: Servo() for i in ids}
        self.packets: list[tuple[int, int, bytes]] = []
        self.garbage = b""
        self.damaged = 0
        self._buffer = b""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Unplug: the port disappears under the driver's feet."""
        self._stop.set()
        self._thread.join(2.0)
        for fd in (self.master, self._slave):
            with contextlib.suppress(OSError):
                os.close(fd)

    def written(self, instruction: int) -> list[tuple[int, int, bytes]]:
        """Packets with this instruction."""
        return [p for p in self.packets if p[1] == instruction]

    def _serve(self) -> None:
        while not self._stop.is_set():
            ready, _, _ = select.select([self.master], [], [], 0.02)
            if not ready and self._buffer:  # a servo forgets half a packet when the line falls silent
                self._buffer = self._buffer[1:]
                while self._step():
                    pass
            if ready:
                try:
                    self._buffer += os.read(self.master, 4096)
                except OSError:
                    return
                while self._step():
                    pass

    def _step(self) -> bool:
        raise NotImplementedError

    def _send(self, servo: Servo, packet: bytes) -> None:
        if servo.mute:
            return
        if servo.corrupt:
            packet = packet[:-1] + bytes([packet[-1] ^ 0x55])
        os.write(self.master, self.garbage + packet[: servo.cut])


class FeetechBus(FakeBus):
    """SMS/STS protocol: FF FF id length instruction parameters checksum; little-endian tables."""

    PING, READ, WRITE, SYNC_READ, SYNC_WRITE = 0x01, 0x02, 0x03, 0x82, 0x83

    def _step(self) -> bool:
        start = self._buffer.find(b"\xff\xff")
        if start < 0 or len(self._buffer) < start + 4:
            return False
        body = self._buffer[start:]
        total = body[3] + 4
        if len(body) < total:
            return False
        packet, self._buffer = body[:total], body[total:]
        if (~sum(packet[2:-1])) & 0xFF != packet[-1]:
            self.damaged += 1
            return True
        self._handle(packet[2], packet[4], packet[5:-1])
        return True

    def _handle(self, servo: int, instruction: int, params: bytes) -> None:
        self.packets.append((servo, instruction, params))
        if instruction == self.SYNC_WRITE:
            address, size = params[0], params[1]
            for at in range(2, len(params), size + 1):
                if params[at] in self.servos:
                    self.servos[params[at]].table[address : address + size] = params[at + 1 : at + 1 + size]
        elif instruction == self.SYNC_READ:
            for i in params[2:]:
                if i in self.servos:
                    self._answer(i, bytes(self.servos[i].table[params[0] : params[0] + params[1]]))
        elif instruction == self.READ and servo in self.servos:
            self._answer(servo, bytes(self.servos[servo].table[params[0] : params[0] + params[1]]))
        elif instruction == self.WRITE:
            for i in self.servos if servo == 0xFE else [servo] if servo in self.servos else []:
                self.servos[i].table[params[0] : params[0] + len(params) - 1] = params[1:]
                if servo != 0xFE:
                    self._answer(i, b"")

    def _answer(self, i: int, data: bytes) -> None:
        servo = self.servos[i]
        if servo.short_data:
            data = data[:-1]
        shown = i if servo.answers_as is None else servo.answers_as
        body = bytes([shown, len(data) + 2, servo.error]) + data
        self._send(servo, b"\xff\xff" + body + bytes([~sum(body) & 0xFF]))


class DynamixelBus(FakeBus):
    """Protocol 2.0: FF FF FD 00 id length instruction parameters crc16; 16-bit addresses."""

    READ, WRITE, STATUS, SYNC_READ, SYNC_WRITE = 0x02, 0x03, 0x55, 0x82, 0x83

    def _step(self) -> bool:
        start = self._buffer.find(b"\xff\xff\xfd\x00")
        if start < 0 or len(self._buffer) < start + 7:
            return False
        body = self._buffer[start:]
        total = int.from_bytes(body[5:7], "little") + 7
        if len(body) < total:
            return False
        packet, self._buffer = body[:total], body[total:]
        if crc16(packet[:-2]) != int.from_bytes(packet[-2:], "little"):
            self.damaged += 1
            return True
        self._handle(packet[4], packet[7], packet[8:-2].replace(b"\xff\xff\xfd\xfd", b"\xff\xff\xfd"))
        return True

    def _handle(self, servo: int, instruction: int, params: bytes) -> None:
        self.packets.append((servo, instruction, params))
        if instruction not in (self.READ, self.WRITE, self.SYNC_READ, self.SYNC_WRITE):
            return
        address = int.from_bytes(params[0:2], "little")
        size = int.from_bytes(params[2:4], "little") if instruction != self.WRITE else len(params) - 2
        if instruction == self.SYNC_WRITE:
            for at in range(4, len(params), size + 1):
                if params[at] in self.servos:
                    self.servos[params[at]].table[address : address + size] = params[at + 1 : at + 1 + size]
        elif instruction == self.SYNC_READ:
            for i in params[4:]:
                if i in self.servos:
                    self._answer(i, bytes(self.servos[i].table[address : address + size]))
        elif instruction == self.READ and servo in self.servos:
            self._answer(servo, bytes(self.servos[servo].table[address : address + size]))
        elif instruction == self.WRITE:
            for i in self.servos if servo == 0xFE else [servo] if servo in self.servos else []:
                self.servos[i].table[address : address + size] = params[2:]

    def _answer(self, i: int, data: bytes) -> None:
        servo = self.servos[i]
        if servo.short_data:
            data = data[:-1]
        shown = i if servo.answers_as is None else servo.answers_as
        body = bytes([0x55, servo.error]) + data
        body = body.replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")  # byte stuffing
        packet = b"\xff\xff\xfd\x00" + bytes([shown]) + (len(body) + 2).to_bytes(2, "little") + body
        self._send(servo, packet + crc16(packet).to_bytes(2, "little"))


def crc16(data: bytes) -> int:
    """CRC-16 of protocol 2.0: polynomial 0x8005, start 0, no reflection."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x8005) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc
