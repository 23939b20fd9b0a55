"""The state of one process of the graph and its next step, decided from what its nodes report, without waiting."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from emo_face.ros.supervision.channel import ENDED, Report
from emo_face.runtime.backoff import Backoff

TRANSITION_IDLE = 60.0  # s that a start or a transition may go on without a word or processor time of its process
ASK_AGAIN = 2.0  # s after which a node whose heartbeat still reports the same state has missed the request
TRANSITION_LIMIT = 1800.0  # s that it may take at all: an engine is built on the device
ENDING = 2.5  # s that the process of a finalized node may take to end: after a film, on a busy machine
SETTLED = 1.0  # s a state must have lasted before it is corrected: an outsider may be in the middle of something
HANDS_OFF = 4.0  # s that an outsider has between two transitions: `ros2 lifecycle set` takes one or two
GAP = 0.25  # s of silence that count at most between two looks: when we get no processor, nor do they
WRONG_ARGUMENTS = 2  # exit code of a node that cannot start as it was told: starting it again would not help
WORKING = 0.2  # s of processor time between two looks at a silent transition that count as work


class Phase(Enum):
    """Where a managed node is."""

    STARTING = "starting"
    CONFIGURING = "configuring"
    READY = "configured, waiting for those before it"
    ACTIVATING = "activating"
    ACTIVE = "active"
    WAITING = "waiting"
    ENDED = "ended"
    FAILED = "failed"


PHASE_OF = {
    "unconfigured": Phase.CONFIGURING,
    "configuring": Phase.CONFIGURING,
    "inactive": Phase.READY,
    "activating": Phase.ACTIVATING,
    "active": Phase.ACTIVE,
}


class Process(Protocol):
    """A running process and the line to its nodes; see :class:`emo_face.ros.supervision.supervisor.Running`."""

    def exit_code(self) -> int | None: ...
    def cpu_seconds(self) -> float: ...
    def kill(self) -> None: ...
    def ask(self, node: str, transition: str) -> bool: ...
    def reports(self) -> Sequence[Report]: ...


@dataclass
class NodeState:
    """What is known of one node. Times in seconds of the supervisor's clock.

    Attributes:
        ended: it has finished its work; if its process is replaced because of another node, it stays unconfigured.
    """

    name: str
    state: str = ""
    since: float = 0.0
    silent: float = 0.0
    asked: str = ""
    doing: str = ""
    trouble: str = ""
    waiting: bool = False
    was_active: bool = False
    ended: bool = False
    try_at: float = 0.0
    tries: Backoff = field(default_factory=lambda: Backoff(first=1.0, healthy=math.inf))

    def begin(self, now: float) -> None:
        """Its process starts."""
        self.state, self.since, self.silent, self.try_at = "", now, 0.0, now
        self.asked = self.doing = ""
        self.waiting = self.was_active = False
        self.tries.started(now)


def _own_name(label: str) -> str:
    """The node's name in ROS of its label ``namespace/name``."""
    return label.rpartition("/")[2]


def _passing(node: NodeState) -> bool:
    """Whether it starts or is in a transition."""
    return not node.state or node.state.endswith("ing")


@dataclass
class ManagedProcess:
    """The nodes of one process, taken to active and kept there; a process as a whole is replaced.

    Args:
        nodes: names of its nodes.
        start: starts the process.
        patience: seconds without a heartbeat until a node counts as hung; 0: never.
        autostart: configure and activate; else only the process is kept alive.
    """

    names: Sequence[str]
    start: Callable[[], Process]
    patience: float = 2.5
    autostart: bool = True
    backoff: Backoff = field(default_factory=Backoff)
    process: Process | None = None
    error: str = ""
    ended: bool = False
    failed: bool = False
    replaced: int = 0
    nodes: Mapping[str, NodeState] = field(init=False)
    _due: float = 0.0
    _looked: float | None = None
    _cpu: float = 0.0

    def __post_init__(self) -> None:
        self.nodes = {name: NodeState(name) for name in self.names}

    # ---- what is seen ------------------------------------------------------------------------------------------

    def phase(self, name: str) -> Phase:
        """Where the node is."""
        if self.failed or self.ended or self.nodes[name].ended:
            return Phase.FAILED if self.failed else Phase.ENDED
        if self.process is None or self.nodes[name].waiting:
            return Phase.WAITING
        state = self.nodes[name].state
        return PHASE_OF.get(state, Phase.STARTING) if state else Phase.STARTING

    def trouble(self, name: str) -> str:
        """Why the node is not active, or what it is doing; empty when there is nothing to say."""
        return self.error or self.nodes[name].trouble or self.nodes[name].doing

    @property
    def in_nobodys_way(self) -> bool:
        """Whether those after it need not wait for it."""
        return all(self._out_of_the_way(name) for name in self.names)

    def _out_of_the_way(self, name: str) -> bool:
        return self.phase(name) in (Phase.ACTIVE, Phase.ENDED, Phase.WAITING)

    # ---- one step ----------------------------------------------------------------------------------------------

    def tick(self, now: float, turn: bool = True) -> None:
        """Advance by one step. ``turn``: its nodes may be activated."""
        if self.ended or self.failed:
            return
        if self.process is None:
            if now >= self._due:
                self._begin(now)
            return
        for report in self.process.reports():
            self._heard(report, now)
        code = self.process.exit_code()
        if code is not None:
            self._exited(code, now)
            return
        silence = self._silence(now)
        passing = any(_passing(node) for node in self.nodes.values())
        for node in self.nodes.values():
            if node.state == ENDED:
                continue
            # one that loads holds the interpreter that all of a process share: it is waited for, not they blamed
            node.silent = 0.0 if passing and not _passing(node) else node.silent + silence
            if self._lost(node, now):
                return
            if self.autostart and not self.failed and not node.ended:
                self._drive(node, now, turn)
            turn = turn and self._out_of_the_way(node.name)

    def _begin(self, now: float) -> None:
        self.process = self.start()
        self.backoff.started(now)
        self.error, self._looked, self._cpu = "", now, 0.0
        for node in self.nodes.values():
            node.begin(now)

    def _silence(self, now: float) -> float:
        gap = 0.0 if self._looked is None else now - self._looked
        self._looked = now
        return min(gap, GAP)

    def _heard(self, report: Report, now: float) -> None:
        node = next((node for label, node in self.nodes.items() if _own_name(label) == report.node), None)
        if node is None:
            return
        node.silent = 0.0
        if report.state == ENDED:
            node.ended = True
        if report.state != node.state:
            node.state, node.since, node.asked = report.state, now, ""
        elif now - node.since > ASK_AGAIN:
            node.asked = ""
        node.doing = report.trouble if not report.kind else ""
        if report.kind:
            self._transition_failed(node, report, now)
        elif report.state == "active":
            node.was_active, node.waiting, node.trouble, self.error = True, False, "", ""
            node.tries.failures = 0

    def _transition_failed(self, node: NodeState, report: Report, now: float) -> None:
        node.trouble, node.asked = report.trouble, ""
        if report.kind == "refused":
            self._give_up(report.trouble)
            return
        delay = node.tries.failed(now)
        if report.kind == "unavailable":
            node.waiting = True
            delay = node.tries.longest if delay is None else delay
        if delay is None:
            self._give_up(f"{report.trouble} ({node.tries.failures} times in a row)")
        else:
            node.try_at = now + delay

    def _lost(self, node: NodeState, now: float) -> bool:
        """Replace the process if ``node`` is stopped, hung or finalized; whether it was."""
        assert self.process is not None
        if _passing(node):
            why = self._stuck(node, now)
        elif node.state == "finalized":
            why = "is finalized but has not ended" if now - node.since > ENDING else ""
        else:
            hung = 0.0 < self.patience < node.silent
            why = f"gave no heartbeat for {self.patience:g} s" if hung else ""
        if why:
            outsider = node.state == "finalized"  # somebody's doing, and no reason to give the node up
            self._replace(f"{node.name} {why}" if len(self.nodes) > 1 else why, now, fault=not outsider)
        return bool(why)

    def _stuck(self, node: NodeState, now: float) -> str:
        """Why a start or transition is given up, if it is: one that works uses the processor or says what it does."""
        assert self.process is not None
        used = self.process.cpu_seconds()
        if used - self._cpu > WORKING:
            self._cpu, node.silent = used, 0.0
        what = node.state or "starting"
        if node.silent > TRANSITION_IDLE:
            return f"hangs in {what}: no sign of work for {TRANSITION_IDLE:.0f} s"
        return f"is {what} for over {TRANSITION_LIMIT:.0f} s" if now - node.since > TRANSITION_LIMIT else ""

    def _drive(self, node: NodeState, now: float, turn: bool) -> None:
        """Ask for the next transition towards active; what an outsider has changed is left alone for a moment."""
        assert self.process is not None
        step = {"unconfigured": "configure", "inactive": "activate"}.get(node.state, "")
        if not step or node.asked or now < node.try_at or (step == "activate" and not turn):
            return
        if node.was_active and now - node.since < HANDS_OFF:
            return
        if self.process.ask(_own_name(node.name), step):
            node.asked, node.since = step, now

    # ---- ends --------------------------------------------------------------------------------------------------

    def _exited(self, code: int, now: float) -> None:
        if code == 0:
            self._collect()
            self.ended, self.error = True, ""
        elif code == WRONG_ARGUMENTS:
            self._give_up("refuses its arguments or parameters; its log above says which")
        else:
            self._replace(f"was ended by signal {-code}" if code < 0 else f"exited with code {code}", now)

    def _replace(self, why: str, now: float, fault: bool = True) -> None:
        self._collect()
        self.replaced += 1
        delay = self.backoff.failed(now) if fault else self.backoff.first
        if delay is None:
            self._give_up(f"{why}, {self.backoff.failures} times in a row")
            return
        self.error = f"{why}; restart in {delay:.1f} s"
        self._due = now + delay

    def _collect(self) -> None:
        if self.process is not None:
            self.process.kill()
        self.process = None

    def _give_up(self, why: str) -> None:
        self.error, self.failed = why, True
