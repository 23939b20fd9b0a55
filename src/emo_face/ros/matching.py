"""A subscription whose reliability follows its publishers.

Best effort hears every camera, but an image is many network fragments, and on a busy machine the loss of one loses
the image. Reliable transport avoids that, but a reliable subscription does not hear a best-effort camera at all. So:
reliable while every publisher of the topic offers it, best effort otherwise.
"""

from collections.abc import Callable, Iterable
from typing import Any

from rclpy.qos import QoSReliabilityPolicy

from emo_face.ros import qos

CHOICES = {"reliable": QoSReliabilityPolicy.RELIABLE, "best_effort": QoSReliabilityPolicy.BEST_EFFORT}
PERIOD = 0.5
"""Seconds between two looks at the publishers."""


def choose(offered: Iterable[QoSReliabilityPolicy]) -> QoSReliabilityPolicy:
    """The reliability to ask for, given what the publishers offer; best effort while there are none."""
    offers = list(offered)
    every = bool(offers) and all(offer == QoSReliabilityPolicy.RELIABLE for offer in offers)
    return QoSReliabilityPolicy.RELIABLE if every else QoSReliabilityPolicy.BEST_EFFORT


class MatchedSubscription:
    """Subscribes to the newest sample of ``topic``; call :meth:`check` now and then on the executor.

    Args:
        reliability: ``auto``, ``reliable`` or ``best_effort``; only ``auto`` follows the publishers.
        report: takes the sentence about publishers that cannot be heard.
    """

    def __init__(
        self, node: Any, kind: Any, topic: str, callback: Callable[[Any], None], reliability: str, report: qos.Report
    ) -> None:
        self._node, self._kind, self._topic, self._callback, self._report = node, kind, topic, callback, report
        self._auto = reliability == "auto"
        self.reliability = QoSReliabilityPolicy.BEST_EFFORT if self._auto else CHOICES[reliability]
        self._subscription = self._create()

    def _create(self) -> Any:
        profile = qos.sensor()
        profile.reliability = self.reliability
        events = qos.subscription_events(self._node, self._topic, self._mismatch)
        try:
            return self._node.create_subscription(
                self._kind, self._topic, self._callback, profile, event_callbacks=events
            )
        except qos.UnsupportedEventTypeError:
            return self._node.create_subscription(self._kind, self._topic, self._callback, profile)

    def _mismatch(self, text: str) -> None:
        if not self._auto:  # otherwise the next check corrects it
            self._report(text)

    def check(self) -> None:
        """Follow the publishers. On the executor's thread only: it may replace the subscription."""
        if not self._auto:
            return
        topic = self._node.resolve_topic_name(self._topic)
        wanted = choose(info.qos_profile.reliability for info in self._node.get_publishers_info_by_topic(topic))
        if wanted != self.reliability:
            self._node.destroy_subscription(self._subscription)
            self.reliability = wanted
            self._subscription = self._create()
