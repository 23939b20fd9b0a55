"""The node's side of its supervision: heartbeats from its executor, states, requested transitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emo_face.ros.supervision.channel import ENDED, PERIOD, NodeEnd, Report

if TYPE_CHECKING:
    from emo_face.ros.lifecycle import EmoNode


class Supervised:
    """Ties ``nodes``, which share a process, to the supervisor at the other end of ``end``.

    A heartbeat comes from a timer in the callback group of the node's transitions and subscriptions: it stops when any
    of them hangs. The timer's clock is steady: simulated time may stand still.
    """

    def __init__(self, nodes: Sequence[EmoNode], end: NodeEnd) -> None:
        self._nodes, self._end = {node.get_name(): node for node in nodes}, end
        for node in nodes:
            self._tie(node)

    def _tie(self, node: EmoNode) -> None:
        name = node.get_name()

        def tell(state: str, kind: str = "", trouble: str = "") -> None:
            self._end.tell(Report(name, state, kind, trouble))

        node.tell = tell
        node.create_timer(PERIOD, lambda: tell(node.state), clock=node.steady)

    def obey(self) -> None:
        """Hand what the supervisor asks for to the executors; end the nodes when it is gone. Call often."""
        for name, transition in self._end.asked():
            if name in self._nodes:
                self._ask(self._nodes[name], transition)
        if self._end.closed:
            for node in list(self._nodes.values()):
                node.finish(0)

    def ended(self, name: str) -> None:
        """Tell that a node has ended as it should while others of the process go on."""
        self._nodes.pop(name, None)
        self._end.tell(Report(name, ENDED))

    def _ask(self, node: EmoNode, transition: str) -> None:
        def trigger() -> None:
            try:
                getattr(node, f"trigger_{transition}")()
            except Exception as error:  # rclpy: this transition is none of the present state
                node.get_logger().debug(f"{transition} does not fit {node.state}: {error}")

        node.call_soon(trigger)
