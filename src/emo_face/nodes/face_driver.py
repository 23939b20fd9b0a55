"""Face driver node: expression targets in, a moving face out. Its own process and the only writer to the face.

A fixed-rate loop on the steady clock eases between sparse targets, blinks and looks; without fresh targets it eases to
neutral, whatever happened to the nodes before it. The page at ``screen.host:screen.port`` shows the same face.
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState

from emo_face.core.arkit import ARKIT_52
from emo_face.core.errors import UserError
from emo_face.face.motion.motion import LAYERS
from emo_face.face.motion.player import Shown
from emo_face.nodes.face.configured import ConfiguredFace
from emo_face.nodes.face.estop import EstopServices
from emo_face.nodes.face.inputs import FaceInputs
from emo_face.nodes.face.node import FaceNode
from emo_face.nodes.face.targets import Targets
from emo_face.ros import qos
from emo_face.ros.diagnostics import ERROR, WARN
from emo_face.ros.messages.motors import observe_motors
from emo_face.ros.parameters.schema import Value
from emo_face.ros.run import run

STUCK = 3.0
"""Seconds without a tick that are told."""
LATCHED = "emergency stop is latched: release it first (~/estop with data: false, or on the face page)"


class FaceDriverNode(FaceNode):
    """Wires the face and ROS together."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("face_driver", **kwargs)
        self.threads = 2  # the stop does not wait for a transition
        self._blendshapes = self.publisher(JointState, "face/blendshapes", qos.reliable())
        self._targets = Targets(self)
        self._stops = EstopServices(self)
        FaceInputs(self)

    def configure(self) -> None:
        """Load the basis, make the face and open the page."""
        face = ConfiguredFace(self.params, self.get_fully_qualified_name(), self.topics, self._tick, self._on_command)
        self.take(face)
        if face.control is not None:
            self.health.fact("rig", face.control.rig.name)
        if face.screen is not None:
            self.health.fact("screen", face.screen.url)
            self.get_logger().info(f"the face is at {face.screen.url}")
        if face.waiting:
            text = f"motors stay off until ~/enable: {face.waiting}; set resume_after_crash to change that"
            self.report_problem("waiting", WARN, text)

    def activate(self) -> None:
        """Start the loop from neutral."""
        self._targets.start()
        self._configured().start()

    def deactivate(self) -> None:
        """Ease to neutral, then stop the loop."""
        self._configured().stop(self.params["neutral_time"])
        self._targets.stop()

    def cleanup(self) -> None:
        """Close the page and the bus; a stop that is latched goes on without a face."""
        face = self.take(None)
        if face is None:
            return
        face.close()
        if face.control is not None and face.control.stopped and not self.ending:
            self.emergency_stop()

    def clock_jumped(self) -> None:
        """Take the next target whatever its stamp; the loop itself runs on the steady clock."""
        self._targets.gate.reset()

    def enable(self, enabled: bool) -> None:
        """Ease to neutral when disabled, then torque off; the face on the screen goes on living."""
        face = self.face
        if face is None:
            return
        face.resting = not enabled
        if not enabled:
            face.player.neutral(time.monotonic())
        elif self.state != "active":
            face.waiting = ""  # torque comes on with the loop
        elif not face.enable_motors(True):
            raise UserError(LATCHED)

    def apply_parameters(self, values: Mapping[str, Value], changed: frozenset[str]) -> None:
        """Switch layers and change times while running."""
        gate = self._targets.gate
        gate.max_age, gate.future = float(values["max_age"]), float(values["future_tolerance"])  # type: ignore[arg-type]
        if self.face is not None:
            player = self.face.player
            for name in LAYERS:
                player.motion.switch(name, bool(values[f"layers.{name}"]))
            player.timeout = float(values["timeout"])  # type: ignore[arg-type]
            player.neutral_hold = float(values["neutral_hold"])  # type: ignore[arg-type]

    def _on_command(self, command: dict[str, Any]) -> str | dict[str, Any] | None:
        """A command of a page, in a thread of its server."""
        if command["type"] == "estop":
            report = self.emergency_stop()
            return {"type": "stop", "success": report.success, "message": str(report)}
        if command["type"] == "clear_estop":
            released, message = self.release_stop()
            return {"type": "stop", "success": released, "message": message}
        face = self.face
        if not self.running or face is None:
            return "the face driver is not active"
        return face.player.command(command)

    # ---- the loop and what is told -------------------------------------------------------------------------------

    def _configured(self) -> ConfiguredFace:
        if self.face is None:
            raise UserError("the face driver is not configured")
        return self.face

    def _tick(self, now: float) -> None:
        face = self.face
        if face is None:
            return
        try:
            face.advance(now)
            self._show(face, face.player.shown)
        except Exception as error:
            self.failed(error)

    def _show(self, face: ConfiguredFace, shown: Shown) -> None:
        self.health.tick("face", time.monotonic())
        if face.screen is not None:
            face.screen.show(shown, face.stop_report, self.notice)
        for avatar in face.avatars.values():
            avatar.send(shown.arkit, time.monotonic())
        if self._blendshapes.get_subscription_count():
            msg = JointState(name=list(ARKIT_52), position=np.asarray(shown.arkit, np.float64))
            msg.header.stamp = self.get_clock().now().to_msg()
            self._blendshapes.publish(msg)

    def observe(self) -> None:
        """Show punctuality, motors, pages, avatars and competing publishers."""
        self._stops.observe()
        self._targets.observe()
        if (face := self.face) is None:
            return
        if face.loop.running:
            late = face.loop.jitter.summary()
            shares = {"jitter_p50_ms": f"{late.p50_ms:.2f}", "jitter_p99_ms": f"{late.p99_ms:.2f}"}
            self.health.facts({**shares, "missed": late.missed}, "loop.")
        hung = face.loop.stuck
        text = f"the face stands still: no tick for {hung:.0f} s: its bus hangs, or this machine is too busy"
        self.report_while(hung > STUCK, "loop", ERROR, text)
        if face.control is not None:
            observe_motors(self, face.control)
        if not face.waiting:
            self.health.clear_condition("waiting")
        problem = "" if face.latch is None else face.latch.memory.problem
        self.report_while(problem, "latch", ERROR, problem)
        self._observe_outputs(face)

    def _observe_outputs(self, face: ConfiguredFace) -> None:
        if face.screen is not None:
            self.health.facts(face.screen.counters, "screen.")
        for name, sender in face.avatars.items():
            self.health.fact(f"{name}.dropped", sender.dropped)
            where = f"{self.params[f'{name}.host']}:{self.params[f'{name}.port']}"
            text = f"faces do not leave for {where}: {sender.error}; check {name}.host and the network"
            self.report_while(sender.error, name, WARN, text)


def main() -> int:
    """Run the node as a process."""
    return run(FaceDriverNode)


if __name__ == "__main__":
    raise SystemExit(main())
