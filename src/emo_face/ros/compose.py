"""Several nodes in one process, each served by a thread of its own; pictures go from node to node by reference.

One interpreter and one DDS participant instead of several. A node that ends as it should (a film is over) leaves the
others running, the process ends with the last; what ends one in an error ends all, so that the process is replaced.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rclpy.executors import ExternalShutdownException

from emo_face.ros.images.local import LocalPictures
from emo_face.ros.images.transport import use_profile
from emo_face.ros.lifecycle import EmoNode
from emo_face.ros.run import arguments, end, end_on_signals, init, spin, to_the_end, watching
from emo_face.ros.supervision.channel import NodeEnd
from emo_face.ros.supervision.supervised import Supervised
from emo_face.runtime.process import Parent

LOOK = 0.02  # s between two looks at what the supervisor asks for


@dataclass(frozen=True)
class Part:
    """One node of the process.

    Attributes:
        create: makes the node, from keyword arguments of :class:`~emo_face.ros.lifecycle.EmoNode`.
        words: its own command line, ``--ros-args`` first: no node sees another's.
        remaps: ``from:=to`` rules that hold if ``words`` give none for the same name.
    """

    create: Callable[..., EmoNode]
    words: Sequence[str] = ()
    remaps: Sequence[str] = ()


def run_together(parts: Sequence[Part]) -> int:
    """Serve the nodes of ``parts`` until all have finished or SIGINT/SIGTERM comes; made in the order of ``parts``.

    Returns:
        0 at a clean end, 1 after an exception in a callback, 2 after a user's mistake in the parameters, else what a
        node finished with.
    """
    use_profile(os.environ)
    parent, line = Parent.from_environment(os.environ), NodeEnd.inherited(os.environ)
    nodes: list[EmoNode] = []

    def work() -> int:
        init([sys.argv[0], *parts[0].words])  # what holds for the whole process, such as the log level
        pictures = LocalPictures()
        for part in parts:
            words = arguments(part.words, part.remaps)
            nodes.append(part.create(cli_args=words, use_global_arguments=False, pictures=pictures))
        end_on_signals(nodes)
        return _Together(nodes, Supervised(nodes, line) if line is not None else None).run(parent)

    return to_the_end(nodes, work)


@dataclass
class _Together:
    """The threads of the nodes and how they end."""

    nodes: Sequence[EmoNode]
    supervised: Supervised | None
    codes: list[int] = field(default_factory=list)
    _ending: Any = field(default_factory=threading.Lock)

    def run(self, parent: Parent) -> int:
        """Wait until every node has ended; the largest exit code."""
        threads = [threading.Thread(target=self._serve, args=(node,), name=node.get_name()) for node in self.nodes]
        for thread in threads:
            thread.daemon = True  # a second Ctrl-C ends the process whatever they do
            thread.start()
        look = watching(self.nodes, parent, self.supervised)
        while any(thread.is_alive() for thread in threads):
            look()
            time.sleep(LOOK)
        return max(self.codes)

    def _serve(self, node: EmoNode) -> None:
        code = 1
        try:
            code = spin(node)
        except ExternalShutdownException:
            code = 0
        except Exception:
            traceback.print_exc()
        self.codes.append(code)
        if code:
            for other in self.nodes:
                other.finish(code)
        with self._ending:
            name = node.get_name()
            end(node)
            if self.supervised is not None and not code:
                self.supervised.ended(name)
