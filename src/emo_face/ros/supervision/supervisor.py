"""Start nodes as processes, take them through their lifecycle, restart what dies, end all cleanly.

What launch and a lifecycle manager do, for machines that have neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import IO, Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node

from emo_face.runtime.backoff import Backoff
from emo_face.runtime.process import Child

TRANSITION_TIMEOUT = 60.0  # s; loading a large model on a slow board
KNOCK_PERIOD = 0.5  # s
WRONG_ARGUMENTS = 2  # exit code of a node that cannot start as it was told: starting it again would not help


class Phase(Enum):
    """Where a managed node is."""

    STARTING = "starting"
    CONFIGURING = "configuring"
    READY = "configured, waiting for those before it"
    ACTIVATING = "activating"
    ACTIVE = "active"
    WAITING = "waiting to restart"
    ENDED = "ended"
    FAILED = "failed"


@dataclass
class ManagedNode:
    """One node: its process, the clients of its lifecycle services and what was asked of it last."""

    name: str
    command: list[str]
    client: Any
    states: Any
    log: IO[bytes] | None = None
    backoff: Backoff = field(default_factory=Backoff)
    phase: Phase = Phase.WAITING
    error: str = ""
    child: Child | None = None
    _future: Any = None
    _due: float = 0.0
    _knock_again: float = 0.0

    def start(self, now: float) -> None:
        """Start the process; the lifecycle follows in :meth:`tick`."""
        self.child = Child(self.command, log=self.log)
        self.backoff.started(now)
        self._future = None
        self._due = now + TRANSITION_TIMEOUT
        self.phase = Phase.STARTING

    def tick(self, now: float, turn: bool = True) -> None:
        """Advance by one step; never blocks. ``turn``: it may be activated."""
        if self.phase in (Phase.ENDED, Phase.FAILED):
            return
        if self.phase is Phase.WAITING:
            if now >= self._due:
                self.start(now)
            return
        assert self.child is not None
        code = self.child.exit_code()
        if code is not None:
            self._exited(code, now)
        elif self.phase is Phase.STARTING:
            self._knock(now)
        elif self.phase in (Phase.CONFIGURING, Phase.ACTIVATING):
            self._answered(now)
        elif self.phase is Phase.READY and turn:
            self._ask(Transition.TRANSITION_ACTIVATE, Phase.ACTIVATING, now)

    def _knock(self, now: float) -> None:
        """Ask for the state again and again: discovery shows a killed process' services for a while longer."""
        if self._future is not None and self._future.done():
            self._ask(Transition.TRANSITION_CONFIGURE, Phase.CONFIGURING, now)
        elif now > self._due:
            self._fail(f"did not offer its lifecycle service within {TRANSITION_TIMEOUT:.0f} s")
        elif now >= self._knock_again and self.states.service_is_ready():
            self._future = self.states.call_async(GetState.Request())
            self._knock_again = now + KNOCK_PERIOD

    def _ask(self, transition: int, phase: Phase, now: float) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        self._future = self.client.call_async(request)
        self._due = now + TRANSITION_TIMEOUT
        self.phase = phase

    def _answered(self, now: float) -> None:
        if not self._future.done():
            if now > self._due:
                self._fail(f"{self.phase.value} took over {TRANSITION_TIMEOUT:.0f} s")
            return
        if not self._future.result().success:
            self._fail(f"{self.phase.value} failed; its log above says why")
        elif self.phase is Phase.CONFIGURING:
            self.phase = Phase.READY
        else:
            self.phase = Phase.ACTIVE

    def _exited(self, code: int, now: float) -> None:
        if code == 0:
            self.phase = Phase.ENDED
            return
        if code == WRONG_ARGUMENTS:
            self._fail("refuses its parameters; its log above says which")
            return
        delay = self.backoff.failed(now)
        how = f"was ended by signal {-code}" if code < 0 else f"exited with code {code}"
        if delay is None:
            self._fail(f"{how} {self.backoff.failures} times in a row")
            return
        self.error = f"{how}; restart in {delay:.1f} s"
        self._due = now + delay
        self.phase = Phase.WAITING

    def _fail(self, why: str) -> None:
        self.error = why
        self.phase = Phase.FAILED

    def deactivate(self) -> Any:
        """Ask the node to go inactive (the driver eases to neutral); returns the future or None."""
        if self.phase is not Phase.ACTIVE or not self.client.service_is_ready():
            return None
        return self.client.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE)))


class Supervisor:
    """Runs a set of nodes. Call :meth:`tick` often from the thread that also spins ``node``."""

    def __init__(
        self, node: Node, commands: Sequence[tuple[str, list[str]]], namespace: str = "", log: IO[bytes] | None = None
    ) -> None:
        """``commands``: (node name, command line) in the order of starting. ``log``: where the nodes' output goes."""
        prefix = f"/{namespace.strip('/')}" if namespace.strip("/") else ""
        self._node = node
        self._spoken: dict[str, str] = {}
        self.nodes = [
            ManagedNode(
                name,
                command,
                node.create_client(ChangeState, f"{prefix}/{name}/change_state"),
                node.create_client(GetState, f"{prefix}/{name}/get_state"),
                log,
            )
            for name, command in commands
        ]

    def tick(self, now: float) -> None:
        """Advance every node by one step and log what changed.

        Nodes load side by side but become active in their order: a film does not run before somebody watches it.
        """
        ready = True
        for managed in self.nodes:
            managed.tick(now, ready)
            ready = ready and managed.phase in (Phase.ACTIVE, Phase.ENDED)
            trouble = managed.error if managed.phase is not Phase.ACTIVE else ""
            line = f"{managed.phase.value}{': ' if trouble else ''}{trouble}"
            if self._spoken.get(managed.name) != line:
                self._spoken[managed.name] = line
                self._say(managed, line)

    def _say(self, managed: ManagedNode, line: str) -> None:
        log = self._node.get_logger()
        text = f"{managed.name}: {line}"
        if managed.phase is Phase.FAILED:
            log.error(text)
        elif managed.error and managed.phase is Phase.WAITING:
            log.warning(text)
        else:
            log.info(text)

    @property
    def all_active(self) -> bool:
        """True when every node is active or has ended on purpose."""
        return all(m.phase in (Phase.ACTIVE, Phase.ENDED) for m in self.nodes)

    @property
    def peak_rss_mb(self) -> float:
        """Sum of the largest resident sets of the running nodes in MB."""
        return sum(m.child.peak_rss_mb() for m in self.nodes if m.child is not None)

    @property
    def failed(self) -> list[ManagedNode]:
        """Nodes that were given up."""
        return [m for m in self.nodes if m.phase is Phase.FAILED]

    def ended(self, name: str) -> bool:
        """True when the node called ``name`` has exited with code 0."""
        return any(m.name == name and m.phase is Phase.ENDED for m in self.nodes)

    def stop(self, spin: Callable[[float], None], ease: float = 2.0) -> None:
        """Deactivate (the face eases to neutral, at most ``ease`` seconds), interrupt and collect every process.

        ``spin(seconds)`` lets ROS work for that long.
        """
        futures = [f for f in (m.deactivate() for m in reversed(self.nodes)) if f is not None]
        deadline = time.monotonic() + ease
        while time.monotonic() < deadline and not all(f.done() for f in futures):
            spin(0.05)
        running = [m.child for m in self.nodes if m.child is not None and m.child.exit_code() is None]
        for child in running:
            child.interrupt()
        for child in running:
            child.end()
