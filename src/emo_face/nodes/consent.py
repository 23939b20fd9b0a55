"""The consent gate of the perception node: topic ``consent`` in, what is in force on ``perception/consent`` out."""

import time
from typing import Any

from emo_face_msgs.msg import Consent as ConsentMessage

from emo_face.core.consent import Consent
from emo_face.ros import qos
from emo_face.ros.clock import duration_message, duration_seconds
from emo_face.ros.lifecycle import EmoNode


class ConsentGate:
    """Asked before each frame; both topics are latched, so that whoever comes later knows."""

    def __init__(self, node: EmoNode, mode: str) -> None:
        self._node, self._state = node, Consent(mode)
        self._told: Consent | None = None
        self._out = node.create_publisher(ConsentMessage, "~/consent", qos.latched())
        node.subscription(ConsentMessage, "consent", self._hear, qos.latched())
        self.tell()

    def now(self) -> Consent:
        """What is in force; told when it changed by itself."""
        found = self._state.at(time.monotonic())
        if found != self._state:
            self._state = found
            self.tell()
        return found

    @property
    def reading(self) -> bool:
        """Whether anybody may be read."""
        return self.now().reading(time.monotonic())

    def tell(self) -> None:
        """Publish what is in force, if it is something new."""
        state, now = self._state, time.monotonic()
        self._node.health.fact("consent", state.mode if state.mode != "ask" else f"ask: {_answer(state, now)}")
        if state == self._told:
            return
        self._told = state
        msg = ConsentMessage(mode=state.mode, granted=state.granted, pictures=state.pictures, words=state.words)
        msg.header.stamp, msg.by = self._node.get_clock().now().to_msg(), state.by
        if state.until is not None:
            msg.valid_for = duration_message(max(state.until - now, 0.0))
        self._out.publish(msg)

    def _hear(self, msg: Any) -> None:
        now, last = time.monotonic(), duration_seconds(msg.valid_for)
        try:
            self._state = self._state.said(msg.mode, msg.granted, msg.pictures, msg.words, last, msg.by, now)
        except ValueError as error:
            self._node.drop("consent", f"consent not used: {error}")
            return
        self._node.get_logger().info(f"consent: {self._state.mode}, {_answer(self._state, now)} (by {msg.by or '?'})")
        self.tell()


def _answer(state: Consent, now: float) -> str:
    return "granted" if state.at(now).granted else "not granted"
