"""Start the processes of a graph, take their nodes to active, replace what dies, hangs or ends, end all cleanly.

The one manager of `emo-face up`, `emo-face demo` and the launch file. What it decides by is in
:mod:`emo_face.ros.supervision.managed`, how it talks to the nodes in :mod:`emo_face.ros.supervision.channel`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO, Protocol

from emo_face.ros.supervision.channel import VARIABLE, Report, SupervisorEnd
from emo_face.ros.supervision.managed import ManagedProcess, Phase
from emo_face.runtime.process import Child

PATIENCE = 2.5  # s without a heartbeat, which comes twice per second
SLOW = 10.0  # s after which a node that is not active is spoken of
END = 10.0  # s that a process may take to end: the face eases to neutral in it


class Log(Protocol):
    """Where the supervisor speaks."""

    def info(self, message: str) -> object: ...
    def warning(self, message: str) -> object: ...
    def error(self, message: str) -> object: ...


class Running:
    """A started process and the line to its nodes."""

    def __init__(self, command: Sequence[str], log: IO[bytes] | None = None) -> None:
        self._end = SupervisorEnd()
        number = self._end.child.fileno()
        try:
            self.child = Child(command, log, {VARIABLE: str(number)}, (number,))
        finally:
            self._end.child.close()
        self.exit_code, self.cpu_seconds, self.ask = self.child.exit_code, self.child.cpu_seconds, self._end.ask

    def reports(self) -> list[Report]:
        """What its nodes have told since the last call."""
        return list(self._end.reports())

    def kill(self) -> None:
        """End it at once and collect it."""
        self.child.kill()
        self.child.end()
        self._end.close()


@dataclass(frozen=True)
class NodeView:
    """One node as the outside sees it."""

    name: str
    phase: Phase
    error: str


class Supervisor:
    """Runs a set of processes. Call :meth:`tick` often: twice per heartbeat at least.

    Args:
        commands: (names of the nodes, command line) of each process in the order of activation.
        log: where it speaks, a rclpy logger.
        output: where the processes' output goes; None: to ours.
        patience: seconds without a heartbeat until a node counts as hung; 0: never.
        autostart: configure and activate; else only the processes are kept alive.
    """

    def __init__(
        self,
        commands: Sequence[tuple[Sequence[str], Sequence[str]]],
        log: Log,
        *,
        output: IO[bytes] | None = None,
        patience: float = PATIENCE,
        autostart: bool = True,
        start: Callable[[Sequence[str], IO[bytes] | None], Running] = Running,
    ) -> None:
        self._log = log
        self._spoken: dict[str, str] = {}
        self._summed = ("", False)
        self._changed: float | None = None
        self.autostart = autostart
        self.processes = [
            ManagedProcess(list(names), partial(start, command, output), patience, autostart)
            for names, command in commands
        ]

    def tick(self, now: float) -> None:
        """Advance every process by one step and log what changed.

        Nodes load side by side but become active in their order: a film does not run before somebody watches it. A
        node that waits for something outside holds nobody up.
        """
        turn = True
        for process in self.processes:
            process.tick(now, turn)
            turn = turn and process.in_nobodys_way
        for node in self.nodes:
            self._tell(node, now)
        self._sum_up(now)

    @property
    def nodes(self) -> list[NodeView]:
        """Every node, in the order of activation."""
        return [NodeView(name, p.phase(name), p.trouble(name)) for p in self.processes for name in p.names]

    def _tell(self, node: NodeView, now: float) -> None:
        """Log what is new about one node."""
        trouble = "" if node.phase is Phase.ACTIVE else node.error
        line = f"{node.name}: {node.phase.value}{': ' if trouble else ''}{trouble}"
        if self._spoken.get(node.name) == line:
            return
        self._spoken[node.name] = line
        self._changed = now
        if node.phase is Phase.FAILED:
            self._log.error(line)
        elif node.phase is Phase.WAITING and node.error:
            self._log.warning(line)
        else:
            self._log.info(line)

    def _sum_up(self, now: float) -> None:
        """One line once all are active, and one that says who is not and why when that lasts."""
        summary, whole = self.summary, self.all_active
        if (summary, whole) == self._summed:
            return
        if whole:
            self._log.info(summary)
        elif not self.autostart or self._changed is None or now - self._changed < SLOW:
            self._summed = (self._summed[0], False)
            return
        else:
            self._log.warning(summary)
        self._summed = (summary, whole)

    @property
    def summary(self) -> str:
        """``all 4 nodes active``, or which are not and why."""
        nodes = self.nodes
        active = [n for n in nodes if n.phase is Phase.ACTIVE]
        rest = [n for n in nodes if n.phase not in (Phase.ACTIVE, Phase.ENDED)]
        ended = ", ".join(n.name for n in nodes if n.phase is Phase.ENDED)
        if not rest:
            said = f"all {len(active)} nodes active" if len(active) == len(nodes) else f"{len(active)} nodes active"
            return f"{said}; {ended} has ended" if ended else said
        whys = (f"{n.name} {n.phase.value}{f' ({n.error})' if n.error else ''}" for n in rest)
        return f"{len(active)} of {len(nodes)} nodes active; {'; '.join(whys)}"

    @property
    def all_active(self) -> bool:
        """True when every node is active or has ended on purpose."""
        return all(n.phase in (Phase.ACTIVE, Phase.ENDED) for n in self.nodes)

    @property
    def peak_rss_mb(self) -> float:
        """Sum of the largest resident sets of the running processes in MB."""
        return sum(child.peak_rss_mb() for child in self._children())

    @property
    def replaced(self) -> int:
        """How often a process was started anew."""
        return sum(p.replaced for p in self.processes)

    @property
    def failed(self) -> list[NodeView]:
        """Nodes that were given up."""
        return [n for n in self.nodes if n.phase is Phase.FAILED]

    def ended(self, name: str) -> bool:
        """True when the node called ``name`` has exited with code 0."""
        return any(n.name == name and n.phase is Phase.ENDED for n in self.nodes)

    def _children(self) -> list[Child]:
        running = (p.process.child for p in self.processes if isinstance(p.process, Running))
        return [child for child in running if child.exit_code() is None]

    def stop(self) -> None:
        """End and collect every process; each takes its nodes down by itself (the face eases to neutral)."""
        children = self._children()
        for child in reversed(children):
            child.ask_to_end()
        deadline = time.monotonic() + END
        for child in children:
            child.end(max(0.1, deadline - time.monotonic()))
