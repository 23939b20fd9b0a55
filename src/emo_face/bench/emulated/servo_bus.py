"""Servo buses at the other end of a pseudo-terminal, misbehaving when told to; packets as the makers' protocols say.

Feetech, "Communication Protocol" and ROBOTIS e-Manual, "DYNAMIXEL Protocol 2.0"; nothing is taken from our drivers.
"""

import contextlib
import os
import pty
import select
import threading
import time
import tty
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cache

from emo_face.bench.emulated.servos import ScsServo, Servo, StsServo, XServo

KEPT = 100_000


class FakeBus(ABC):
    """A thread that serves servos on a pty; ``path`` is the port to open.

    Attributes:
        packets: (id, instruction, parameters) of well-formed packets, in order; the last 50,000 at least.
        garbage: bytes sent before each answer. damaged: packets with a wrong checksum.
        echo: returns every byte that is sent. babble: sends these bytes all the time. delay: seconds before an answer.
        chained: as with real sync reads, who comes behind a silent servo in the list does not answer either.
        drop: next so many writes that reach nobody.
    """

    READ, WRITE, SYNC_READ, SYNC_WRITE, BROADCAST = 0x02, 0x03, 0x82, 0x83, 0xFE
    SERVO: type[Servo]

    def __init__(self, ids: Iterable[int], servo: type[Servo] | None = None, link: str | None = None) -> None:
        self.servos = {i: (servo or self.SERVO)() for i in ids}
        self.packets: list[tuple[int, int, bytes]] = []
        self.garbage = self.babble = b""
        self.damaged = self.drop = 0
        self.echo, self.chained, self.delay = False, True, 0.0
        self._link = link
        self.plug()

    def plug(self) -> None:
        """The adapter comes (again)."""
        self.master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        if self._link:
            os.symlink(self.path, self._link)
            self.path = self._link
        self._buffer = b""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Unplug: the port disappears under the driver's feet; the servos keep their power."""
        self._stop.set()
        self._thread.join(2.0)
        if self._link:
            with contextlib.suppress(OSError):
                os.unlink(self._link)
        for fd in (self.master, self._slave):
            with contextlib.suppress(OSError):
                os.close(fd)

    def written(self, instruction: int) -> list[tuple[int, int, bytes]]:
        """Packets with this instruction."""
        return [p for p in self.packets if p[1] == instruction]

    def torques(self) -> list[int]:
        """Torque switches, in the order of the ids."""
        return [servo.torque for servo in self.servos.values()]

    def _serve(self) -> None:
        while not self._stop.is_set():
            ready, _, _ = select.select([self.master], [], [], 0.002 if self.babble else 0.02)
            if self.babble:
                self._out(self.babble)
            if not ready and self._buffer:  # a servo forgets half a packet when the line falls silent
                self._buffer = self._buffer[1:]
            elif ready:
                try:
                    self._buffer += (came := os.read(self.master, 4096))
                except OSError:
                    return
                if self.echo:
                    self._out(came)
            while self._step():
                pass

    def _out(self, data: bytes) -> None:
        if select.select([], [self.master], [], 0)[1]:
            with contextlib.suppress(OSError):
                os.write(self.master, data)

    def _handle(self, target: int, instruction: int, address: int, size: int, rest: bytes) -> None:
        """Carry out an instruction: ``rest`` are the data of a write, or the ids (and data) of a sync one."""
        for servo in self.servos.values():
            servo.fed(time.monotonic())
        everybody = list(self.servos) if target == self.BROADCAST else [i for i in [target] if i in self.servos]
        if instruction in (self.WRITE, self.SYNC_WRITE) and self.drop:
            self.drop -= 1
        elif instruction == self.WRITE:
            for i in everybody:
                self.servos[i].write(address, rest)
                if target != self.BROADCAST:
                    self._answer(i, b"")
        elif instruction == self.SYNC_WRITE:
            for at in range(0, len(rest), size + 1):
                if rest[at] in self.servos:
                    self.servos[rest[at]].write(address, rest[at + 1 : at + 1 + size])
        elif instruction == self.READ:
            for i in everybody:
                self._answer(i, self._data(i, address, size))
        elif instruction == self.SYNC_READ:
            for i in rest:
                if i not in self.servos or self.servos[i].mute or self.servos[i].absent:
                    if self.chained:
                        return
                    continue
                if isinstance(self.servos[i], ScsServo):
                    return
                self._answer(i, self._data(i, address, size))

    def _note(self, target: int, instruction: int, params: bytes) -> None:
        if len(self.packets) >= KEPT:  # a soak lasts for hours
            del self.packets[: KEPT // 2]
        self.packets.append((target, instruction, params))

    def _data(self, i: int, address: int, size: int) -> bytes:
        return bytes(self.servos[i].table[address : address + size])

    def _answer(self, i: int, data: bytes) -> None:
        servo = self.servos[i]
        if servo.mute or servo.absent:
            return
        sender = i if servo.answers_as is None else servo.answers_as
        packet = self._packet(sender, servo.error, data[:-1] if servo.short_data else data)
        if servo.corrupt:
            packet = packet[:-1] + bytes([packet[-1] ^ 0x55])
        if self.delay:
            time.sleep(self.delay)
        self._out(self.garbage + packet[: servo.cut])

    @abstractmethod
    def _step(self) -> bool:
        """Take the next packet from the buffer; whether there was one."""

    @abstractmethod
    def _packet(self, i: int, error: int, data: bytes) -> bytes:
        """An answer of servo ``i``."""


class FeetechBus(FakeBus):
    """FF FF id length instruction parameters checksum."""

    SERVO = StsServo

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
        target, instruction, params = packet[2], packet[4], packet[5:-1]
        self._note(target, instruction, params)
        if params:
            known = 1 if instruction == self.WRITE else 2
            self._handle(target, instruction, params[0], params[1] if known == 2 else 0, params[known:])
        return True

    def _packet(self, i: int, error: int, data: bytes) -> bytes:
        body = bytes([i, len(data) + 2, error]) + data
        return b"\xff\xff" + body + bytes([~sum(body) & 0xFF])


class DynamixelBus(FakeBus):
    """Protocol 2.0: FF FF FD 00 id length instruction parameters crc16; 16-bit addresses."""

    SERVO = XServo

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
        target, instruction = packet[4], packet[7]
        params = packet[8:-2].replace(b"\xff\xff\xfd\xfd", b"\xff\xff\xfd")
        self._note(target, instruction, params)
        if len(params) >= 2:
            known = 2 if instruction == self.WRITE else 4
            size = int.from_bytes(params[2:4], "little") if known == 4 else 0
            self._handle(target, instruction, int.from_bytes(params[0:2], "little"), size, params[known:])
        return True

    def _packet(self, i: int, error: int, data: bytes) -> bytes:
        body = (bytes([0x55, error]) + data).replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")  # byte stuffing
        packet = b"\xff\xff\xfd\x00" + bytes([i]) + (len(body) + 2).to_bytes(2, "little") + body
        return packet + crc16(packet).to_bytes(2, "little")


def crc16(data: bytes) -> int:
    """CRC-16 of protocol 2.0: polynomial 0x8005, start 0, no reflection."""
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ _crc_of(byte ^ crc >> 8)
    return crc


@cache
def _crc_of(byte: int) -> int:
    crc = byte << 8
    for _ in range(8):
        crc = (crc << 1) ^ 0x8005 if crc & 0x8000 else crc << 1
    return crc & 0xFFFF
