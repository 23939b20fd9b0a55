"""What the dashboard shows: the newest of everything in the graph as one JSON object. No ROS, no network."""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emo_face.web.protocol import CommandError, parse_command

FRESH = 2.0  # s after which scores and expressions are no longer what happens now
GONE = 10.0  # s of silence after which a node is reported as silent
LINES = 12  # spoken lines that are remembered
LETTERS = 300  # of a spoken line
WARNING = 1200  # letters; a warning ends with its fix
STATUSES = 32


@dataclass(frozen=True)
class Allowed:
    """What people agreed to, as ``perception/consent`` tells; nothing is shown of them before it has told."""

    known: bool = False
    mode: str = ""
    granted: bool = False
    pictures: bool = False
    words: bool = False

    @property
    def reading(self) -> bool:
        """Whether people are read now."""
        return self.known and (self.mode != "ask" or self.granted)

    @property
    def notice(self) -> str:
        """What people before the camera are told."""
        if not self.known:
            return "Perception is not there: nobody is read."
        if not self.reading:
            return "Nobody is read until they agree."
        return "Faces and words of people here are read by a machine."


@dataclass
class Status:
    """One node's diagnostics: ``level`` 0 to 3, its sentence, its values, and when they came (steady s)."""

    level: int
    message: str
    values: Mapping[str, str]
    at: float


@dataclass
class Board:
    """Collects; :meth:`report` tells. Times in steady seconds. Not thread-safe.

    Attributes:
        driver: name of the face driver, with its namespace; other robots' are on /diagnostics too.
        stop: what its latched emergency stop has achieved, in its words; empty if none is latched.
    """

    driver: str = "face_driver"
    allowed: Allowed = Allowed()
    stop: str = ""
    _people: Sequence[Mapping[str, Any]] = ()
    _shown: Mapping[str, Any] = field(default_factory=dict)
    _at: dict[str, float] = field(default_factory=dict)
    _latency: dict[str, float] = field(default_factory=dict)
    _heard: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=LINES))
    _nodes: dict[str, Status] = field(default_factory=dict)

    def allow(self, allowed: Allowed) -> None:
        """Take over what people agreed to; what they no longer agree to is forgotten."""
        self.allowed = allowed
        if not (allowed.words and allowed.reading):
            self._heard.clear()

    def scores(self, people: Sequence[Mapping[str, Any]], latency: float, now: float) -> None:
        """People as :func:`person_row` makes them; ``latency`` in seconds."""
        self._people, self._at["scores"], self._latency["scores"] = tuple(people), now, latency

    def expression(self, shown: Mapping[str, Any], latency: float, now: float) -> None:
        """What the face shows and why."""
        self._shown, self._at["expression"], self._latency["expression"] = shown, now, latency

    def hear(self, text: str, now: float) -> None:
        """A line that was said; forgotten at once if words are private."""
        if self.allowed.words and self.allowed.reading:
            self._heard.append((now, text[:LETTERS]))

    def status(self, name: str, status: Status) -> None:
        """A node's diagnostics."""
        if name in self._nodes or len(self._nodes) < STATUSES:
            self._nodes[name] = status
        if name == self.driver:
            self.stop = status.values.get("estop", "")

    def report(self, now: float) -> dict[str, Any]:
        """Everything that a page shows, of plain values."""

        def fresh(what: str) -> bool:
            return now - self._at.get(what, -FRESH) < FRESH

        latency = {name: round(1e3 * value, 1) for name, value in self._latency.items() if fresh(name)}
        return {
            "type": "report",
            "people": list(self._people) if fresh("scores") else [],
            "shown": dict(self._shown) if fresh("expression") else None,
            "stop": self.stop,
            "latency": latency,
            "heard": [{"ago": round(now - at, 1), "text": text} for at, text in self._heard],
            "nodes": [_node(name, status, now) for name, status in sorted(self._nodes.items())],
            "allowed": {**vars(self.allowed), "reading": self.allowed.reading},
            "notice": self.allowed.notice,
        }


def _node(name: str, status: Status, now: float) -> dict[str, Any]:
    silent = now - status.at > GONE
    return {
        "name": name,
        "level": 3 if silent else status.level,
        "message": f"silent for {now - status.at:.0f} s" if silent else status.message[:WARNING],
        "rates": {k.removesuffix(".rate_hz"): v for k, v in status.values.items() if k.endswith(".rate_hz")},
        "p95_ms": status.values.get("latency.p95_ms", ""),
        "dropped": {k: v for k, v in status.values.items() if "dropped" in k and v not in ("", "0")},
    }


def person_row(
    person_id: str, top: str, probabilities: Mapping[str, float], quality: float, evidence: Mapping[str, float]
) -> dict[str, Any]:
    """One person of a report."""
    return {
        "id": person_id,
        "top": top,
        "p": {label: round(float(p), 3) for label, p in probabilities.items()},
        "quality": round(float(quality), 2),
        "evidence": {source: round(float(share), 2) for source, share in evidence.items()},
    }


def parse(text: str) -> dict[str, Any]:
    """A checked command of the dashboard: ``estop``, ``clear_estop`` or ``consent``; see :mod:`emo_face.web.protocol`.

    ``{"type": "consent", "granted": true, "pictures": false, "words": true}``

    Raises:
        CommandError: anything else.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raise CommandError("a command must be JSON") from None
    if not isinstance(raw, dict) or raw.get("type") != "consent":
        command = parse_command(text)
        if command["type"] not in ("estop", "clear_estop"):
            raise CommandError("type must be consent, estop or clear_estop")
        return command
    wanted = {name: raw.get(name) for name in ("granted", "pictures", "words")}
    if not all(isinstance(value, bool) for value in wanted.values()):
        raise CommandError("consent needs granted, pictures and words, each true or false")
    return {"type": "consent", **wanted}
