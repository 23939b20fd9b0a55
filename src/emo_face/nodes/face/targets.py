"""Expression targets of the face driver: taken from ``face/expression``, checked, and shown by the player."""

import time

from emo_face_msgs.msg import FaceExpression

from emo_face.face.motion.player import STAND_IN, WHY
from emo_face.nodes.face.node import FaceNode
from emo_face.ros import qos
from emo_face.ros.clock import StampGate
from emo_face.ros.diagnostics import WARN
from emo_face.ros.images.latest import Worker
from emo_face.ros.lifecycle import HOLD
from emo_face.ros.messages.convert import MessageError, read_expression

TOPIC = "face/expression"


class Targets:
    """Subscribes to expressions and offers the newest to the player, in a thread of its own while the driver is active.

    Args:
        node: the driver, which is informed of what is shown from now on.
    """

    def __init__(self, node: FaceNode) -> None:
        self._node = node
        self._worker: Worker[FaceExpression] | None = None
        self.gate = StampGate(node.params["max_age"], node.params["future_tolerance"], repeats=True)
        node.subscription(FaceExpression, TOPIC, self._store, qos.reliable())
        node.watch_input("expression", TOPIC, node.params["input_timeout"])

    def start(self) -> None:
        """Take targets from now on, whatever their stamps were before."""
        self.gate.reset()
        self._worker = Worker("expression", self._use, self._node.failed)

    def stop(self) -> None:
        """Take no more."""
        if self._worker is not None:
            self._worker.stop()
        self._worker = None

    def observe(self) -> None:
        """Warn while several nodes publish expressions."""
        node = self._node
        if node.count_publishers(node.resolve_topic_name(TOPIC)) > 1:
            others = qos.peers(node, TOPIC, publishers=True)
            node.report_problem("publishers", WARN, f"several nodes publish {TOPIC}, the newest stamp wins: {others}")
        else:
            node.health.clear_condition("publishers")

    def _store(self, msg: FaceExpression) -> None:
        # Only stored here: rclpy's multi-threaded executor spins for as long as a callback takes; decoding
        # in it costs half a core.
        node, worker = self._node, self._worker
        if node.running and worker is not None:
            node.health.tick("expression", time.monotonic())
            if worker.slot.put(msg):
                node.health.count("expressions_replaced")

    def _use(self, msg: FaceExpression) -> None:
        """One target, in the worker thread."""
        node, face = self._node, self._node.face
        if not node.running or face is None:
            return
        try:
            target = read_expression(msg)
        except MessageError as error:
            node.drop("bad_expression", f"expression not used: {error}")
            return
        verdict = self.gate.admit(target.stamp, node.clock.now())
        if verdict.reason:
            node.drop(verdict.reason, f"expression not used: {verdict.reason}: {verdict.fix}")
            return
        if reason := face.player.show(target, verdict.age, time.monotonic()):
            node.drop(reason, f"expression not shown: {WHY[reason].format(target=target)}")
            return
        if face.player.stand_in:
            node.health.count("stand_ins")
            node.report_problem("stand_in", WARN, STAND_IN.format(target=target), HOLD)
        node.health.latency("latency", max(verdict.age, 0.0))
        node.tell_pages(target, verdict.age)
