"""``emo-face evaluate nano``: both students and their peers on data they were not trained on, as one JSON object.

Keys: ``text`` {goemotions_macro_f1, xed_macro_f1, ece, ms_per_utterance, bytes, ...}, ``fer`` {cmu_accuracy,
london_smiling_recall, london_neutral_recall, max_correct, ms_batch8, bytes, ...}, ``peers`` {name: the same keys},
``fusion`` (the learned weights and how they were learned).
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.core.labels import basic7
from emo_face.core.paths import share_dir
from emo_face.evaluation.cards import write_cards
from emo_face.evaluation.fer import main as faces
from emo_face.evaluation.metrics.plots import Scored, write_png, write_report
from emo_face.evaluation.text.main import evaluate_text, without_data
from emo_face.perception.fusion import read_fusion
from emo_face.perception.nano.model import FUSION_FILE
from emo_face.perception.nano.text import TextStudent

PARTS = ("text", "fer")


add_arguments = arguments(
    option("--data", type=Path, metavar="DIR", help="folder with text/ and images/ (default: skip what needs it)"),
    option("--part", choices=(*PARTS, "all"), default="all", help="only one of the students"),
    option("--no-peers", action="store_true", help="skip the peers (half a minute of training)"),
    option("--ferplus", type=Path, metavar="DIR", help="also judge the test faces of FER+ in DIR"),
    option("--out", type=Path, metavar="DIR", help="write PNG and HTML reports here (needs matplotlib)"),
    option("--cards", type=Path, metavar="DIR", help="write the tables of the model cards in DIR (models/)"),
    option("--json", action="store_true", help="print JSON on stdout and nothing else"),
)


def run(args: argparse.Namespace) -> int:
    """Evaluate, report, print."""
    parts = PARTS if args.part == "all" else (args.part,)
    result, predictions = evaluate(args.data, parts, not args.no_peers, args.ferplus)
    if args.out is not None:
        for path in report(result, predictions, args.out):
            print(f"wrote {path}", file=sys.stderr)
    if args.cards is not None:
        for path in write_cards(result, args.cards):
            print(f"wrote {path}", file=sys.stderr)
    if args.json:
        print(json.dumps(result, indent=2, allow_nan=False))
    else:
        _table(result)
    return 0


def evaluate(
    data: Path | None, parts: Iterable[str] = PARTS, peers: bool = True, ferplus: Path | None = None
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Evaluate the students.

    Returns:
        The JSON object, and part -> model -> data set -> predictions (``truth``, ``probabilities``).

    Raises:
        UserError: the data folder lacks what a part needs.
    """
    if data is None:
        return _without_data(), {}
    if not data.is_dir():
        raise UserError(f"--data {data}: no such folder; expected one with text/ and images/")
    result: dict[str, Any] = {"peers": {}}
    predictions: dict[str, dict[str, Any]] = {}
    for part in parts:
        if part == "text":
            found = evaluate_text(data / "text", peers=peers)
        else:
            found = faces.evaluate_fer(data, peers=peers, ferplus=ferplus)
        predictions[part] = dict(found.get("predictions", {}))
        result[part] = found[part]
        result["peers"].update(found.get("peers", {}))
    result["fusion"] = _fusion()
    return result, predictions


def _without_data() -> dict[str, Any]:
    """What needs no corpus: hand-made lines, the faces' folds, the fusion's figures, and what was skipped."""
    student = TextStudent.from_store()
    text = {**without_data(student), "bytes": student.path.stat().st_size}
    text["skipped"] = [*text["skipped"], "all figures on corpora: no --data"]
    fer = {**faces.without_data(), "skipped": ["the shipped file, peers and strangers on pictures: no --data"]}
    return {"text": text, "fer": fer, "peers": {}, "fusion": _fusion()}


def report(result: Mapping[str, Any], predictions: Mapping[str, Mapping[str, Any]], out: Path) -> list[Path]:
    """Write one PNG a model and data set, and one page with all of them."""
    scored = list(_scored(predictions))
    files = [write_png(s, out / f"{s.title.replace(' ', '_').replace('/', '-')}.png") for s in scored]
    table = {f"{part}.{key}": value for part in PARTS for key, value in result.get(part, {}).items()}
    return [*files, write_report(scored, out / "nano.html", table)]


def _scored(predictions: Mapping[str, Mapping[str, Any]]) -> Iterable[Scored]:
    for part, models in predictions.items():
        for model, sets in models.items():
            for name, said in sets.items():
                who = f"nano {part}" if model == part else model
                yield Scored(f"{who} {name}", basic7().labels, said.truth, said.probabilities)


def _fusion() -> dict[str, Any]:
    return read_fusion(share_dir() / "models" / FUSION_FILE).model_dump()


def _table(result: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for part in PARTS:
        if part not in result:
            continue
        ours = {key: value for key, value in result[part].items() if not isinstance(value, dict)}
        peers = {name: figures for name, figures in result["peers"].items() if ours.keys() & figures.keys()}
        table = Table(f"nano {part}", "ours", *peers)
        for key, value in ours.items():
            table.add_row(key, str(value), *(str(figures.get(key, "")) for figures in peers.values()))
        console.print(table)
