"""Figures of the multi-view report as inline SVG and HTML: curves of each label, matrices, people."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

SMALL = 110  # pixels, side of a label's curve


def small_curves(curves: Mapping[str, Mapping[str, Sequence[float]]], thresholds: Mapping[str, float]) -> str:
    """Per label: precision over recall, share of positives over score, and its threshold."""
    cells = []
    for label, found in curves.items():
        name = html.escape(label)
        pr = _plot(found["recall"], found["precision"], f"precision over recall of {name}", "#0072b2")
        right = _plot(found["score"], found["share"], f"calibration of {name}", "#d55e00", diagonal=True)
        cells.append(f"<figure><figcaption>{name}, over {thresholds[label]:.2f}</figcaption>{pr}{right}</figure>")
    note = "Left: precision over recall. Right: share of positives over score. The number is the label's threshold."
    return f'<p class="note">{note}</p><div class="grid">{"".join(cells)}</div>'


def _plot(xs: Sequence[float], ys: Sequence[float], name: str, colour: str, diagonal: bool = False) -> str:
    path = " ".join(f"{4 + SMALL * x:.1f},{4 + SMALL * (1 - y):.1f}" for x, y in zip(xs, ys, strict=True))
    size = SMALL + 8
    frame = f'<rect x="4" y="4" width="{SMALL}" height="{SMALL}" fill="none" stroke="#888"/>'
    line = f'<line x1="4" y1="{4 + SMALL}" x2="{4 + SMALL}" y2="4" stroke="#bbb" stroke-dasharray="3"/>'
    return (
        f'<svg width="{size}" height="{size}" role="img" aria-label="{name}">{frame}{line if diagonal else ""}'
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/></svg>'
    )


def matrix(title: str, rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]]) -> str:
    """Shares in [0, 1] as a shaded table; a dash if there is none (NaN)."""
    head = "".join(f'<th class="turned"><span>{html.escape(name)}</span></th>' for name in columns)
    body = "".join(
        f"<tr><td>{html.escape(name)}</td>{''.join(map(_cell, row))}</tr>"
        for name, row in zip(rows, values, strict=True)
    )
    return f'<table class="matrix"><caption>{html.escape(title)}</caption><tr><th></th>{head}</tr>{body}</table>'


def _cell(share: float) -> str:
    if math.isnan(share):
        return "<td>–</td>"
    colour = "#fff" if share > 0.5 else "#222"
    shade = f"background:rgba(0,114,178,{min(1.0, max(0.0, share)):.2f});color:{colour}"
    return f'<td style="{shade}">{100 * share:.0f}</td>'


def people(found: Sequence[Mapping[str, Any]]) -> str:
    """Example people: picture, truth, scores, what each view is worth."""
    cards = []
    for one in found:
        picture = (
            f'<img alt="{html.escape(one["id"])}" src="data:image/jpeg;base64,{one["picture"]}">'
            if one["picture"]
            else ""
        )
        scores = "".join(f"<li>{html.escape(name)} {100 * value:.0f} %</li>" for name, value in one["scores"].items())
        views = ", ".join(f"{html.escape(name)} {100 * value:+.0f}" for name, value in one["evidence"].items())
        truth = html.escape(", ".join(one["truth"]))
        text = f"<p>annotated: {truth}</p><ul>{scores}</ul><p>evidence, points: {views}</p>"
        cards.append(f"<figure>{picture}<figcaption>{html.escape(one['id'])}</figcaption>{text}</figure>")
    return f'<div class="grid">{"".join(cards)}</div>'
