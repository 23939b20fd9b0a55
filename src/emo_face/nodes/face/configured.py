"""A face from configure to cleanup: player, motors, screen, avatars, and the loop that moves them all."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_face.face.control.controller import FaceController
from emo_face.face.control.latch import Latch, state_file
from emo_face.face.control.loop import FixedRateLoop
from emo_face.face.drivers import SIMULATED, StopReport, StopState, open_driver
from emo_face.face.drivers.livelink import LiveLinkSender
from emo_face.face.drivers.trajectory import TrajectoryDriver
from emo_face.face.drivers.vmc import VmcSender
from emo_face.face.motion.motion import LAYERS, FaceMotion
from emo_face.face.motion.player import Bases, FacePlayer
from emo_face.face.rig.rig import Rig, load_rig
from emo_face.nodes.face.screen import Screen

if TYPE_CHECKING:
    from emo_face.ros.messages.motors import MotorTopics
    from emo_face.ros.parameters.declare import Parameters

EASE_MARGIN = 1.0
"""Seconds beyond ``neutral_time`` that resting waits for the face to come to rest."""
STILL = StopReport(StopState.STOPPED)
"""A face without motors: what is shown stands still."""


class ConfiguredFace:
    """What moves and shows the face.

    Args:
        params: of the face driver. name: of the node, fully qualified. topics: of its motors.
        tick: called by the loop with steady seconds. obey: takes a command of a page; returns its answer.

    Raises:
        UserError: a parameter, the rig or its driver's options are wrong; names file, line and field.
    """

    def __init__(
        self,
        params: Parameters,
        name: str,
        topics: MotorTopics | None,
        tick: Callable[[float], None],
        obey: Callable[[dict[str, Any]], Any],
    ) -> None:
        p = params
        layers = [layer for layer in LAYERS if p[f"layers.{layer}"]]
        leads = {"lip_lead": p["lips.lead"], "slow_lip_lead": p["lips.motor_lead"] if p["rig"] else p["lips.lead"]}
        motion = FaceMotion(1.0 / p["rate"], p["seed"], neutral_time=p["neutral_time"], layers=layers, **leads)
        self.player = FacePlayer(motion, Bases(), p["timeout"], p["neutral_hold"])
        self.control: FaceController | None = None
        self.latch: Latch | None = None
        self.waiting = ""  # why the motors stay off until ~/enable
        self._presses = 0  # of the emergency stop
        self.resting = False
        if topics is not None:
            self._open_motors(p, name, topics)
        self.loop = FixedRateLoop(tick, p["rate"])
        self.avatars: dict[str, LiveLinkSender | VmcSender] = {}
        self.screen: Screen | None = None
        try:
            if p["live_link.host"]:
                fps = round(p["rate"])
                self.avatars["live_link"] = LiveLinkSender(p["live_link.host"], p["live_link.port"], fps=fps)
            if p["vmc.host"]:
                self.avatars["vmc"] = VmcSender(p["vmc.host"], p["vmc.port"])
            if p["screen.enabled"]:
                self.screen = Screen(p.values, obey)
        except Exception:
            self.close()
            raise

    def _open_motors(self, p: Parameters, name: str, topics: MotorTopics) -> None:
        rig = load_rig(p["rig"])
        self.control, self.latch = open_head(rig, self.player, p, name, topics)
        memory = self.latch.memory
        if memory.stopped:
            self.player.estop(True, time.monotonic())
        elif driver_kind(p, rig) in SIMULATED:
            return
        elif memory.problem or (memory.driving and not p["resume_after_crash"]):
            self.waiting = memory.problem or "the driver before this one ended without switching them off"

    def start(self) -> None:
        """Run the loop; torque comes on unless something says that it must wait."""
        if self.control is not None and not self.waiting and not self.control.stopped:
            self.enable_motors(True)
        self.loop.start()

    def stop(self, neutral_time: float) -> None:
        """Ease to neutral, then stop the loop and switch the motors off."""
        player = self.player
        if self.loop.running and not player.stopped:
            player.neutral(time.monotonic())
            # the loop goes on in its thread meanwhile; an emergency stop in between ends the wait
            deadline = time.monotonic() + neutral_time + EASE_MARGIN
            while not player.settled and not player.stopped and time.monotonic() < deadline:
                time.sleep(self.loop.period)
        self.loop.stop()
        if self.control is not None and not self.control.stopped:
            self.enable_motors(False)

    def advance(self, now: float) -> None:
        """One tick of the player and of the motors."""
        if self.control is not None:
            self.control.step(now)
        else:
            self.player.tick(now)
        if self.resting and self.player.settled:
            self.resting = False
            self.enable_motors(False)

    def enable_motors(self, on: bool) -> bool:
        """Torque on from the present pose, or off; False while an emergency stop is latched."""
        if self.control is None:
            return True
        if on and self.latch is not None and not self.control.stopped:
            self.latch.note(driving=True)  # before torque comes: a kill in between is noticed
        done = self.control.enable(on)
        if done and self.latch is not None:
            self.waiting = "" if on else self.waiting
            self.latch.note(driving=on)
        return done

    def estop(self) -> StopReport:
        """Stop the face and the motors; says what is true."""
        self._presses += 1
        self.player.estop(True, time.monotonic())
        if self.control is None:
            return STILL
        return remembered_stop(self.control, self.latch)

    def release(self) -> bool:
        """Release the stop; moves no motor. False if none was latched. A stop that is pressed meanwhile wins.

        Raises:
            DriverError: the bus hangs; the stop stays.
        """
        presses, latched = self._presses, self.player.stopped
        if self.control is not None:
            latched = self.control.clear_estop() or latched
        self.player.estop(False, time.monotonic())
        if self.latch is not None:
            self.latch.note(stopped=False, driving=False)
        if self._presses != presses:
            self.estop()
        return latched

    @property
    def stop_report(self) -> StopReport | None:
        """What a latched stop has achieved so far; None if none is latched."""
        if self.control is not None and self.control.stopped:
            return self.control.stop_report or StopReport(StopState.NOT_OFF, self.control.rig.names, "not tried yet")
        return STILL if self.player.stopped else None

    def close(self) -> None:
        """Close the page, the avatars' sockets and the bus."""
        self.loop.stop()
        if self.control is not None:
            self.control.close()
            if self.latch is not None and not self.control.stopped:
                self.latch.note(driving=False)
        for output in (self.screen, *self.avatars.values()):
            if output is not None:
                output.close()


def open_head(
    rig: Rig, player: FacePlayer, p: Parameters, name: str, topics: MotorTopics, stopped: bool = False
) -> tuple[FaceController, Latch]:
    """Motors of ``rig`` with what is remembered of them; torque is off until somebody enables it."""
    kind, period = driver_kind(p, rig), 1.0 / p["rate"]
    driver = open_driver(rig, period, kind, **({"publish": topics.publish} if kind == "trajectory" else {}))
    topics.driver = driver if isinstance(driver, TrajectoryDriver) else None
    latch = Latch(state_file(name, Path(rig.source.path)))
    stopped = stopped or latch.memory.stopped
    return FaceController(player, rig, driver, period, enabled=False, stopped=stopped), latch


def remembered_stop(control: FaceController, latch: Latch | None) -> StopReport:
    """Stop the motors and note it; a slow disk does not keep the stop waiting."""
    noting = latch.noting(stopped=True) if latch is not None else None
    report = control.estop()
    if noting is not None:
        noting.join(0.05)
    return report


def driver_kind(p: Parameters, rig: Rig) -> str:
    """The driver that is used: the parameter's, or the rig's own."""
    return str(p["rig_driver"] or rig.driver.kind)
