"""The one-screen terminal view of a running graph."""

from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

WIDE = 110  # columns from which three emotions and longer bars fit
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

    def render(self, elapsed: float, seconds: float, phases: dict[str, str], width: int = 80) -> RenderableType:
        """The screen after ``elapsed`` of ``seconds`` (0: endless), for ``width`` columns; 80 x 24 hold it."""
        clock = f"{elapsed:5.1f} s" + (f" of {seconds:.0f}" if seconds else "  (Ctrl-C ends)")
        head = Text.assemble((self.title, "bold"), "   ", clock, "   face: ", (self.url, "underline cyan"))
        parts: list[RenderableType] = [
            head,
            Panel(self._people(width), title="people"),
            Panel(self._answer(), title="robot"),
            Panel(self._graph(phases), title="graph"),
        ]
        troubles = [f"{name}: {message}" for name, (level, message) in self.levels.items() if level]
        # last, because what does not fit on the screen is cut there
        return Group(*parts, *(Text(trouble, "yellow") for trouble in troubles))

    def _people(self, width: int) -> RenderableType:
        if self.scores is None or not self.scores.people:
            return Text("nobody in view" if self.scores is not None else "waiting for the first frame")
        best, bar = (3, 14) if width >= WIDE else (2, 7)
        table = _rows(6, best * (bar + 15))
        for person in self.scores.people[:4]:
            told = zip(person.labels, person.probabilities, strict=False) if person.top else ()
            bars = Text()
            for label, value in sorted(told, key=lambda pair: -pair[1])[:best]:
                full = round(value * bar)
                bars.append(f"{label:<9}", STYLES.get(label, ""))
                bars.append("█" * full + "·" * (bar - full) + f" {value:4.0%} ", STYLES.get(label, "white"))
            why = " ".join(f"{e.source} {e.share:+.2f}" for e in person.evidence)
            table.add_row(Text(person.person_id, "bold"), bars, Text(f"{why}  quality {person.quality:.2f}", "dim"))
        return table

    def _answer(self) -> RenderableType:
        shown = self.expression
        heard = f"heard: {self.said!r}" if self.said else "heard: nothing yet"
        lines = [Text(heard, "italic", no_wrap=True, overflow="ellipsis")]
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
        table = _rows(11, 8)
        for name, phase in phases.items():
            level, values = self.levels.get(name, (0, ""))[0], self.nodes.get(name, {})
            figures = "  ".join(said for key in sorted(values) if (said := _figure(key, values[key])))
            colour = "green" if phase == "active" and level == 0 else "yellow" if level < 2 else "red"
            table.add_row(Text(name, "bold"), Text(phase, colour), Text(figures, "dim"))
        return table


def _figure(key: str, value: str) -> str:
    """A diagnostic value in few words; "" for one that is not worth a place."""
    if key.endswith(".rate_hz"):
        return f"{key.removesuffix('.rate_hz')} {value} Hz"
    if key == "latency.p95_ms":
        return f"p95 {value} ms"
    return f"{key.replace('_', ' ')} {value}" if key.endswith("dropped") and value != "0" else ""


def _rows(first: int, second: int) -> Table:
    """Two columns of at least so many characters and a last one that is cut instead of wrapped: a row stays a row."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, min_width=first)
    table.add_column(no_wrap=True, min_width=second)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    return table
