"""Packets of both servo makers, and a serial line that never waits longer than its time-out.

The makers' SDKs frame the same packets, but their receive loops look at the clock only while no byte is at hand (a line
that babbles holds them for ever), keep the byte order in a global and mark a port as busy across threads. An emergency
stop cannot stand on that, and a packet is ten lines.

Facts: Feetech, "Communication Protocol" (FF FF id length instruction parameters checksum; status: error instead of the
instruction); ROBOTIS e-Manual, "DYNAMIXEL Protocol 2.0" (FF FF FD 00 id length instruction parameters CRC-16, byte
stuffing, status 0x55).
"""

import contextlib
import select
import termios
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from emo_face.core.install import how_to_install
from emo_face.face.drivers.base import DriverError, Interrupted, MissingLibrary

READ, WRITE, SYNC_READ, SYNC_WRITE = 0x02, 0x03, 0x82, 0x83
"""Instructions, the same in both protocols."""
BROADCAST = 0xFE


@dataclass(frozen=True, slots=True)
class Status:
    """Answer of a servo: who, its error byte, its data."""

    servo: int
    error: int
    data: bytes


MORE, WRONG = 0, -1
"""Bytes that may become an answer, and bytes that are none."""


class Framing(ABC):
    """How one maker packs instructions and answers."""

    HEADER: ClassVar[bytes]

    @abstractmethod
    def instruction(self, servo: int, code: int, parameters: bytes) -> bytes:
        """Bytes of a packet to ``servo``."""

    @abstractmethod
    def address(self, register: int) -> bytes:
        """A register's address, or a number of bytes, as parameters hold it."""

    @abstractmethod
    def look(self, buffer: bytes) -> tuple[Status | None, int]:
        """The answer that ``buffer`` begins with and its length; None and :data:`MORE` or :data:`WRONG` otherwise."""

    def take(self, buffer: bytes) -> tuple[Status | None, bytes]:
        """The first whole answer in ``buffer`` and what follows it; None and what may still become one otherwise.

        What looks like a beginning in noise may claim to be long: an answer behind it is not kept waiting for that.
        """
        start, keep = buffer.find(self.HEADER), -1
        while start >= 0:
            status, size = self.look(buffer[start:])
            if status is not None:
                return status, buffer[start + size :]
            if size == MORE and keep < 0:
                keep = start
            start = buffer.find(self.HEADER, start + 1)
        if keep < 0:  # at most the first bytes of a header
            keep = len(buffer) - next((n for n in (3, 2, 1) if buffer.endswith(self.HEADER[:n])), 0)
        return None, buffer[keep:]


class FeetechFraming(Framing):
    """SCS, SMS and STS series."""

    HEADER = b"\xff\xff"

    def instruction(self, servo: int, code: int, parameters: bytes) -> bytes:
        body = bytes([servo, len(parameters) + 2, code]) + parameters
        return b"\xff\xff" + body + bytes([~sum(body) & 0xFF])

    def address(self, register: int) -> bytes:
        return bytes([register])

    def look(self, buffer: bytes) -> tuple[Status | None, int]:
        if len(buffer) < 4:
            return None, MORE
        end = 4 + buffer[3]
        if buffer[2] >= BROADCAST or buffer[3] < 2:
            return None, WRONG
        if len(buffer) < end:
            return None, MORE
        good = ~sum(buffer[2 : end - 1]) & 0xFF == buffer[end - 1]
        return (Status(buffer[2], buffer[4], buffer[5 : end - 1]), end) if good else (None, WRONG)


class DynamixelFraming(Framing):
    """Protocol 2.0."""

    HEADER = b"\xff\xff\xfd\x00"

    def instruction(self, servo: int, code: int, parameters: bytes) -> bytes:
        body = (bytes([code]) + parameters).replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")
        packet = self.HEADER + bytes([servo]) + (len(body) + 2).to_bytes(2, "little") + body
        return packet + crc16(packet).to_bytes(2, "little")

    def address(self, register: int) -> bytes:
        return register.to_bytes(2, "little")

    def look(self, buffer: bytes) -> tuple[Status | None, int]:
        if len(buffer) < 8:
            return None, MORE
        end = 7 + int.from_bytes(buffer[5:7], "little")
        if buffer[7] != 0x55 or not 11 <= end <= 1024:
            return None, WRONG
        if len(buffer) < end:
            return None, MORE
        if crc16(buffer[: end - 2]) != int.from_bytes(buffer[end - 2 : end], "little"):
            return None, WRONG
        return Status(buffer[4], buffer[8], buffer[9 : end - 2].replace(b"\xff\xff\xfd\xfd", b"\xff\xff\xfd")), end


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x8005 if crc & 0x8000 else crc << 1
        table.append(crc & 0xFFFF)
    return tuple(table)


_CRC = _crc_table()


def crc16(data: bytes) -> int:
    """CRC-16 with polynomial 0x8005, start 0, not reflected."""
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ _CRC[(crc >> 8) ^ byte]
    return crc


class Line:
    """A serial port, half duplex: packets out, answers in until a deadline.

    Args:
        where: how errors call it. port: device. baud: bit/s.
        framing: the maker's.
        stop: while set, waiting gives up with Interrupted.
        clock: seconds.

    Raises:
        MissingLibrary: pyserial is not installed. DriverError: the port cannot be opened, or another program has it.
    """

    def __init__(
        self,
        where: str,
        port: str,
        baud: int,
        framing: Framing,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        serial = serial_library()
        self._where, self._framing, self._stop, self._clock = where, framing, stop, clock
        self._byte_time, self._pending, self._echo = 10.0 / baud, b"", b""
        try:
            # exclusive: two programs on one bus cut each other's packets
            self._serial = serial.Serial(port, baud, timeout=0, write_timeout=0.1, exclusive=True)
        except (OSError, ValueError, OverflowError, termios.error) as error:  # SerialException is an OSError
            raise DriverError(f"{where}: {_cannot_open(baud, error)}") from None

    def send(self, servo: int, code: int, parameters: bytes) -> None:
        """Write one packet; what came in before is forgotten. Raises DriverError."""
        packet = self._framing.instruction(servo, code, parameters)
        with _unplugged(self._where):
            self._serial.reset_input_buffer()  # late answers to earlier questions
            written = self._serial.write(packet)
        self._pending, self._echo = b"", packet
        if written != len(packet):
            raise DriverError(f"{self._where}: the packet was not sent whole")

    def answers(self, servos: Sequence[int], size: int, timeout: float) -> dict[int, Status]:
        """Answers of ``servos`` with ``size`` bytes of data each, whoever is heard.

        Waits ``timeout`` seconds for each answer besides the time that its bytes take, and at most twice that for all:
        a line that babbles ends too. Raises DriverError if interrupted or unplugged.
        """
        found: dict[int, Status] = {}
        each = timeout + (size + 12) * self._byte_time
        end = self._clock() + 2 * timeout + len(servos) * each
        deadline = self._clock() + each + len(self._echo) * self._byte_time
        while len(found) < len(servos) and (now := self._clock()) < min(deadline, end):
            if self._stop.is_set():
                raise Interrupted(f"{self._where}: interrupted by the emergency stop")
            self._fill(min(deadline, end) - now)
            while (status := self._next()) is not None:
                if status.servo in servos and status.servo not in found and len(status.data) == size:
                    found[status.servo] = status
                    deadline = self._clock() + each
        return found

    def close(self) -> None:
        """Release the port."""
        with contextlib.suppress(OSError, termios.error):  # already gone
            self._serial.close()

    def _fill(self, patience: float) -> None:
        with _unplugged(self._where):
            if select.select([self._serial.fileno()], [], [], min(patience, 0.01))[0]:  # looks at the stop in between
                self._pending += self._serial.read(4096)
        if self._echo and len(self._pending) >= len(self._echo):
            # adapters that join both directions return what was sent
            self._pending = self._pending.removeprefix(self._echo)
            self._echo = b""

    def _next(self) -> Status | None:
        if self._echo and self._pending.startswith(self._echo[: len(self._pending)]):
            return None  # may still be our own packet
        status, self._pending = self._framing.take(self._pending)
        return status


def serial_library() -> Any:
    """The module ``serial`` of pyserial. Raises MissingLibrary that names the command to install it."""
    try:
        import serial
    except ImportError:
        raise MissingLibrary(f"servo buses need pyserial: {how_to_install('feetech')}") from None
    return serial


@contextlib.contextmanager
def _unplugged(where: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # OSError, termios.error or TypeError, as pyserial happens to notice
        raise DriverError(f"{where}: {error}; is it unplugged?") from None


def _cannot_open(baud: int, error: Exception) -> str:
    text = str(error)
    if "exclusive" in text or "Resource temporarily unavailable" in text or "Device or resource busy" in text:
        return "the port is in use: stop the other program (emo-face calibrate, a second driver)"
    return (
        f"cannot open at {baud} baud: {text}; plug the adapter in, check driver.options.port of the rig, "
        "or join the group dialout"
    )
