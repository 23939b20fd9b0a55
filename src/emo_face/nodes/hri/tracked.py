"""Those on a list of ROS4HRI, with what is subscribed to below them."""

import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from rclpy.qos import qos_profile_system_default

from emo_face.nodes.hri.installed import hri_messages

NAME = re.compile("(?!.*__)[A-Za-z_][A-Za-z0-9_]*")
"""What may be part of a topic in ROS 2; REP-155's ids of ROS 1 may begin with a digit."""


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
        named = [name for name in msg.ids if NAME.fullmatch(name)]
        if len(named) < len(msg.ids):
            wrong = next(name for name in msg.ids if name not in named)
            self._node.drop("bad_id", f"{self._space}/tracked: id {wrong!r} makes no topic: expected a letter first")
        self.now(named)

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
