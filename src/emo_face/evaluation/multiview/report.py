"""The multi-view report as one offline HTML page: ours beside the paper's tables, with a reliability diagram."""

import html
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emo_face.core.labels import label_set
from emo_face.evaluation.metrics.plots import write_page
from emo_face.evaluation.multiview import figures
from emo_face.evaluation.multiview.tables import UNNAMED, main_table, paper

LAST_STEP = "+ final instruction tuning"
"""Row of table 13 that is the whole method."""
STYLE = (
    "body{font:15px system-ui;margin:2em auto;max-width:72em;color:#222}table{border-collapse:collapse;margin:1em 0}"
    "td,th{padding:.25em .8em;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left;white-space:nowrap}"
    "table{display:block;overflow-x:auto}caption{white-space:nowrap}"
    ".grid{display:flex;flex-wrap:wrap;gap:1em}figure{margin:0;max-width:16em}"
    "figcaption{font-weight:600;overflow-wrap:anywhere}"
    ".matrix{font-size:11px}.matrix td,.matrix th{padding:.15em .3em}"
    ".turned span{writing-mode:vertical-rl;transform:rotate(180deg)}"
    ".ours{background:#eef6ff;font-weight:600}caption{text-align:left;font-weight:600}.note{color:#555}"
)


def write_html(report: Mapping[str, Any], path: Path) -> Path:
    """Write the page of a report made by :func:`emo_face.evaluation.multiview.main.evaluate`."""
    tables = paper()
    name = main_table(report["label_set"])
    ours = report["result"]
    parts = [f"<h1>Multi-view emotion recognition: {html.escape(report['label_set'])}</h1>", _facts(report)]
    if name:
        columns = tables[name]["columns"]
        mine = {"This run": [ours.get(column) for column in columns]}
        for row, measured in report.get("vlm", {}).items():
            if row in (UNNAMED, LAST_STEP):
                mine["This run (VLM, in words)"] = [measured.get(column) for column in columns]
        parts.append(html_table(tables[name]["title"], columns, tables[name]["rows"], mine))
    if report["label_set"] == "emotic26":
        parts.append(_categories(report, tables["table3"]))
    if "vlm" in report and report["label_set"] == "emotic26":
        parts.append(_steps(report["vlm"], tables["table13"]))
    for key, result in report.get("ablations", {}).items():
        metric = "" if label_set(report["label_set"]).multi else "accuracy"
        parts.append(_ablation(tables[key], result, metric))
    sizes, names, source = tables["table10"], report["labels"], html.escape(tables["source"])
    title = "Of people with the label of the row, percent that were given the label of the column"
    parts += [
        html_table(sizes["title"], sizes["columns"], sizes["rows"], {"This run": report["data"]}),
        "<h2>Calibration</h2>" + reliability(report["calibration"]["bins"]),
        "<h2>Labels</h2>" + figures.small_curves(report["curves"], report["thresholds"]),
        figures.matrix(title, names, names, report["confusion"]),
        "<h2>Views</h2>" + _views(report),
        f'<p class="note">Paper: <a href="{source}">{source}</a>.</p>',
    ]
    return write_page(path, "Multi-view evaluation", STYLE, "".join(parts))


def _views(report: Mapping[str, Any]) -> str:
    """Who had which view, what is left without it, attention, valence and arousal, single people."""
    hidden, n = report["hidden_views"], report["result"]["n"]
    columns = ["people without it", *(f"{key} with it hidden from all" for key in hidden["none"])]
    rows = {view: [report["missing_views"].get(view, 0), *hidden[view].values()] for view in hidden if view != "none"}
    parts = [html_table(f"Views of {n:,} people", columns, rows, {"nothing hidden": [0, *hidden["none"].values()]})]
    names = list(rows)
    if report["attention"] is not None:
        parts.append(figures.matrix("Attention of a view (row) to each, percent", names, names, report["attention"]))
    if any(map(math.isfinite, report.get("vad_error", {}).values())):
        error = {name: value for name, value in report["vad_error"].items() if math.isfinite(value)}
        parts.append(
            html_table("Mean absolute error on the scale 1 to 10", list(error), {}, {"This run": list(error.values())})
        )
    return "".join(parts) + "<h2>People</h2>" + figures.people(report["examples"])


def _number(value: Any) -> str:
    return "–" if value is None or value != value else f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"


def html_table(
    title: str,
    columns: Sequence[str],
    rows: Mapping[str, Sequence[Any]],
    ours: Mapping[str, Sequence[Any]],
    shown: Callable[[Any], str] = _number,
) -> str:
    """A captioned table: the paper's ``rows``, then ``ours``, marked; cells as ``shown`` writes them."""
    head = "".join(f"<th>{html.escape(str(column))}</th>" for column in ("", *columns))
    body = ""
    for kind, group in (("", rows), (' class="ours"', ours)):
        for name, values in group.items():
            cells = "".join(f"<td>{html.escape(shown(value))}</td>" for value in values)
            body += f"<tr{kind}><td>{html.escape(str(name))}</td>{cells}</tr>"
    return f"<table><caption>{html.escape(title)}</caption><tr>{head}</tr>{body}</table>"


def _facts(report: Mapping[str, Any]) -> str:
    ours = report["result"]
    low, high = report["mAP_interval"]
    calibration = report["calibration"]
    lines = [
        report["split_note"],
        f"{ours['n']:,} people, split {report['split']}, AP mode {ours['ap_mode']}",
        f"mAP {ours['mAP']:.2f} (95 % bootstrap {low:.2f} to {high:.2f})",
        "; ".join(f"{key} {ours[key]:.2f} ({a:.2f} to {b:.2f})" for key, (a, b) in report["intervals"].items()),
        f"ECE {calibration['ece']:.4f} (uncalibrated {calibration['ece_raw']:.4f}), Brier {calibration['brier']:.4f}",
    ]
    left_out = ours["classes_without_positives"]
    if left_out:
        names = ", ".join(report["labels"][c] for c in left_out)
        lines.append(f"labels without a positive, left out of mAP: {names}")
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def _categories(report: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    result = report["result"]
    by_label: dict[str, Any] = dict(zip(report["labels"], result["AP"], strict=True))
    rows = {name: [*values, by_label.get(name, result["mAP"])] for name, values in table["rows"].items()}
    return html_table(table["title"], [*table["columns"], "This run"], rows, {})


def _steps(measured: Mapping[str, Mapping[str, Any]], table: Mapping[str, Any]) -> str:
    """Table 13 with each step of this run right of the paper's."""
    columns, printed = table["columns"], table["rows"]
    rows = {
        name: [*printed.get(name, [None] * len(columns)), *(measured.get(name, {}).get(c) for c in columns)]
        for name in dict.fromkeys([*printed, *measured])
    }
    return html_table(table["title"], [f"{c}, {who}" for who in ("paper", "this run") for c in columns], rows, {})


def _ablation(table: Mapping[str, Any], result: Mapping[str, Sequence[Any]], metric: str) -> str:
    """A table of the paper with this run's values right of its own; ``metric`` if they are of another kind."""
    columns = table["columns"]
    rows = {name: [*values, *result.get(name, [None] * len(columns))] for name, values in table["rows"].items()}
    heads = [f"{c}, paper" for c in columns] + [f"{metric or c}, this run" for c in columns]
    return html_table(table["title"], heads, rows, {})


def reliability(bins: Mapping[str, Sequence[float]]) -> str:
    """An inline SVG: share of positives over mean score, all labels pooled."""
    side = 300
    points = [(40 + side * x, 10 + side * (1 - y)) for x, y in zip(bins["score"], bins["share"], strict=True)]
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="#0072b2"/>' for x, y in points)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    frame = f'<rect x="40" y="10" width="{side}" height="{side}" fill="none" stroke="#888"/>'
    diagonal = f'<line x1="40" y1="{10 + side}" x2="{40 + side}" y2="10" stroke="#bbb" stroke-dasharray="4"/>'
    text = (
        f'<text x="{40 + side / 2}" y="{side + 42}" text-anchor="middle">mean score</text>'
        f'<text x="14" y="{10 + side / 2}" text-anchor="middle" transform="rotate(-90 14 {10 + side / 2})">'
        "share of positives</text>"
        f'<text x="40" y="{side + 26}" text-anchor="middle">0</text>'
        f'<text x="{40 + side}" y="{side + 26}" text-anchor="middle">1</text>'
    )
    line = f'<polyline points="{path}" fill="none" stroke="#0072b2"/>'
    size = f'width="{side + 60}" height="{side + 55}"'
    head = f'<svg {size} role="img" aria-label="reliability diagram" font-size="13">'
    return f"{head}{frame}{diagonal}{line}{dots}{text}</svg>"
