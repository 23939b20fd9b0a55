"""What Dynamixel and Feetech buses have in common: one port, sync write of goals, sync read of states."""

from __future__ import annotations

import contextlib
import math
import termios
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import ConfigError
from emo_face.face.drivers.base import DriverError, Feedback

Array = NDArray[np.float64]

BROADCAST = 0xFE
TICKS, CENTRE = 4096, 2048
"""Both makers count 4096 ticks a turn, 2048 in the middle (control tables of X series and STS series)."""


@dataclass(frozen=True)
class Registers:
    """Addresses of a servo family (control table of the maker) and how to read its answers.

    Attributes:
        torque, goal: address of torque enable (1 byte) and goal position.
        goal_size: bytes of a goal.
        state, state_size: block that one sync read fetches.
        decode: block -> (position in ticks, load in [-1, 1]).
        faults: bit -> name, of the error byte in status packets.
        alert: bit of the error byte that says "read :attr:`fault_register`", 0 if the byte holds the faults itself.
        fault_register: address of the fault byte, used with ``alert``.
    """

    torque: int
    goal: int
    goal_size: int
    state: int
    state_size: int
    decode: Callable[[Sequence[int]], tuple[int, float]]
    faults: dict[int, str]
    alert: int = 0
    fault_register: int = 0


class SerialBusDriver(ABC):
    """A chain of bus servos behind one serial port, spoken to through the maker's SDK.

    A family of servos is a subclass with its name, its SDK and its registers, and how its packets are taken apart.

    Args:
        names, ids, units: of each actuator; unit ``ticks`` or ``rad`` (0 rad = tick 2048, + counts up).
        port: serial device. baud: bit/s.
        timeout: seconds to wait for one answer; keep it well under a loop period.

    Raises:
        ConfigError: the SDK is not installed, or a unit that a bus servo cannot have.
    """

    kind: ClassVar[str]
    sdk_module: ClassVar[str]
    protocol: ClassVar[float]
    registers: ClassVar[Registers]

    def __init__(
        self,
        names: Sequence[str],
        ids: Sequence[int],
        units: Sequence[str],
        port: str,
        baud: int = 1_000_000,
        timeout: float = 0.004,
    ) -> None:
        for name, unit in zip(names, units, strict=True):
            if unit not in ("ticks", "rad"):
                raise ConfigError(f"{self.kind} actuator {name!r}: expected unit ticks or rad, got {unit!r}")
        try:
            self._sdk: ModuleType = import_module(self.sdk_module)
        except ImportError:
            raise ConfigError(f"the {self.kind} driver needs its SDK: scripts/setup.sh {self.kind}") from None
        self._packets: Any = self._sdk.PacketHandler(self.protocol)
        self._registers = self.registers
        self._names, self._ids = tuple(names), tuple(ids)
        self._scale = np.array([1.0 if u == "ticks" else TICKS / (2 * math.pi) for u in units])
        self._offset = np.array([0.0 if u == "ticks" else CENTRE for u in units])
        self._path, self._baud, self._timeout = port, baud, timeout
        self._port: Any = None

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    def connect(self) -> None:
        """Open the port and read every servo once. Raises DriverError that names the port or the silent servo."""
        self.close()
        port = self._sdk.PortHandler(self._path)
        # the SDK adds 34 ms for slow adapters to every timeout, more than three loop periods
        port.setPacketTimeout = lambda size: port.setPacketTimeoutMillis(
            port.tx_time_per_byte * size + 1e3 * self._timeout
        )
        try:
            if not port.setBaudRate(self._baud):
                raise DriverError(f"{self._where}: baud rate {self._baud} is not one that the servos know")
        except (OSError, ValueError, termios.error) as error:  # serial.SerialException is an OSError
            raise DriverError(
                f"{self._where}: cannot open: {error}; plug the adapter in, check driver.options.port of the rig, "
                "or join the group dialout"
            ) from None
        self._port = port
        self.read()

    def enable(self, on: bool) -> None:
        """Torque on, with every goal set to the present position first; or torque off."""
        if on:
            self._send(self._registers.goal, self._registers.goal_size, self._ticks(self.read().position))
        self._send(self._registers.torque, 1, [int(on)] * len(self._ids))

    def write(self, position: Array) -> None:
        """Send goals in one broadcast packet; nothing is waited for."""
        if position.shape != (len(self._ids),) or not np.isfinite(position).all():
            raise DriverError(f"{self._where}: expected {len(self._ids)} finite positions")
        self._send(self._registers.goal, self._registers.goal_size, self._ticks(position))

    def read(self) -> Feedback:
        """Positions, loads and faults of all servos in one sync read."""
        r, port = self._registers, self._open_port()
        position, load = np.empty((2, len(self._ids)))
        faults: dict[str, str] = {}
        self._guard(lambda: port.ser.reset_input_buffer())  # late answers to earlier questions
        result = self._guard(lambda: self._request_states(port))
        self._check(result, "cannot send")
        for i, servo in enumerate(self._ids):
            data, result, error = self._receive(port, servo)
            name = self._names[i]
            self._check(result, f"servo {servo} ({name}) did not answer: check its cable, id and baud rate")
            if len(data) != r.state_size:
                raise DriverError(f"{self._where}: servo {servo} ({name}) sent {len(data)} of {r.state_size} bytes")
            ticks, load[i] = r.decode(data)
            position[i] = (ticks - self._offset[i]) / self._scale[i]
            if error:
                faults[name] = self._fault(error)
        for name in [n for n, f in faults.items() if not f]:
            faults[name] = self._fault_register(self._ids[self._names.index(name)])
        return Feedback(position, load, faults)

    def estop(self) -> None:
        """Broadcast torque off."""
        if self._port is None:
            return
        port, register = self._port, self._registers.torque
        port.is_using = False  # an interrupted read must not keep the stop back
        try:
            result = self._guard(lambda: self._packets.write1ByteTxOnly(port, BROADCAST, register, 0))
            self._check(result, "the packet was not sent whole")
        except DriverError as error:
            raise DriverError(f"{error}; torque is NOT off: cut the servo power") from None

    def close(self) -> None:
        """Close the port."""
        port, self._port = self._port, None
        if port is not None:
            with contextlib.suppress(OSError, termios.error):  # already gone
                port.closePort()

    @property
    def _where(self) -> str:
        return f"{self.kind} bus {self._path}"

    def _open_port(self) -> Any:
        if self._port is None:
            raise DriverError(f"{self._where}: not connected")
        return self._port

    def _guard(self, call: Callable[[], Any]) -> Any:
        """Run an SDK call; an unplugged port becomes a DriverError and the SDK's busy flag is cleared."""
        try:
            return call()
        except Exception as error:  # unplugged: OSError, termios.error or TypeError, as pyserial happens to notice
            raise DriverError(f"{self._where}: {error}; is it unplugged?") from None
        finally:
            if self._port is not None:
                self._port.is_using = False

    def _check(self, result: int, what: str) -> None:
        if result != self._sdk.COMM_SUCCESS:
            detail = str(self._packets.getTxRxResult(result)).replace("[TxRxResult] ", "")
            raise DriverError(f"{self._where}: {what} ({detail})")

    def _request_states(self, port: Any) -> int:
        r = self._registers
        return int(self._packets.syncReadTx(port, r.state, r.state_size, list(self._ids), len(self._ids)))

    def _receive(self, port: Any, servo: int) -> tuple[Sequence[int], int, int]:
        """Data, result and error byte of the next answer of ``servo``; answers of others are skipped until the timeout.

        Not the SDK's readRx, which takes the checksum for data where an answer is too short.
        """
        while True:
            packet, result = self._guard(lambda: self._receive_packet(port))
            if result != self._sdk.COMM_SUCCESS:
                return (), result, 0
            sender, error, data = self._split(packet)
            if sender == servo:
                return data, result, error

    @abstractmethod
    def _receive_packet(self, port: Any) -> tuple[Any, int]:
        """The SDK's next packet and result."""

    @abstractmethod
    def _split(self, packet: Sequence[int]) -> tuple[int, int, Sequence[int]]:
        """Sender, error byte and data of a status packet."""

    def _send(self, address: int, size: int, values: Sequence[int]) -> None:
        """One sync write of ``size`` little-endian bytes to every servo."""
        port = self._open_port()
        payload: list[int] = []
        for servo, value in zip(self._ids, values, strict=True):
            payload += [servo, *(int(value) & (256**size - 1)).to_bytes(size, "little")]
        result = self._guard(lambda: self._packets.syncWriteTxOnly(port, address, size, payload, len(payload)))
        self._check(result, "the packet was not sent whole")

    def _ticks(self, position: Array) -> list[int]:
        return [round(t) for t in position * self._scale + self._offset]

    def _fault(self, error: int) -> str:
        """Names of the faults in an error byte; empty where the fault register must be asked."""
        if self._registers.alert:
            return "" if error & self._registers.alert else f"error {error & 0x7F} in the packet"
        return self._names_of(error)

    def _fault_register(self, servo: int) -> str:
        value, result, _ = self._guard(
            lambda: self._packets.read1ByteTxRx(self._open_port(), servo, self._registers.fault_register)
        )
        return self._names_of(value) if result == self._sdk.COMM_SUCCESS else "fault (register cannot be read)"

    def _names_of(self, bits: int) -> str:
        found = [name for bit, name in self._registers.faults.items() if bits & bit]
        return ", ".join(found) or f"fault bits {bits:#04x}"
