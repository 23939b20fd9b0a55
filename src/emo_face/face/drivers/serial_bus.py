"""What Dynamixel and Feetech buses have in common: sync write of goals, sync read of states, stop and recovery."""

import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from emo_face.core.errors import ConfigError
from emo_face.core.types import Array
from emo_face.face.drivers.base import DriverError, Feedback, check_number, unconfirmed
from emo_face.face.drivers.chain import Chain, Registers
from emo_face.face.drivers.stop_report import StopReport, StopState
from emo_face.face.drivers.wire import Framing, Line, Status, serial_library

TICKS, CENTRE = 4096, 2048
"""Both makers count 4096 ticks per turn, 2048 in the middle (control tables of X series and STS series)."""
SILENT = "does not answer: check its cable, id, power and baud rate"
LIMP = "torque went off by itself: overload, or its power was cut"
FIRED = "its bus watchdog stopped it: no packet came for too long"
FIRMWARE = "no bus watchdog (firmware before 38): it goes on holding if this program dies"


class SerialBusDriver(ABC):
    """A chain of bus servos behind one serial port.

    A family is a subclass with its name, framing and registers, and with how its numbers are encoded. A servo that
    falls silent, loses its torque or was stopped by its watchdog gets no more goals (one could make it jump) until
    :meth:`enable` takes it in again from where it stands; the others go on.

    Args:
        names, ids, units: of each actuator; unit ``ticks`` or ``rad`` (0 rad = tick 2048, + counts up).
        port: serial device. baud: bit/s.
        timeout: seconds to wait for one answer; keep it well under a loop period.
        watchdog: seconds without a packet after which servos that can stop by themselves, 0.04 to 2.5; 0 for never.
        speed: (n,) unit/s that no actuator exceeds on the way to a goal, whatever the goal; 0 for the servo's own.

    Raises:
        ConfigError: an option or a unit that a bus servo cannot have. MissingLibrary: pyserial is not installed.
    """

    kind: ClassVar[str]
    framing: ClassVar[Framing]
    registers: ClassVar[Registers]

    def __init__(
        self,
        names: Sequence[str],
        ids: Sequence[int],
        units: Sequence[str],
        port: str,
        baud: int = 1_000_000,
        timeout: float = 0.004,
        watchdog: float = 0.5,
        speed: ArrayLike = 0.0,
    ) -> None:
        for name, servo, unit in zip(names, ids, units, strict=True):
            if unit not in ("ticks", "rad"):
                raise ConfigError(f"{self.kind} actuator {name!r}: expected unit ticks or rad, got {unit!r}")
            check_number(f"{self.kind} actuator {name!r}", "id", servo, 0, 252)
        if not (isinstance(port, str) and port):
            raise ConfigError(f"{self.kind}: port: expected a serial device such as /dev/ttyUSB0, got {port!r}")
        check_number(self.kind, "baud", baud, 9600, 10_000_000)
        check_number(self.kind, "timeout", timeout, 0.0005, 1.0)
        if watchdog != 0:
            check_number(self.kind, "watchdog", watchdog, 0.04, 2.5)
        serial_library()
        self.names, self._ids = tuple(names), tuple(ids)
        self._scale = np.array([1.0 if u == "ticks" else TICKS / (2 * math.pi) for u in units])
        self._offset = np.array([0.0 if u == "ticks" else CENTRE for u in units])
        self._path, self._baud = port, baud
        self._watchdog = math.ceil(watchdog / 0.02) if self.registers.watchdog else 0
        speeds = np.broadcast_to(np.asarray(speed, np.float64), (len(self._ids),)) * self._scale
        most = 256**self.registers.speed_size // 2 - 1
        self._speeds = [min(most, math.ceil(v / self.registers.speed_unit)) for v in speeds]
        self._where = f"{self.kind} bus {port}"
        self._chain = Chain(self._where, self._ids, self.framing, timeout)
        self._interrupted, self._stopping = threading.Event(), False
        self._follow: set[int] = set()  # ids that were pinned where they stood, torque on
        self._astray: set[int] = set()  # ids that get no goals until they were pinned
        self._unarmed: set[int] = set()
        self._reads = 0

    @abstractmethod
    def decode(self, block: bytes) -> tuple[int, float]:
        """(position in ticks, load in [-1, 1]) of a state block."""

    @abstractmethod
    def encode(self, ticks: int) -> bytes:
        """A goal as the servo stores it."""

    @abstractmethod
    def refusal(self, model: bytes) -> str:
        """Why a servo with these two bytes as model number cannot be driven; empty if it can."""

    @abstractmethod
    def misuse(self, mode: bytes) -> str:
        """Why a servo whose mode registers hold this would not go to a goal at the goal speed; empty if it does."""

    def connect(self, keep_torque: bool = False) -> None:
        """Open the port and ask every servo for its model and mode. Raises DriverError naming port and servo."""
        self.close()
        self._open()
        if not keep_torque:
            self._chain.broadcast(self.registers.torque, 0)
        found = self._vet(self._ids)
        if not found:
            raise DriverError(f"{self._where}: no servo answers: check power, cable, ids and baud rate")
        self._astray = set(self._ids) - set(found)
        for servo in self._astray:
            self._chain.silent(servo)

    def _vet(self, servos: Sequence[int]) -> Sequence[int]:
        """Those of ``servos`` that answer. Raises DriverError if one of them would do something else than was meant."""
        r = self.registers
        for register, size, judge in ((r.model, 2, self.refusal), (r.mode, r.mode_size, self.misuse)):
            seen = self._chain.ask(register, size, servos)
            for servo, data in seen.items():
                if reason := judge(data):
                    raise DriverError(f"{self._where}: servo {servo} ({self._name(servo)}) {reason}")
            servos = list(seen)
        return servos

    def enable(self, on: bool) -> None:
        """Torque off for all, or on for those that do not follow yet, with goals at their present positions first."""
        r, chain = self.registers, self._chain
        if not on:
            self._let_go()
            chain.broadcast(r.torque, 0)
            chain.write(r.torque, dict.fromkeys(self._ids, b"\0"))
            return
        states = chain.ask(r.state, r.state_size, self._vet([s for s in self._ids if s not in self._follow]))
        if not states:
            return
        if self._watchdog:
            chain.write(r.watchdog, dict.fromkeys(states, b"\0"))  # one that fired locks the goals
        speeds = zip(self._ids, self._speeds, strict=True)
        chain.write(r.speed, {s: v.to_bytes(r.speed_size, "little") for s, v in speeds if s in states})
        chain.write(r.goal, {servo: self.encode(self.decode(state)[0]) for servo, state in states.items()})
        chain.write(r.torque, dict.fromkeys(states, b"\1"))
        if self._watchdog:
            self._arm(list(states))
        switched = {servo for servo, value in chain.ask(r.torque, 1, list(states)).items() if value != b"\0"}
        self._follow |= switched
        self._astray -= switched

    def write(self, position: Array) -> None:
        """Send goals in one broadcast packet; nothing is waited for."""
        if position.shape != (len(self._ids),) or not np.isfinite(position).all():
            raise DriverError(f"{self._where}: expected {len(self._ids)} finite positions")
        ticks = np.rint(position * self._scale + self._offset).astype(int).tolist()
        goals = {servo: self.encode(t) for servo, t in zip(self._ids, ticks, strict=True) if servo not in self._astray}
        self._chain.write(self.registers.goal, goals)

    def read(self) -> Feedback:
        """Positions, loads and faults of all servos; in turn also their torque, and their watchdogs."""
        r, chain = self.registers, self._chain
        position, load, torque = np.full((3, len(self._ids)), np.nan)
        states = chain.statuses(r.state, r.state_size, self._ids, alone=1)
        if not states:
            raise DriverError(f"{self._where}: no servo answers: check power, cable, ids and baud rate")
        self._reads += 1
        first = self._reads % 2 == 1 or not self._watchdog
        switches = chain.ask(r.torque, 1, list(states)) if first else {}
        fired = {} if first else chain.ask(r.watchdog, 1, list(states))
        faults = {}
        for i, (name, servo) in enumerate(zip(self.names, self._ids, strict=True)):
            if servo in states:
                ticks, load[i] = self.decode(states[servo].data)
                position[i] = (ticks - self._offset[i]) / self._scale[i]
            if servo in switches:
                torque[i] = float(switches[servo] != b"\0")
            if text := self._judge(servo, states.get(servo), torque[i] == 0, fired.get(servo) == b"\xff"):
                faults[name] = text
        strays = tuple(self._name(s) for s, status in states.items() if s not in self._follow and not status.error)
        return Feedback(position, load, faults, torque, strays)

    def torque(self) -> Array:
        """(n,) torque switches as the servos report them now."""
        self._open()
        return self._switches(self._ids)

    def _switches(self, servos: Sequence[int]) -> Array:
        """(n,) torque switches of ``servos``, NaN for the others."""
        seen = self._chain.ask(self.registers.torque, 1, servos)
        return np.array([float(seen[s] != b"\0") if s in seen else np.nan for s in self._ids])

    def estop(self, patience: float = 0.15) -> StopReport:
        """Torque off for everybody at once and by name, until each servo that answers reads back 0."""
        self._stopping = True
        self._interrupted.clear()
        try:
            return self._stop(patience)
        finally:
            self._stopping = False

    def _stop(self, patience: float) -> StopReport:
        self._let_go()
        end, before = time.monotonic() + patience, tuple[str, ...]()
        known = tuple(self._name(servo) for servo in self._ids if self._chain.is_silent(servo))
        torque = np.full(len(self._ids), np.nan)
        while True:
            why = ""
            try:
                torque = self._switch_off(torque)
            except DriverError as error:
                why, torque = str(error), np.full(len(self._ids), np.nan)
                self.close()
            left = unconfirmed(self.names, torque)
            if not left:
                return StopReport(StopState.STOPPED)
            on, some = bool((torque == 1).any()), len(left) < len(self._ids)
            for servo, value in zip(self._ids, torque, strict=True):
                if some and np.isnan(value):
                    self._chain.silent(servo)  # keeps the others waiting no more
            # the caller asks the silent ones, or for the port, again later; what has just happened is tried twice
            settled = (some or bool(why)) and not on and left in (before, known)
            before = left
            if time.monotonic() > end or settled:
                return StopReport(StopState.NOT_OFF, left, why or ("torque reads on" if on else "no answer"))

    def _switch_off(self, torque: Array) -> Array:
        """Send torque off; (n,) switches as they read now. Those that read 0 in ``torque`` are not asked again."""
        self._open()
        self._chain.broadcast(self.registers.torque, 0)
        self._chain.write(self.registers.torque, dict.fromkeys(self._ids, b"\0"))  # one may be deaf to either
        # who has read off stays off: nobody switches on while this goes on
        asked = [servo for servo, value in zip(self._ids, torque, strict=True) if value != 0]
        return np.where(torque == 0, 0.0, self._switches(asked))

    def interrupt(self) -> None:
        if not self._stopping:  # a stop that is under way is what the interruption is for
            self._interrupted.set()

    def close(self) -> None:
        """Close the port."""
        line, self._chain.line = self._chain.line, None
        self._let_go()
        if line is not None:
            line.close()

    def _name(self, servo: int) -> str:
        return self.names[self._ids.index(servo)]

    def _open(self) -> None:
        if self._chain.line is None:
            self._chain.line = Line(self._where, self._path, self._baud, self.framing, self._interrupted)

    def _let_go(self) -> None:
        self._follow.clear()
        self._astray = set(self._ids)  # a goal would switch the torque of some servos on again

    def _judge(self, servo: int, status: Status | None, off: bool, fired: bool) -> str:
        """What is wrong with a servo, empty if nothing; one that cannot follow gets no more goals."""
        silent = self._chain.note(servo, status is not None)
        lost = servo in self._follow and (off or fired)
        if lost or silent:
            self._follow.discard(servo)
            self._astray.add(servo)
        if status is None:
            return SILENT if silent else ""
        if fault := self._fault(servo, status.error) if status.error else "":
            return fault
        if lost:
            return LIMP if off else FIRED
        return FIRMWARE if servo in self._unarmed else ""

    def _arm(self, servos: Sequence[int]) -> None:
        """Set the bus watchdogs and note who has none."""
        self._chain.write(self.registers.watchdog, dict.fromkeys(servos, bytes([self._watchdog])))
        seen = self._chain.ask(self.registers.watchdog, 1, servos)
        self._unarmed = {s for s in servos if s in seen and seen[s][0] != self._watchdog} | self._unarmed - set(servos)

    def _fault(self, servo: int, error: int) -> str:
        """Names of the faults in an error byte, asked of the fault register if the byte says so."""
        if not self.registers.alert:
            return self._names_of(error)
        if not error & self.registers.alert:
            return f"error {error & 0x7F} in the packet"
        value = self._chain.ask(self.registers.fault_register, 1, [servo])
        return self._names_of(value[servo][0]) if servo in value else "fault (register cannot be read)"

    def _names_of(self, bits: int) -> str:
        found = [name for bit, name in self.registers.faults.items() if bits & bit]
        return ", ".join(found) or f"fault bits {bits:#04x}"
