"""One tick of a robot face: motion -> rig -> safety gate -> driver, with a bus that may come and go."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emo_face.core.arkit import ARKIT_52
from emo_face.face.drivers.base import Driver, DriverError, Feedback
from emo_face.face.rig.rig import Rig
from emo_face.face.safety.gate import GateOutput, GateState

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.25, 8.0


@dataclass(frozen=True, slots=True)
class BusHealth:
    """State of the bus for diagnostics.

    Attributes:
        connected: whether it works now. error: last error, empty while connected.
        failures: errors since the start. reconnects: successful connections after the first.
        faults: actuator -> fault it reports.
    """

    connected: bool
    error: str
    failures: int
    reconnects: int
    faults: dict[str, str]


class Face(Protocol):
    """What decides how the face looks: a :class:`~emo_face.face.motion.motion.FaceMotion`, or a player around one."""

    def tick(self, now: float) -> Array:
        """(52,) ARKit values in [0, 1] at ``now`` seconds."""
        ...

    def neutral(self, now: float) -> None:
        """Ease to neutral."""
        ...

    @property
    def flame(self) -> Array | None:
        """(100,) FLAME coefficients of the last tick, or None."""
        ...


class FaceController:
    """Run a face; call :meth:`step` at the loop rate, everything else from any thread.

    The bus is connected on the first step. When it fails, motion goes on in mind but nothing is sent; the controller
    reconnects with a wait that doubles from 0.25 s to 8 s and starts again from where the actuators are then.

    Args:
        motion: the face over time.
        rig: motors and limits.
        driver: the bus; its names must be the rig's.
        period: loop period in seconds.
        read_every: seconds between reads of the actuators' state, 0 for never.

    Raises:
        ValueError: driver and rig disagree about the actuators.
    """

    def __init__(self, motion: Face, rig: Rig, driver: Driver, period: float = 0.01, read_every: float = 0.5) -> None:
        if tuple(driver.names) != rig.names:
            raise ValueError(f"driver has actuators {list(driver.names)}, rig {rig.name!r} has {list(rig.names)}")
        self.motion, self.rig, self.driver = motion, rig, driver
        self.gate = rig.gate(period)
        self.face: Array = np.zeros(len(ARKIT_52))
        self.output = GateOutput(self.gate.position, False, GateState.DISABLED)
        self.feedback: Feedback | None = None
        self._read_every, self._next_read = read_every, 0.0
        self._lock = threading.Lock()  # e-stop and the loop must not interleave on the bus
        self._connected = self._estop = False
        self._wanted = True
        self._error, self._failures, self._connections = "", 0, 0
        self._retry_at, self._wait = -np.inf, FIRST_WAIT

    @property
    def health(self) -> BusHealth:
        """What diagnostics should know about the bus."""
        faults = self.feedback.faults if self.feedback is not None else {}
        return BusHealth(self._connected, self._error, self._failures, max(0, self._connections - 1), faults)

    def step(self, now: float) -> None:
        """One tick at ``now`` seconds. Never raises for a failing bus."""
        self.face = self.motion.tick(now)
        with self._lock:
            if not self._connected and now >= self._retry_at:
                self._connect(now)
            if self.gate.state in (GateState.ACTIVE, GateState.STALE):
                self.gate.command(self.rig.targets(self.face, self.motion.flame), now, now, smooth=True)
            self.output = self.gate.tick(now)
            if not self._connected:
                return
            try:
                if self.output.torque:
                    self.driver.write(self.output.position)
                if self._read_every and now >= self._next_read:
                    self._next_read = now + self._read_every
                    self.feedback = self.driver.read()
            except DriverError as error:
                self._fail(now, error)

    def enable(self, on: bool) -> None:
        """Switch motion on (from the present pose, at the next tick) or off (torque off)."""
        with self._lock:
            self._wanted = on
            if on and self._connected and self.gate.state is GateState.DISABLED:
                self._connected = False  # reconnect: read the pose, pin the targets, torque on
                self._retry_at = -np.inf
            elif not on:
                self.gate.disable()
                self._torque_off()

    def neutral(self, now: float) -> None:
        """Ease the expression to neutral."""
        self.motion.neutral(now)

    def estop(self) -> None:
        """Stop now, as the rig says, and stay stopped until :meth:`clear_estop` and :meth:`enable`."""
        with self._lock:
            self._estop = True
            self.gate.estop()
            if self.gate.estop_action.value == "torque_off":
                try:
                    self.driver.estop()
                except DriverError as error:
                    self._error = str(error)

    def clear_estop(self) -> None:
        """Release the latch; torque stays off until :meth:`enable`."""
        with self._lock:
            self._estop = self._wanted = False
            self.gate.clear_estop()
            self._torque_off()

    def close(self) -> None:
        """Torque off and release the bus."""
        with self._lock:
            self._wanted = False
            self.gate.disable()
            self._torque_off()
            self.driver.close()
            self._connected = False

    def _torque_off(self) -> None:
        if self._connected:
            try:
                self.driver.enable(False)
            except DriverError as error:
                self._connected, self._error = False, str(error)
                self._failures += 1

    def _connect(self, now: float) -> None:
        try:
            self.driver.connect()
            self.feedback = self.driver.read()
            measured = self.feedback.position
            start = np.where(np.isfinite(measured), measured, self.gate.position)
            if self._wanted and not self._estop:
                self.driver.enable(True)
                self.gate.enable(start, now)
        except DriverError as error:
            self._fail(now, error)
            return
        self._connected, self._error, self._wait = True, "", FIRST_WAIT
        self._connections += 1

    def _fail(self, now: float, error: DriverError) -> None:
        if self._connected or not self._failures:
            log.error("face driver: %s", error)
        self._failures += 1
        self._connected, self._error = False, str(error)
        self._retry_at = now + self._wait
        self._wait = min(LONGEST_WAIT, 2 * self._wait)
        if self.gate.state is not GateState.ESTOP:
            self.gate.disable()
        self.driver.close()
