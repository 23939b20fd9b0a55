"""One tick of a robot face: motion -> rig -> safety gate -> driver, with a bus that may come and go."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from emo_face.core.arkit import ARKIT_52
from emo_face.core.types import Array
from emo_face.face.control.bus_health import BusHealth
from emo_face.face.control.stopper import PATIENCE, Stopper
from emo_face.face.drivers.base import Driver, DriverError, Feedback, Interrupted, unconfirmed
from emo_face.face.drivers.stop_report import StopReport, StopState
from emo_face.face.rig.rig import Rig
from emo_face.face.safety.state import EstopAction, GateOutput, GateState

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.25, 8.0
BRAKING = 0.3
"""Seconds that a stop waits for a rig that holds to come to rest before it says what is true then."""


class Face(Protocol):
    """What decides how the face looks: a :class:`~emo_face.face.motion.motion.FaceMotion`, or a player around one."""

    def tick(self, now: float) -> Array:
        """(52,) ARKit values in [0, 1] at ``now`` seconds."""

    def neutral(self, now: float) -> None:
        """Ease to neutral."""

    @property
    def ahead(self) -> Array:
        """(52,) the last tick's face for an output that lags: the motors'."""

    @property
    def flame(self) -> Array | None:
        """(100,) FLAME coefficients of the last tick, or None."""


class FaceController:
    """Run a face; call :meth:`step` at the loop rate, everything else from any thread.

    The bus is connected on the first step. When it fails, motion goes on in mind but nothing is sent; the controller
    reconnects with a wait that doubles from 0.25 s to 8 s and starts again from where the actuators are then.
    Torque off comes first on every new connection, unless torque is wanted: a stop or a disable in between is not lost.

    Args:
        motion: the face over time.
        rig: motors and limits.
        driver: the bus; its names must be the rig's.
        period: loop period in seconds.
        read_every: seconds between reads of the actuators' state, 0 for never.
        enabled: whether torque is wanted from the start.
        stopped: whether an emergency stop from before is still latched.

    Raises:
        ValueError: driver and rig disagree about the actuators.
    """

    def __init__(
        self,
        motion: Face,
        rig: Rig,
        driver: Driver,
        period: float = 0.01,
        read_every: float = 0.5,
        enabled: bool = True,
        stopped: bool = False,
    ) -> None:
        if tuple(driver.names) != rig.names:
            raise ValueError(f"driver has actuators {list(driver.names)}, rig {rig.name!r} has {list(rig.names)}")
        self.motion, self.rig, self.driver = motion, rig, driver
        self.gate = rig.gate(period)
        self.face: Array = np.zeros(len(ARKIT_52))
        self.output = GateOutput(self.gate.position, False, GateState.DISABLED)
        self.feedback: Feedback | None = None
        self._read_every, self._next_read, self._gaps = read_every, 0.0, 0
        self._lock = threading.Lock()  # e-stop and the loop must not interleave on the bus
        self._stopper = Stopper(self._attempt_stop)
        self._connected = False
        self._estop, self._wanted = stopped, enabled and not stopped
        self._holds = self.gate.estop_action is EstopAction.HOLD
        self._kept = stopped and self._holds  # torque that a stop left on
        if stopped:
            self.gate.estop()
        self._error, self._failures, self._connections = "", 0, 0
        self._retry_at, self._wait = -np.inf, FIRST_WAIT

    @property
    def health(self) -> BusHealth:
        """What diagnostics should know about the bus."""
        faults = self.feedback.faults if self.feedback is not None else {}
        return BusHealth(self._connected, self._error, self._failures, max(0, self._connections - 1), faults)

    @property
    def stop_report(self) -> StopReport | None:
        """What the emergency stop achieved so far; None if none is latched or nothing was tried yet."""
        return self._stopper.report if self._estop else None

    @property
    def stopped(self) -> bool:
        """Whether an emergency stop is latched."""
        return self._estop

    def step(self, now: float) -> None:
        """One tick at ``now`` seconds. Never raises for a failing bus."""
        self.face = self.motion.tick(now)
        with self._lock:
            if not self._connected and now >= self._retry_at:
                self._on_bus(now, lambda: self._connect(now))
            if self._estop:
                self.gate.estop()
            elif self._wanted and self._connected and self.gate.state is GateState.DISABLED:
                self._on_bus(now, lambda: self._begin(now))
            if self.gate.state in (GateState.ACTIVE, GateState.STALE):
                self.gate.command(self.rig.targets(self.motion.ahead, self.motion.flame), now, now, smooth=True)
            self.output = self.gate.tick(now)
            if self._connected:
                self._on_bus(now, lambda: self._exchange(now))

    def enable(self, on: bool) -> bool:
        """Switch motion on (from the present pose, at the next tick) or off (torque off).

        False while an emergency stop is latched: nothing comes on then.
        """
        with self._lock:
            if on and self._estop:
                return False
            self._wanted, self._kept = on, False
            if not on:
                self.gate.disable()
                self._torque_off()
            return True

    def neutral(self, now: float) -> None:
        """Ease the expression to neutral."""
        self.motion.neutral(now)

    def estop(self, patience: float = PATIENCE) -> StopReport:
        """Stop now, as the rig says, and stay stopped until :meth:`clear_estop` and :meth:`enable`.

        Answers within about ``patience`` seconds with what is true then, and goes on trying in the background until
        every actuator confirms (:attr:`stop_report`). Never raises.
        """
        self._estop, self._wanted = True, False  # seen by the loop before it writes again
        self._kept = self._holds
        if not self._holds:
            self._quietly(self.driver, "interrupt")
        report = self._stopper.press(patience)
        return report or StopReport(StopState.NOT_OFF, self.rig.names, "the bus has not let the stop through yet")

    def clear_estop(self) -> bool:
        """Release the latch; moves nothing, and nothing comes on until :meth:`enable`. False if nothing was latched.

        Raises:
            DriverError: the bus hangs; the stop stays.
        """
        if not self._lock.acquire(timeout=PATIENCE):
            raise DriverError("the bus hangs, and the stop stays")
        try:
            if not self._estop:
                return False
            self._stopper.release()
            self._estop = self._wanted = False
            self.gate.clear_estop()
            if not self._holds:  # also if no attempt has come through yet: it ends the interruption
                self._quietly(self.driver, "estop", 0.0)
            return True
        finally:
            self._lock.release()

    def close(self) -> None:
        """Torque off, unless a stop holds, and release the bus."""
        with self._lock:
            self._stopper.release()
            self._wanted = False
            self.gate.disable()
            if not self._kept:
                self._torque_off()
                if not self._connected and self._connections:
                    self._quietly(self.driver, "estop", 0.05)  # lost: one more try by itself
            self._quietly(self.driver, "close")
            self._connected = False

    # ---- under the lock ----------------------------------------------------------------------------------------

    def _on_bus(self, now: float, call: Callable[[], None]) -> None:
        """Talk to the bus; whatever a driver raises is a failure of the bus and goes no further."""
        try:
            call()
        except Interrupted:
            pass  # by an emergency stop, which has the bus next
        except Exception as error:
            self._fail(now, error)

    @staticmethod
    def _quietly(driver: Driver, method: str, *arguments: float) -> None:
        """Call what must not fail, whatever the driver does."""
        try:
            getattr(driver, method)(*arguments)
        except Exception as error:
            log.error("face driver: %s failed: %s: %s", method, type(error).__name__, error)

    def _exchange(self, now: float) -> None:
        if self.output.torque and not (self._estop and not self._holds):
            self.driver.write(self.output.position)
        late = self.gate.late_ticks != self._gaps  # the servos may have stopped by themselves meanwhile
        if self._read_every and (now >= self._next_read or late):
            self._gaps, self._next_read = self.gate.late_ticks, now + self._read_every
            self.feedback = self.driver.read()
            self._look(self.feedback)

    def _look(self, seen: Feedback) -> None:
        """Take in actuators that came back; switch those off that have a torque which nobody wants."""
        moving = self.gate.state in (GateState.ACTIVE, GateState.STALE)
        if moving and seen.strays:
            self.driver.enable(True)
            chosen = np.isin(self.rig.names, seen.strays) & np.isfinite(seen.position)
            self.gate.place(np.where(chosen, seen.position, np.nan))
        elif not (moving or self._wanted or self._kept) and seen.torque is not None and (seen.torque == 1).any():
            if self._estop:
                self._stopper.press(0.0)
            else:
                self.driver.enable(False)

    def _begin(self, now: float) -> None:
        """Torque on from where the actuators are."""
        measured = (feedback := self.driver.read()).position
        self.feedback = feedback
        self.driver.enable(True)
        self.gate.enable(np.where(np.isfinite(measured), measured, self.gate.position), now)

    def _torque_off(self) -> None:
        if self._connected:
            self._on_bus(-np.inf, lambda: self.driver.enable(False))

    def _connect(self, now: float) -> None:
        self.driver.connect(keep_torque=self._kept or (self._wanted and not self._estop))
        self.feedback = self.driver.read()
        if self._wanted and not self._estop:
            self._begin(now)
        self._connected, self._error, self._wait = True, "", FIRST_WAIT
        self._connections += 1
        if self._estop:
            self._stopper.press(0.0)  # say what is true on this connection

    def _fail(self, now: float, error: Exception) -> None:
        text = str(error) if isinstance(error, DriverError) else f"{type(error).__name__}: {error}"
        if self._connected or not self._failures:
            log.error("face driver: %s", text)
        self._failures += 1
        self._connected, self._error = False, text
        self._retry_at = now + self._wait
        self._wait = min(LONGEST_WAIT, 2 * self._wait)
        self.gate.let_go()
        self._quietly(self.driver, "close")

    # ---- in the stopper's thread -------------------------------------------------------------------------------

    def _attempt_stop(self) -> StopReport:
        try:
            if self._holds:
                self._brake()
            with self._lock:
                if not self._estop:
                    return StopReport(StopState.STOPPED)
                self.gate.estop()
                return self._held() if self._holds else self.driver.estop()
        except Exception as error:
            text = str(error) if isinstance(error, DriverError) else f"{type(error).__name__}: {error}"
            return StopReport(StopState.NOT_OFF, self.rig.names, text)

    def _brake(self) -> None:
        """Let the loop bring the path to rest."""
        end = time.monotonic() + BRAKING
        while self.gate.moving and time.monotonic() < end:
            time.sleep(self.gate.period)

    def _held(self) -> StopReport:
        """What a rig that holds does now, from its torque switches."""
        torque = self.driver.torque()
        if np.isnan(torque).all():
            return StopReport(StopState.SENT, detail="the motors hold their last command and cannot be read")
        if (unknown := tuple(unconfirmed(self.rig.names, np.where(np.isnan(torque), 1.0, 0.0)))) or self.gate.moving:
            return StopReport(StopState.NOT_OFF, unknown, "no answer" if unknown else "still braking")
        if not torque.any():
            return StopReport(StopState.STOPPED)
        limp = [name for name, value in zip(self.rig.names, torque, strict=True) if value == 0]
        return StopReport(StopState.HOLDING, detail=f"without torque: {', '.join(limp)}" if limp else "")
