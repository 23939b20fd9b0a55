"""The ContextFace report as text and as one offline HTML page: ours beside the tables of paper and supplement."""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emo_face.evaluation.contextface.tables import SHORT, paper
from emo_face.evaluation.metrics.plots import write_page
from emo_face.evaluation.multiview.report import STYLE, html_table, reliability

Row = Sequence[Any]
CELLS = ".cell{max-width:15rem;text-align:left;vertical-align:top;font-size:.85rem}.cell img{max-width:100%}"


@dataclass
class Table:
    """A titled table: the paper's rows first, ours marked, notes below."""

    title: str
    columns: Sequence[str]
    paper: Mapping[str, Row] = field(default_factory=dict)
    ours: Mapping[str, Row] = field(default_factory=dict)
    notes: Sequence[str] = ()


def tables(report: Mapping[str, Any]) -> list[Table]:
    """All tables of a report (:func:`emo_face.evaluation.contextface.main.measure`), beside the paper's."""
    printed = paper()
    return [
        *_situation_tables(report),
        *_emotion_tables(report),
        *_expression_tables(report),
        *_leak_tables(report),
        *_ablation_tables(report),
        *(
            Table(printed[k]["title"], printed[k]["columns"], printed[k]["rows"], {}, (note,))
            for k, note in OWN.items()
        ),
    ]


OWN = {
    "supplement_table1": "Ours: emo-face annotate judge.",
    "supplement_table3": "Ours: MERR and --classes Happy,Sad,Angry,Surprise. Surprise rests on a sample or two.",
}


def _situation_tables(report: Mapping[str, Any]) -> Iterable[Table]:
    """Tables 1 (paper), 3 (supplement, for its four classes) and 4: emotions named in free answers."""
    printed, shown = paper(), report.get("classes", list(SHORT.values()))
    columns = [short for short, word in SHORT.items() if word in shown]
    four = printed["supplement_table3"]
    for form, found in report.get("situations", {}).items():
        text = form.removeprefix("image+")
        rows: dict[str, Row] = {**printed[f"table1_{text}"]["rows"], **printed[f"supplement_table4_{text}"]["rows"]}
        title = f"Situation generation, {form} (table 1 and supplement, table 4)"
        if columns != list(SHORT):
            rows, title = {}, f"Situation generation, {form}"
        if sorted(columns) == sorted(four["columns"][:-2]):
            columns = four["columns"][:-2]
            title = f"Situation generation, {form} (supplement, table 3)"
            rows = four["rows"] if form == "image+quote" else {}
        ours: dict[str, Row] = {}
        notes = ["The model writes freely; the emotion that it names counts, an answer without one is wrong."]
        for who, scores in found.items():
            places = [report["words"].index(SHORT[name]) for name in columns]
            ours[who] = [*(scores["F1"][i] for i in places), scores["UAR"], scores["WAR"]]
            low, high = scores["interval"]["UAR"]
            behind = scores.get("behind")
            lead = f", this run is {_span(behind)} UAR ahead on the same records" if behind else ""
            notes.append(
                f"{who}: n = {scores['n']:,}, UAR 95 % bootstrap {low:.2f} to {high:.2f}{lead}; "
                f"{scores['unparsed']:.1f} % of the answers name no emotion."
            )
        if form == "image+situation":
            notes.append("The question for a picture and a situation is ours: the paper prints none.")
        yield Table(title, [*columns, "UAR", "WAR"], rows, ours, notes)


def _emotion_tables(report: Mapping[str, Any]) -> Iterable[Table]:
    for name, scores in report["emotion"].items():
        rows = _emotion_rows(report, scores)
        yield Table(f"Emotion by one pass, {name}", [*SHORT, "UAR", "WAR"], {}, rows, _emotion_notes(scores))


def _emotion_rows(report: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, Row]:
    order = [report["words"].index(word) for word in SHORT.values()]

    def row(found: Mapping[str, Any]) -> Row:
        return [*(found["F1"][i] for i in order), found["UAR"], found["WAR"]]

    rows = {"This run (one pass)": row(scores)}
    if "spoken" in scores:
        rows["This run (free answers)"] = row(scores["spoken"])
    blank = [None] * len(order)
    for name, text in (("majority", "Always the commonest"), ("prior", "Drawn by frequency")):
        rows[text] = [*blank, scores["baselines"][name]["UAR"], scores["baselines"][name]["WAR"]]
    return rows


def _emotion_notes(scores: Mapping[str, Any]) -> list[str]:
    low, high = scores["interval"]["UAR"]
    notes = [
        f"n = {scores['n']:,}; F1 by emotion; UAR 95 % bootstrap {low:.2f} to {high:.2f}; the model gives "
        f"{scores['form']:.1f} % of its probability to answers of the expected form."
    ]
    if scores.get("calibration"):
        notes.append(f"Expected calibration error of the top emotion {scores['calibration']['ECE']:.3f}.")
    if scores.get("flat"):
        notes.append(f"{scores['flat']:.1f} % of the answers are flat (their form is unlikely) and count as wrong.")
    if not scores.get("trained", True):
        notes.append("The model was not trained on this form of the question; a robot does not ask it.")
    if "spoken" in scores:
        said = scores["spoken"]
        notes.append(
            f"Free answers to {said['n']:,}: {said['emitted']:.1f} % emit <FACE>, {said['unparsed']:.1f} % name no "
            "emotion (counted wrong)."
        )
    return notes


def _expression_tables(report: Mapping[str, Any]) -> Iterable[Table]:
    printed = paper()
    columns = ["L2 per_dim_mse", "sum_sq", "euclidean", "FD", "FD, 20 main directions"]
    for name, found in report["expression"].items():
        theirs = printed.get(f"table2_{name}", {"rows": {}})["rows"]
        rows: dict[str, Row] = {f"Paper: {row}": [v[0], None, None, v[2], None] for row, v in theirs.items()}
        ours: dict[str, Row] = {
            row: [_span(values[k]) for k in ("per_dim_mse", "sum_sq", "euclidean", "FD", "FD_pca")]
            for row, values in found["rows"].items()
        }
        floor = [_span(found["floor"][key]) for key in ("FD", "FD_pca")]
        ours["Floor (same distribution)"] = [None, None, None, *floor]
        notes = (
            f"n = {found['n']:,}, total variance {found['total_variance']:.2f}; baselines from "
            f"{found['baselines_from']}.",
            "Per-emotion mean and told know the true emotion; with map and mean the emotions are those that were read. "
            "The floor is the distance between two draws of n faces from one Gaussian like the true faces: a Frechet "
            "distance near it cannot be told from perfect.",
        )
        yield Table(f"Faces, {name}", columns, rows, ours, notes)


def _leak_tables(report: Mapping[str, Any]) -> Iterable[Table]:
    ours: dict[str, Row] = {}
    for text, found in report["leak"].items():
        share, listed, bag = found["share"], found["word_list"], found.get("bag_of_words")
        masked = report["emotion"].get(f"{text} masked")
        seen = report["emotion"].get(text)
        ours[text] = [
            share["label_word"],
            share["synonym"],
            listed["UAR"],
            bag["UAR"] if bag else None,
            seen["UAR"] if seen else None,
            masked["UAR"] if masked else None,
            found["leaking"]["UAR"] if "leaking" in found else None,
            found["clean"]["UAR"] if "clean" in found else None,
        ]
    if ours:
        columns = [
            "names its label, %",
            "a synonym, %",
            "word list, UAR",
            "bag of words, UAR",
            "model, UAR",
            "model, words blanked",
            "model, leaking",
            "model, clean",
        ]
        note = "Contexts were written by a model that knew the label, so part of any score is the label read back."
        yield Table("Leakage: what the words alone give away", columns, {}, ours, (note,))


def _ablation_tables(report: Mapping[str, Any]) -> Iterable[Table]:
    printed = paper()
    for key in ("table3", "table4", "supplement_table2"):
        table, found = printed[key], report.get("ablations", {}).get(key, {})
        rows = {f"Paper: {name}": values for name, values in table["rows"].items()}
        ours = {f"This run: {name}": [row[c] for c in table["columns"]] for name, row in found.items()}
        note = "Ours: give models by --also."
        if found:
            note = (
                "Each loss needs its own weight." if "L2" in table["columns"] else "Situations told, image and quote."
            )
        ahead = [f"{n}: this model is {_span(row['behind'])} UAR ahead." for n, row in found.items() if "behind" in row]
        yield Table(table["title"], table["columns"], rows, ours, (note, *ahead))


def _span(value: Mapping[str, float]) -> str:
    return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"


def _cell(value: Any) -> str:
    return "–" if value is None else value if isinstance(value, str) else f"{value:,.2f}"


def write_html(report: Mapping[str, Any], path: Path) -> Path:
    """Write the page."""
    parts = ["<h1>ContextFace evaluation</h1>", f"<p>{html.escape(_facts(report))}</p>"]
    for table in tables(report):
        parts.append(html_table(table.title, table.columns, table.paper, table.ours, _cell))
        parts += [f'<p class="note">{html.escape(note)}</p>' for note in table.notes]
    for name, scores in report["emotion"].items():
        if scores.get("calibration"):
            parts.append(f"<h2>Reliability, {html.escape(name)}</h2>" + reliability(scores["calibration"]))
    parts += map(_grid, report.get("figures", ()))
    parts.append(f'<p class="note">Paper: {html.escape(paper()["source"])}. Marked rows are of this run.</p>')
    return write_page(path, "ContextFace evaluation", STYLE + CELLS, "".join(parts))


def _grid(figure: Mapping[str, Any]) -> str:
    """A figure: words under the picture or face that they are about."""
    body = "".join(f"<tr>{''.join(map(_figure_cell, row))}</tr>" for row in figure["rows"])
    note = f'<p class="note">{html.escape(figure["note"])}</p>' if figure["note"] else ""
    return f"<h2>{html.escape(figure['title'])}</h2><table>{body}</table>{note}"


def _figure_cell(cell: Mapping[str, str]) -> str:
    picture = f'<img src="figures/{html.escape(cell["image"])}" alt=""><br>' if "image" in cell else ""
    return f'<td class="cell">{picture}{html.escape(cell["text"])}</td>'


def as_text(report: Mapping[str, Any]) -> str:
    """The tables that hold results of this run, for the screen."""
    lines = [_facts(report)]
    for table in tables(report):
        if not table.ours:
            continue
        rows = {**table.paper, **{f"* {name}": values for name, values in table.ours.items()}}
        cells = [[name, *map(_cell, values)] for name, values in rows.items()]
        grid = [["", *table.columns], *cells]
        widths = [max(len(row[i]) for row in grid) for i in range(len(grid[0]))]
        lines += ["", table.title]
        for name, *values in grid:
            shown = [value.rjust(width) for value, width in zip(values, widths[1:], strict=True)]
            lines.append("  ".join([name.ljust(widths[0]), *shown]))
        lines += table.notes
    return "\n".join(lines)


def _facts(report: Mapping[str, Any]) -> str:
    model = report["model"].get("folder", "unnamed")
    return (
        f"Model {model}, {report['records']:,} records of split {report['split']} "
        f"({', '.join(report['sources']) or 'unnamed'}), {report['train_records']:,} training records."
    )
