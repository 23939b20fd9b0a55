"""What a supervisor and the nodes of one process tell each other: heartbeats and states up, transitions down.

A socket pair that the child inherits, not DDS: it needs no discovery, loses nothing on a busy machine, does not mix
two graphs of one domain, and its end tells the child that the supervisor is gone. One packet is one JSON object:

    up    {"node": "camera", "state": "inactive"}                         twice per second from the node's executor
          {"node": "camera", "state": "unconfigured", "kind": "unavailable", "trouble": "webcam 0 ..."}
    down  {"node": "camera", "transition": "configure"}
"""

import json
import os
import socket
from collections.abc import Iterator, MutableMapping
from dataclasses import asdict, dataclass
from typing import Any

VARIABLE = "EMO_FACE_SUPERVISOR_FD"
PERIOD = 0.5  # s between heartbeats
ENDED = "ended"  # the state of a node that has ended as it should in a process that goes on
LONGEST = 4096  # bytes of a packet
TRANSITIONS = ("configure", "activate", "deactivate", "cleanup", "shutdown")


@dataclass(frozen=True, slots=True)
class Report:
    """One word of a node.

    Attributes:
        state: a primary state of the ROS 2 lifecycle, the transition state (``configuring``) while it runs, or
            ``ended``.
        kind: after a transition that failed: ``unavailable`` (worth another try later), ``refused`` (a user's mistake)
            or ``error``; else empty.
        trouble: why it failed, or what a running transition is doing; one line.
    """

    node: str
    state: str
    kind: str = ""
    trouble: str = ""


class _End:
    """One end; neither end ever waits for the other."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.setblocking(False)
        self.closed = False

    def _send(self, content: dict[str, Any]) -> bool:
        """Whether the packet left; False if the other side does not read or is gone."""
        try:
            self._socket.send(json.dumps(content).encode())
            return True
        except OSError:
            return False

    def _receive(self) -> Iterator[dict[str, Any]]:
        """What has arrived; sets :attr:`closed` at the end of the other side."""
        while not self.closed:
            try:
                packet = self._socket.recv(LONGEST)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self.closed = True
                return
            try:
                content = json.loads(packet)
            except ValueError:
                continue
            if isinstance(content, dict):
                yield content

    def close(self) -> None:
        self.closed = True
        self._socket.close()


class NodeEnd(_End):
    """The child's end."""

    @classmethod
    def inherited(cls, environment: MutableMapping[str, str]) -> "NodeEnd | None":
        """The end that ``environment`` names, or None; taken out of it, so that children of the child have none."""
        number = environment.pop(VARIABLE, "")
        try:
            end = socket.socket(fileno=int(number))
            end.getpeername()  # raises for any other kind of file
        except (ValueError, OSError):
            return None
        os.set_inheritable(end.fileno(), False)
        return cls(end)

    def tell(self, report: Report) -> None:
        """Send a report; a supervisor that does not read loses it."""
        content = asdict(report)
        content["trouble"] = " ".join(report.trouble.split())[:1000]
        self._send({key: value for key, value in content.items() if value})

    def asked(self) -> Iterator[tuple[str, str]]:
        """(node, transition) pairs that the supervisor asks for."""
        for content in self._receive():
            if content.get("transition") in TRANSITIONS:
                yield str(content.get("node")), str(content["transition"])


class SupervisorEnd(_End):
    """The supervisor's end. ``child`` is the other one: hand its descriptor to the process, then close it here."""

    def __init__(self) -> None:
        mine, self.child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(mine)

    def ask(self, node: str, transition: str) -> bool:
        """Ask for a transition; False when it could not be sent (try again)."""
        return self._send({"node": node, "transition": transition})

    def reports(self) -> Iterator[Report]:
        """What the nodes have told since the last call."""
        for content in self._receive():
            yield Report(**{key: str(content.get(key, "")) for key in ("node", "state", "kind", "trouble")})
