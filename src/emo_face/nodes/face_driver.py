"""Face driver node: expression targets in, a moving face out. Its own process and the only writer to the face.

A fixed-rate loop on the steady clock eases between sparse targets, blinks and looks; without fresh targets it eases to
neutral, whatever happened to the nodes before it. The page at ``screen.host:screen.port`` shows the same face.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState

from emo_face.core.arkit import ARKIT_52
from emo_face.core.types import ExpressionTarget
from emo_face.face.control.loop import FixedRateLoop
from emo_face.face.drivers.livelink import LiveLinkSender
from emo_face.face.motion.motion import LAYERS, FaceMotion
from emo_face.face.motion.player import Bases, FacePlayer, Shown
from emo_face.nodes.face.inputs import FaceInputs
from emo_face.nodes.face.screen import Screen
from emo_face.nodes.face.stops import serve_stops
from emo_face.nodes.face.targets import Targets
from emo_face.ros import qos
from emo_face.ros.diagnostics import WARN
from emo_face.ros.lifecycle import EmoNode
from emo_face.ros.messages.motors import Motors
from emo_face.ros.parameters.schema import Value
from emo_face.ros.run import run

EASE_MARGIN = 1.0  # s beyond neutral_time that deactivating waits for the face to come to rest


class FaceDriverNode(EmoNode):
    """Wires the player, the screen and ROS together."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("face_driver", **kwargs)
        self._player: FacePlayer | None = None
        self._screen: Screen | None = None
        self._loop: FixedRateLoop | None = None
        self._motors = Motors(self, self.params["rig"])
        self._step: Callable[[float], object] = lambda now: None
        self._resting, self.threads = False, 2  # the stop does not wait for a transition
        self._blendshapes = self.publisher(JointState, "face/blendshapes", qos.reliable())
        self._targets = Targets(self, lambda: self._player, self._tell)
        serve_stops(self, self._motors, lambda: self._player)
        FaceInputs(self, lambda: self._player)
        self._live_link: LiveLinkSender | None = None

    def configure(self) -> None:
        """Load the basis, make the face and open the page."""
        p = self.params
        layers = [name for name in LAYERS if p[f"layers.{name}"]]
        motion = FaceMotion(1.0 / p["rate"], p["seed"], neutral_time=p["neutral_time"], layers=layers)
        self._player = FacePlayer(motion, Bases(), p["timeout"], p["neutral_hold"])
        self._step = self._motors.load(self._player, p["rig_driver"], 1.0 / p["rate"])
        if p["live_link.host"]:
            self._live_link = LiveLinkSender(p["live_link.host"], p["live_link.port"], fps=round(p["rate"]))
        if p["screen.enabled"]:
            self._screen = Screen(p.values, self._on_command)
            self.health.fact("screen", self._screen.url)
            self.get_logger().info(f"the face is at {self._screen.url}")

    def activate(self) -> None:
        """Start the loop from neutral."""
        self._targets.start()
        self._motors.enable(True)
        self._loop = FixedRateLoop(self._tick, self.params["rate"])
        self._loop.start()

    def deactivate(self) -> None:
        """Ease to neutral, then stop the loop."""
        player = self._player
        if player is not None and self._loop is not None and not player.stopped:
            player.neutral(time.monotonic())
            # the loop goes on in its thread meanwhile; an emergency stop in between ends the wait
            deadline = time.monotonic() + self.params["neutral_time"] + EASE_MARGIN
            while not player.settled and not player.stopped and time.monotonic() < deadline:
                time.sleep(self._loop.period)
        if self._loop is not None:
            self._loop.stop()
        self._targets.stop()
        self._loop = None
        self._motors.enable(False)

    def cleanup(self) -> None:
        """Close the page and the bus."""
        self._motors.close()
        for output in (self._screen, self._live_link):
            if output is not None:
                output.close()
        self._screen = self._live_link = self._player = None

    def clock_jumped(self) -> None:
        """Take the next target whatever its stamp; the loop itself runs on the steady clock."""
        self._targets.gate.reset()

    def enable(self, enabled: bool) -> None:
        """Ease to neutral when disabled, then torque off; the face on the screen goes on living."""
        self._resting = not enabled
        if not enabled and self._player is not None:
            self._player.neutral(time.monotonic())
        else:
            self._motors.enable(True)

    def apply_parameters(self, values: Mapping[str, Value], changed: frozenset[str]) -> None:
        """Switch layers and change times while running."""
        gate = self._targets.gate
        gate.max_age, gate.future = float(values["max_age"]), float(values["future_tolerance"])  # type: ignore[arg-type]
        if self._player is not None:
            for name in LAYERS:
                self._player.motion.switch(name, bool(values[f"layers.{name}"]))
            self._player.timeout = float(values["timeout"])  # type: ignore[arg-type]
            self._player.neutral_hold = float(values["neutral_hold"])  # type: ignore[arg-type]

    def _tell(self, target: ExpressionTarget, age: float) -> None:
        if self._screen is not None:
            self._screen.tell(target, age)

    def _tick(self, now: float) -> None:
        player = self._player
        if player is None:
            return
        try:
            self._step(now)
            self._show(player.shown)
            if self._resting and player.settled:
                self._resting = False
                self._motors.enable(False)
        except Exception as error:
            self.failed(error)

    def _show(self, shown: Shown) -> None:
        self.health.tick("face", time.monotonic())
        if self._screen is not None:
            self._screen.show(shown)
        if self._live_link is not None:
            self._live_link.send(shown.arkit, time.monotonic())
        if self._blendshapes.get_subscription_count():
            msg = JointState(name=list(ARKIT_52), position=np.asarray(shown.arkit, np.float64))
            msg.header.stamp = self.get_clock().now().to_msg()
            self._blendshapes.publish(msg)

    def _on_command(self, command: dict[str, Any]) -> str | None:
        """A command of the tuning page, in the server's thread."""
        player = self._player
        if not self.running or player is None:
            return "the face driver is not active"
        return player.command(command)

    def observe(self) -> None:
        """Show punctuality, motors, pages, avatars and competing publishers."""
        if self._loop is not None:
            late = self._loop.jitter.summary()
            self.health.fact("loop.jitter_p50_ms", f"{late.p50_ms:.2f}")
            self.health.fact("loop.jitter_p99_ms", f"{late.p99_ms:.2f}")
            self.health.fact("loop.missed", late.missed)
        self._motors.observe()
        self._observe_outputs()
        if self._player is not None:
            self.health.fact("stopped", self._player.stopped)
        self._targets.observe()

    def _observe_outputs(self) -> None:
        screen, sender = self._screen, self._live_link
        if screen is not None:
            for name, number in screen.counters.items():
                self.health.fact(f"screen.{name}", number)
        if sender is not None:
            self.health.fact("live_link.dropped", sender.dropped)
        if sender is not None and sender.error:
            where = f"{self.params['live_link.host']}:{self.params['live_link.port']}"
            text = f"faces do not leave for {where}: {sender.error}; check live_link.host and the network"
            self.complain("live_link", WARN, text)
        else:
            self.health.clear_condition("live_link")


def main() -> int:
    """Run the node as a process."""
    return run(FaceDriverNode)


if __name__ == "__main__":
    raise SystemExit(main())
