"""Pictures of an evaluation: reliability diagram and confusion matrix, as PNG and as one offline HTML page."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.core.types import FloatArray
from emo_face.evaluation.metrics.calibration import top_label
from emo_face.evaluation.metrics.single_label import Labels, accuracy, confusion, macro_f1
from emo_face.runtime.files import write_text


@dataclass(frozen=True, slots=True)
class Scored:
    """One model on one data set: what :func:`write_report` draws. truth (n,), probabilities (n, c)."""

    title: str
    labels: tuple[str, ...]
    truth: Labels
    probabilities: FloatArray


def draw(scored: Scored) -> Any:
    """A matplotlib figure: reliability diagram with its histogram on the left, confusion matrix on the right."""
    figure = _pyplot().Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_reliability(left, scored)
    _draw_confusion(right, scored)
    figure.suptitle(f"{scored.title} (n = {len(scored.truth)})")
    return figure


def write_png(scored: Scored, path: Path) -> Path:
    """Write the figure of one model. Raises UserError if matplotlib is not installed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(scored).savefig(path, dpi=110)
    return path


def write_report(parts: Sequence[Scored], path: Path, figures: Mapping[str, Any] | None = None) -> Path:
    """Write one self-contained HTML page with every figure and a table of numbers.

    Args:
        figures: rows of a table above the pictures, name -> value.
    """
    rows = "".join(
        f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(str(v))}</td></tr>" for k, v in (figures or {}).items()
    )
    images = "".join(f'<img alt="{html.escape(p.title)}" src="data:image/png;base64,{_png(p)}">' for p in parts)
    style = "body{font:15px system-ui;margin:2em;max-width:70em}img{width:100%}td{padding:.1em 1em .1em 0}"
    body = f"<h1>emo_face evaluation</h1><table>{rows}</table>{images}"
    return write_page(path, "emo_face evaluation", style, body)


def write_page(path: Path, title: str, style: str, body: str) -> Path:
    """Write an HTML page that needs no other file."""
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{style}</style>'
    return write_text(path, f"{head}{body}</html>")


def _draw_reliability(axes: Any, scored: Scored) -> None:
    for kind, colour in (("width", "#0072b2"), ("mass", "#d55e00")):
        bins = top_label(scored.truth, scored.probabilities, 10, kind)  # type: ignore[arg-type]
        full = bins.count > 0
        label = f"bins of equal {kind}, ECE {bins.ece:.3f}"
        axes.plot(bins.score[full], bins.share[full], "o-", color=colour, label=label, markersize=4)
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=1)
    counts, edges = np.histogram(scored.probabilities.max(1), bins=20, range=(0, 1))
    axes.bar(edges[:-1], 0.25 * counts / max(counts.max(), 1), width=0.05, align="edge", color="#cccccc", zorder=0)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence of the top label", ylabel="share that is right")
    axes.legend(fontsize=8, loc="upper left")


def _draw_confusion(axes: Any, scored: Scored) -> None:
    table = confusion(scored.truth, scored.probabilities)
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table):
        if count:
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=colour)
    ticks = range(len(scored.labels))
    axes.set_xticks(ticks, scored.labels, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(ticks, scored.labels, fontsize=8)
    right = accuracy(scored.truth, scored.probabilities)
    f1 = macro_f1(scored.truth, scored.probabilities)
    axes.set(xlabel="guess", ylabel="truth", title=f"accuracy {right:.3f}, macro-F1 {f1:.3f}")


def _png(scored: Scored) -> str:
    buffer = io.BytesIO()
    draw(scored).savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()


def _pyplot() -> Any:
    try:
        from matplotlib import figure
    except ImportError:
        raise UserError(f"reports need matplotlib: {how_to_install('eval')}") from None
    return figure
