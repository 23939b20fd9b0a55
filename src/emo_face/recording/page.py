"""A recording as one self-contained page of plots that works offline."""

import html
import textwrap
from bisect import bisect_right
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.arkit import ARKIT_52
from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.core.labels import label_colour
from emo_face.core.types import FloatArray
from emo_face.recording.document import document
from emo_face.recording.moments import moments
from emo_face.recording.recording import Recording
from emo_face.runtime.files import write_text

LINE = 30  # characters of a spoken line before it is broken
SHAPE_PERIOD = 0.1  # s; blendshapes are drawn at 10 Hz, else the page grows by megabytes


def write_page(recording: Recording, path: Path, summary: dict[str, Any], film: str = "") -> None:
    """Write the page; ``film`` is a file beside it to play in it. Raises UserError when plotly is missing."""
    try:
        import plotly.graph_objects as go
        from plotly.subplots import make_subplots
    except ImportError:
        raise UserError(f"the page needs plotly: {how_to_install('demo')}") from None
    figure = make_subplots(
        rows=6,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.03,
        row_heights=[0.07, 0.16, 0.13, 0.44, 0.11, 0.09],
        subplot_titles=(
            "What was heard",
            "What the person attended to feels (calibrated probability)",
            "What the face shows (strength)",
            "Blendshapes of the robot's face (ARKit-52)",
            "Latency from capture (ms)",
            "Frames dropped in favour of a newer one",
        ),
    )
    for draw in (_heard, _person, _shown, _shapes, _latency, _drops):
        draw(figure, go, recording, recording.start)
    figure.update_annotations(x=0, xanchor="left")  # titles that a phone shows without scrolling
    figure.update_xaxes(title_text="seconds", row=6, col=1)
    see_through = "rgba(0,0,0,0)"
    figure.update_layout(
        height=1850,
        template="plotly_white",
        margin={"l": 150, "r": 30, "t": 50},
        hovermode="x unified",
        paper_bgcolor=see_through,
        plot_bgcolor=see_through,
    )
    body = figure.to_html(full_html=False, include_plotlyjs=True, div_id="plots", config={"responsive": True})
    write_text(path, document(body, summary, moments(recording), film))


def _heard(figure: Any, go: Any, recording: Recording, start: float) -> None:
    """The lines in full, on three levels so that they do not run into each other."""
    times = [said - start for said, _ in recording.speech]
    texts = ["<br>".join(textwrap.wrap(html.escape(text, quote=False), LINE)[:3]) for _, text in recording.speech]
    trace = go.Scatter(
        x=times,
        y=[-(number % 3) for number in range(len(times))],
        text=texts,
        mode="markers+text",
        textposition="middle right",
        marker={"size": 7, "symbol": "triangle-right"},
        hoverinfo="skip",
        showlegend=False,
        cliponaxis=False,
    )
    figure.add_trace(trace, row=1, col=1)
    figure.update_yaxes(range=[-2.6, 0.6], visible=False, row=1, col=1)
    for said in times:
        figure.add_vline(x=said, line={"width": 1, "dash": "dot", "color": "#888"})


def _attended(recording: Recording) -> list[tuple[float, FloatArray | None]]:
    """(stamp, probabilities of the person the robot attended to then), None if they were out of view.

    Without expressions in the recording: of the first person of each frame.
    """
    turns = [(shown.stamp, shown.person_id) for shown in recording.expressions]
    stamps = [stamp for stamp, _ in turns]
    found: list[tuple[float, FloatArray | None]] = []
    for scores in recording.scores:
        read = {person.person_id: emotion for person, emotion in zip(scores.people, scores.emotions, strict=True)}
        turn = max(bisect_right(stamps, scores.stamp) - 1, 0)
        who = turns[turn][1] if turns else next(iter(read), "")
        found.append((scores.stamp, read[who].probabilities if who in read else None))
    return found


def _lines(
    figure: Any, go: Any, row: int, labels: tuple[str, ...], times: list[float], values: Any, legend: bool
) -> None:
    for column, label in enumerate(labels):
        style = {"color": label_colour(label), "width": 2}
        trace = go.Scatter(x=times, y=values[:, column], name=label, legendgroup=label, showlegend=legend, line=style)
        figure.add_trace(trace, row=row, col=1)
    figure.update_yaxes(range=[0, 1], row=row, col=1)


def _person(figure: Any, go: Any, recording: Recording, start: float) -> None:
    labels = next((s.labels for s in recording.scores if s.labels), ())
    rows = _attended(recording)
    if any(p is not None for _, p in rows):
        gap = np.full(len(labels), np.nan)  # a hole in the lines
        values = np.array([gap if p is None else p for _, p in rows])
        _lines(figure, go, 2, labels, [t - start for t, _ in rows], values, legend=True)


def _shown(figure: Any, go: Any, recording: Recording, start: float) -> None:
    """Strength of each expression while it is the strongest in the face; a line per name."""
    track = recording.expressions
    for name in dict.fromkeys(e.shown for e in track if e.strength > 0):
        trace = go.Scatter(
            x=[e.stamp - start for e in track],
            y=[e.strength if e.shown == name else None for e in track],
            name=f"shows {name}",
            mode="lines",
            line={"color": label_colour(name), "width": 2},
        )
        figure.add_trace(trace, row=3, col=1)
    figure.update_yaxes(range=[0, 1], row=3, col=1)


def _shapes(figure: Any, go: Any, recording: Recording, start: float) -> None:
    kept: list[tuple[float, Any]] = []
    for stamp, values in recording.blendshapes:
        if not kept or stamp - kept[-1][0] >= SHAPE_PERIOD:
            kept.append((stamp, values))
    if not kept:
        return
    trace = go.Heatmap(
        x=[round(stamp - start, 2) for stamp, _ in kept],
        y=list(ARKIT_52),
        z=np.round(np.array([values for _, values in kept]).T, 2).tolist(),
        colorscale="Magma",
        showscale=False,
    )
    figure.add_trace(trace, row=4, col=1)
    figure.update_yaxes(tickfont={"size": 9}, dtick=1, row=4, col=1)


def _latency(figure: Any, go: Any, recording: Recording, start: float) -> None:
    for name, track in (("to /emotion/scores", recording.scores), ("to /face/expression", recording.expressions)):
        trace = go.Scatter(
            x=[entry.stamp - start for entry in track],
            y=[round(entry.latency * 1e3, 2) for entry in track],
            name=name,
            line={"width": 1},
        )
        figure.add_trace(trace, row=5, col=1)
    figure.update_yaxes(rangemode="tozero", row=5, col=1)


def _drops(figure: Any, go: Any, recording: Recording, start: float) -> None:
    track = recording.diagnostics.get("perception", [])
    trace = go.Scatter(
        x=[stamp - start for stamp, _ in track],
        y=[int(v.get("frames_dropped", 0)) for _, v in track],
        name="dropped",
        line={"shape": "hv"},
    )
    figure.add_trace(trace, row=6, col=1)
    figure.update_yaxes(rangemode="tozero", row=6, col=1)
