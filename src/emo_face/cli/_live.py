"""The one-screen terminal view of a running graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

BAR = 20  # characters of a full bar
STYLES = {
    "Anger": "red",
    "Disgust": "green",
    "Fear": "magenta",
    "Happy": "yellow",
    "Sad": "blue",
    "Surprise": "bright_red",
}


@dataclass
class LiveView:
    """Keeps the newest of everything; :meth:`render` draws it. Fed by the recorder's ``on_message``."""

    title: str
    url: str
    scores: Any = None
    expression: Any = None
    said: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    nodes: dict[str, dict[str, str]] = field(default_factory=dict)
    levels: dict[str, tuple[int, str]] = field(default_factory=dict)

    def on_message(self, topic: str, message: Any) -> None:
        """Take one message of the graph."""
        self.counts[topic] = self.counts.get(topic, 0) + 1
        if topic == "emotion/scores":
            self.scores = message
        elif topic == "face/expression":
            self.expression = message
        elif topic == "speech/text":
            self.said = message.data
        elif topic == "diagnostics":
            for status in message.status:
                name = status.name.split(":")[0].strip("/ ")
                self.nodes[name] = {pair.key: pair.value for pair in status.values}
                level = status.level if isinstance(status.level, int) else status.level[0]
                self.levels[name] = (level, status.message)

    def render(self, elapsed: float, seconds: float, phases: dict[str, str]) -> RenderableType:
        """The screen after ``elapsed`` of ``seconds`` (0: endless)."""
        clock = f"{elapsed:5.1f} s" + (f" of {seconds:.0f}" if seconds else "  (Ctrl-C ends)")
        head = Text.assemble((self.title, "bold"), "   ", clock, "   face: ", (self.url, "underline cyan"))
        return Group(
            head,
            Panel(self._people(), title="people"),
            Panel(self._answer(), title="robot"),
            Panel(self._graph(phases), title="graph"),
        )

    def _people(self) -> RenderableType:
        if self.scores is None or not self.scores.people:
            return Text("nobody in view" if self.scores is not None else "waiting for the first frame")
        table = Table.grid(padding=(0, 2))
        for person in self.scores.people[:4]:
            told = zip(person.labels, person.probabilities, strict=False) if person.top else ()
            best = sorted(told, key=lambda pair: -pair[1])[:3]
            bars = Text()
            for label, value in best:
                bars.append(f"{label:<9}", STYLES.get(label, ""))
                bars.append(
                    "█" * round(value * BAR) + "·" * (BAR - round(value * BAR)) + f" {value:4.0%}  ",
                    STYLES.get(label, "white"),
                )
            why = ", ".join(f"{e.source} {e.share:+.2f}" for e in person.evidence)
            table.add_row(Text(person.person_id, "bold"), bars, Text(f"quality {person.quality:.2f}  {why}", "dim"))
        return table

    def _answer(self) -> RenderableType:
        shown = self.expression
        lines = [Text(f"heard: {self.said!r}" if self.said else "heard: nothing yet", "italic")]
        if shown is not None:
            feels, style = shown.person_emotion, "bold " + STYLES.get(shown.shown, "white")
            lines.append(
                Text.assemble(
                    ("feels ", "dim"),
                    (feels or "unknown", STYLES.get(feels, "white")),
                    ("  shows ", "dim"),
                    (f"{shown.shown} {shown.strength:.0%}", style),
                    f"  ({shown.perspective}, {shown.source})",
                )
            )
        return Group(*lines)

    def _graph(self, phases: dict[str, str]) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for name, phase in phases.items():
            level, message = self.levels.get(name, (0, ""))
            values = self.nodes.get(name, {})
            figures = "  ".join(
                f"{k} {values[k]}" for k in sorted(values) if k.endswith(("rate_hz", "p95_ms", "dropped"))
            )
            colour = "green" if phase == "active" and level == 0 else "yellow" if level < 2 else "red"
            table.add_row(
                Text(name, "bold"), Text(phase, colour), Text(figures, "dim"), Text(message if level else "", colour)
            )
        return table
