"""The servos of one line: instructions to all of them, questions to each, and who is known to be silent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emo_face.face.drivers.base import DriverError
from emo_face.face.drivers.wire import BROADCAST, READ, SYNC_READ, SYNC_WRITE, WRITE, Framing, Line, Status

MISSES = 2
"""Questions in a row without an answer after which a servo counts as silent."""


@dataclass(frozen=True)
class Registers:
    """Addresses of a servo family (control table of the maker).

    Attributes:
        model, torque, goal: address of model number (2 bytes), torque enable (1 byte) and goal position.
        mode, mode_size: what says how goals are understood.
        goal_size: bytes of a goal.
        state, state_size: block that one sync read fetches.
        speed, speed_size: goal speed, which bounds how fast a goal is approached. speed_unit: ticks/s of one count.
        faults: bit -> name, of the error byte in status packets.
        alert: bit of the error byte that says "read :attr:`fault_register`", 0 if the byte holds the faults itself.
        fault_register: address of the fault byte, used with ``alert``.
        watchdog: address of the bus watchdog (1 byte, 20 ms per count), 0 if there is none.
    """

    model: int
    mode: int
    mode_size: int
    torque: int
    goal: int
    goal_size: int
    state: int
    state_size: int
    speed: int
    speed_size: int
    speed_unit: float
    faults: dict[int, str]
    alert: int = 0
    fault_register: int = 0
    watchdog: int = 0


class Chain:
    """Servos with ``ids`` that speak ``framing``, on a line that may be replaced (:attr:`line`)."""

    def __init__(self, where: str, ids: Sequence[int], framing: Framing, timeout: float) -> None:
        self._where, self._framing, self._timeout = where, framing, timeout
        self._misses = dict.fromkeys(ids, 0)
        self._turn = 0
        self.line: Line | None = None

    def note(self, servo: int, answered: bool) -> bool:
        """Keep account of a question; returns whether the servo counts as silent now."""
        self._misses[servo] = 0 if answered else self._misses[servo] + 1
        return self.is_silent(servo)

    def is_silent(self, servo: int) -> bool:
        """Whether a servo counts as silent."""
        return self._misses[servo] >= MISSES

    def silent(self, servo: int) -> None:
        """Count a servo as silent until it answers."""
        self._misses[servo] = MISSES

    def broadcast(self, register: int, value: int) -> None:
        """Write one byte to everybody; nobody answers."""
        self._open().send(BROADCAST, WRITE, self._framing.address(register) + bytes([value]))

    def write(self, register: int, values: Mapping[int, bytes]) -> None:
        """Write to each servo its own bytes, in one packet; nobody answers."""
        line = self._open()
        if not values:
            return
        size = len(next(iter(values.values())))
        body = b"".join(bytes([servo]) + value for servo, value in values.items())
        line.send(BROADCAST, SYNC_WRITE, self._framing.address(register) + self._framing.address(size) + body)

    def ask(self, register: int, size: int, servos: Sequence[int]) -> dict[int, bytes]:
        """What the registers of ``servos`` hold; who does not answer is left out."""
        return {servo: status.data for servo, status in self.statuses(register, size, servos).items()}

    def statuses(self, register: int, size: int, servos: Sequence[int], alone: int | None = None) -> dict[int, Status]:
        """Answers to a sync read; who is missing is asked again alone.

        Each servo waits for the one before it, so a silent one may silence all behind it: known silent ones are left
        out and asked alone, at most ``alone`` of them, in turn, and after all who answer.
        """
        line, field = self._open(), self._framing.address(register) + self._framing.address(size)
        found, missing = self._together(field, size, [servo for servo in servos if not self.is_silent(servo)])
        silent = [servo for servo in servos if self.is_silent(servo)]
        self._turn += 1
        turn = self._turn % max(1, len(silent))
        for servo in missing + (silent[turn:] + silent[:turn])[:alone]:
            line.send(servo, READ, field)
            found |= line.answers([servo], size, self._timeout)
        return found

    def _together(self, field: bytes, size: int, servos: list[int]) -> tuple[dict[int, Status], list[int]]:
        """(answers to sync reads, who did not answer): those behind a silent one are asked once more, without it."""
        line, found = self._open(), dict[int, Status]()
        missing, waiting, vain = list[int](), servos, 0
        while waiting and vain < 2:  # a bus on which nobody answers has an end too
            line.send(BROADCAST, SYNC_READ, field + bytes(waiting))
            answers = line.answers(waiting, size, self._timeout)
            found |= answers
            vain = 0 if answers else vain + 1
            waiting = [servo for servo in waiting if servo not in answers]
            missing, waiting = missing + waiting[:1], waiting[1:]
        return found, missing + waiting

    def _open(self) -> Line:
        if self.line is None:
            raise DriverError(f"{self._where}: not connected")
        return self.line
