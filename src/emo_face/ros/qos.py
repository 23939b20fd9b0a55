"""QoS profiles, overrides by parameter, and incompatible-QoS events turned into a sentence that states the fix.

Overrides are ROS's own: ``qos_overrides.<topic>.<publisher|subscription>.<policy>``.
"""

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

try:  # Iron and later
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks, UnsupportedEventTypeError

__all__ = [
    "UnsupportedEventTypeError",
    "latched",
    "mismatch",
    "overrides",
    "peers",
    "policy_name",
    "publisher_events",
    "reliable",
    "sensor",
    "subscription_events",
]

Report = Callable[[str], None]
"""Takes the sentence about a mismatch."""

_POLICIES = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)


def sensor() -> QoSProfile:
    """Newest sample, best effort: hears reliable and best-effort cameras alike (REP-2003)."""
    return _profile(1, QoSReliabilityPolicy.BEST_EFFORT)


def reliable(depth: int = 1) -> QoSProfile:
    """Keep the last ``depth`` samples, reliable, volatile."""
    return _profile(depth, QoSReliabilityPolicy.RELIABLE)


def latched() -> QoSProfile:
    """The last sample, also for those who come later (transient local)."""
    return _profile(1, QoSReliabilityPolicy.RELIABLE, QoSDurabilityPolicy.TRANSIENT_LOCAL)


def _profile(
    depth: int,
    reliability: QoSReliabilityPolicy,
    durability: QoSDurabilityPolicy = QoSDurabilityPolicy.VOLATILE,
) -> QoSProfile:
    return QoSProfile(history=QoSHistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)


def overrides() -> QoSOverridingOptions:
    """Let users override history, depth, reliability and durability by parameter."""
    return QoSOverridingOptions(_POLICIES)


def subscription_events(node: Node, topic: str, report: Report) -> SubscriptionEventCallbacks:
    """Report publishers that offer less than a subscription of ``node`` asks for."""

    return SubscriptionEventCallbacks(incompatible_qos=_reporting(node, topic, report, "subscription"))


def publisher_events(node: Node, topic: str, report: Report) -> PublisherEventCallbacks:
    """Report subscriptions that ask for more than a publisher of ``node`` offers."""

    return PublisherEventCallbacks(incompatible_qos=_reporting(node, topic, report, "publisher"))


def _reporting(node: Node, topic: str, report: Report, ours: str) -> Callable[[Any], None]:
    def incompatible(event: Any) -> None:
        others = peers(node, topic, publishers=ours == "subscription")
        report(mismatch(node.resolve_topic_name(topic), policy_name(event.last_policy_kind), ours, others))

    return incompatible


def policy_name(kind: Any) -> str:
    """``reliability`` for the number in an event."""
    return str(qos_policy_name_from_kind(kind)).lower().removesuffix("_qos_policy")


_WEAKER = {"reliability": "best_effort", "durability": "volatile"}
_STRONGER = {"reliability": "reliable", "durability": "transient_local"}


def mismatch(topic: str, policy: str, ours: str, others: str) -> str:
    """Say which side asks for more than the other offers, who it is, and the parameter that fixes it.

    Args:
        ours: ``subscription`` or ``publisher``: our end.
        others: text of :func:`peers`.
    """
    parameter = f"qos_overrides.{topic}.{ours}.{policy}"
    if ours == "subscription":
        value = _WEAKER.get(policy, "what the publisher offers")
        fix = f"set {parameter} to {value} on this node, or let the publisher offer more"
        return f"no data on {topic}: it is offered with a weaker {policy} than asked for ({others}); {fix}"
    weaker, stronger = _WEAKER.get(policy, "as offered"), _STRONGER.get(policy, "more")
    fix = f"subscribe with {policy} {weaker}, or set {parameter} to {stronger}"
    return f"a subscriber on {topic} gets no data: it asks for a stronger {policy} than offered ({others}); {fix}"


def peers(node: Node, topic: str, *, publishers: bool) -> str:
    """Name the nodes at the other end of ``topic`` with their reliability and durability."""
    resolved = node.resolve_topic_name(topic)
    find = node.get_publishers_info_by_topic if publishers else node.get_subscriptions_info_by_topic
    own = (node.get_name(), node.get_namespace())

    def describe(info: Any) -> str:
        offer = info.qos_profile
        if "UNKNOWN" in info.node_name:  # discovery is under way, or the node is gone
            return f"an unnamed node {offer.reliability.name}, {offer.durability.name}"
        return f"{info.node_namespace.rstrip('/')}/{info.node_name} {offer.reliability.name}, {offer.durability.name}"

    found = [describe(i) for i in find(resolved) if (i.node_name, i.node_namespace) != own]
    return "; ".join(found) or "nobody"
