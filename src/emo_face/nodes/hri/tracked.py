"""Those on a list of ROS4HRI, with what is subscribed to below them."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from rclpy.qos import qos_profile_system_default

from emo_face.nodes.hri.installed import hri_messages


class Tracked:
    """Everybody on ``/humans/<kind>/tracked``; subscriptions are opened and closed with the list, as libhri does.

    Args:
        topics: of an id, name below it -> (message class, callback).
        gone: called with the id of each who left.
    """

    def __init__(
        self,
        node: Any,
        kind: str,
        topics: Callable[[str], dict[str, tuple[Any, Callable[[Any], None]]]],
        gone: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._node, self._space, self._topics, self._gone = node, f"/humans/{kind}", topics, gone
        self._readers: dict[str, list[Any]] = {}
        self._kind = kind
        self._subscribe(hri_messages("ros4hri.enabled").IdsList, "tracked", self._came)

    def _came(self, msg: Any) -> None:
        self._node.health.tick(self._kind, time.monotonic())
        self.now(msg.ids)

    @property
    def ids(self) -> tuple[str, ...]:
        """Who is there."""
        return tuple(self._readers)

    def now(self, ids: Iterable[str]) -> None:
        """Take over a list."""
        there = set(ids)
        for name in set(self._readers) - there:
            for reader in self._readers.pop(name):
                self._node.destroy_subscription(reader)
            self._gone(name)
        for name in sorted(there - set(self._readers)):
            below = self._topics(name).items()
            self._readers[name] = [self._subscribe(kind, f"{name}/{topic}", call) for topic, (kind, call) in below]

    def _subscribe(self, kind: Any, name: str, call: Callable[[Any], None]) -> Any:
        return self._node.create_subscription(kind, f"{self._space}/{name}", call, qos_profile_system_default)
