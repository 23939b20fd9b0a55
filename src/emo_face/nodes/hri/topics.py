"""The topics of people who come and go."""

from typing import Any

from rclpy.qos import QoSProfile

from emo_face.ros import qos

GRACE = 5.0
"""Seconds that the topics of somebody who left are kept: someone who comes back finds readers still connected."""


class Topics:
    """Publishers by name, made when first needed. Use it on the executor alone.

    Topics of one person are made and destroyed while the executor runs, which rclpy allows from its own thread alone.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        self._out: dict[str, Any] = {}
        self._seen: dict[str, float] = {}
        self._told: dict[str, Any] = {}

    def send(self, topic: str, msg: Any, now: float) -> None:
        """Publish on a topic of somebody who is there ``now`` (steady seconds)."""
        self._publisher(topic, type(msg), qos.reliable(), now).publish(msg)

    def wanted(self, topic: str, kind: Any, now: float) -> bool:
        """Offer a topic that is costly to fill; whether anybody reads it."""
        return bool(self._publisher(topic, kind, qos.reliable(), now).get_subscription_count())

    def tell(self, topic: str, msg: Any, now: float) -> None:
        """Publish a property of somebody, latched, and only when it changes."""
        out = self._publisher(topic, type(msg), qos.latched(), now)
        if self._told.get(topic) != msg:
            self._told[topic] = msg
            out.publish(msg)

    def _publisher(self, topic: str, kind: Any, profile: QoSProfile, now: float) -> Any:
        if topic not in self._out:
            self._out[topic] = self._node.create_publisher(kind, topic, profile)
        self._seen[topic] = now
        return self._out[topic]

    def forget(self, now: float) -> None:
        """Destroy the topics of those who have been gone for :data:`GRACE` seconds."""
        for topic in [t for t, seen in self._seen.items() if now - seen > GRACE]:
            self._node.destroy_publisher(self._out.pop(topic))
            self._told.pop(topic, None)
            del self._seen[topic]
