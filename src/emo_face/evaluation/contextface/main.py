"""``emo-face evaluate contextface``: emotion words and faces of a ContextFace, beside the paper's tables.

  emo-face evaluate contextface --records sfew_c.jsonl --root SFEW-C/ --targets faces.npz --model out/best --out report/
  emo-face evaluate contextface --records sfew_c.jsonl --predictions report/predictions.npz --targets faces.npz

Conditions: every form of the question that a backend asks, what the robot asks by default (listener/image+quote) first,
and situation and quote with emotion words blanked. Pictures without a person in a box are left out and counted.
Training records in the same file (or in --train) give baselines and the bag-of-words probe.
--also "table3/expression=DIR" adds models trained on fewer task sets or of another size, at the condition of
the paper's table. --speak N lets the model answer N records freely, for the rates of emitted <FACE> and of answers
without an emotion.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.core.numeric import json_ready
from emo_face.datasets.contexts import face_targets
from emo_face.datasets.contexts.tasks import boxed
from emo_face.datasets.records import of_split, read_jsonl
from emo_face.evaluation.contextface import metrics
from emo_face.evaluation.contextface.measure import expression, measure, truth_of
from emo_face.evaluation.contextface.predict import CONDITIONS, Run, load, predict, save, usable
from emo_face.evaluation.contextface.report import as_text, write_html
from emo_face.evaluation.contextface.spread import AskJob, joined
from emo_face.evaluation.contextface.tables import paper
from emo_face.expression.contextface import prompts
from emo_face.runtime.files import write_json
from emo_face.runtime.progress import Tick, bar
from emo_face.runtime.runners import arguments as runners
from emo_face.runtime.runners import run_shards

ABLATION_CONDITION = "image+quote"
"""What tables 3 and 4 of the paper are measured with."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Records, model or predictions, targets, output."""
    parser.add_argument("--records", type=Path, required=True, help="records file (.jsonl) with situations and quotes")
    parser.add_argument("--train", type=Path, help="records file to take baselines from (default: --records)")
    parser.add_argument("--root", type=Path, help="folder that picture paths are relative to")
    parser.add_argument("--targets", type=Path, help="targets file (.npz): faces; without, only emotions are measured")
    parser.add_argument("--model", type=Path, help="folder of a trained ContextFace")
    parser.add_argument("--backbone", default="", help="folder of its backbone (default: the one it names)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quantisation", default="none", choices=("none", "4bit", "8bit"))
    parser.add_argument("--predictions", type=Path, help="predictions of an earlier run instead of a model")
    parser.add_argument(
        "--save-predictions", type=Path, help="where to keep predictions (default: OUT/predictions.npz)"
    )
    parser.add_argument("--conditions", default=",".join(CONDITIONS), help="by commas (default all that have data)")
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    parser.add_argument("--limit", type=int, default=0, help="only the first N records (default all)")
    parser.add_argument("--speak", type=int, default=0, metavar="N", help="free answers to N records a condition")
    parser.add_argument("--also", action="append", default=[], metavar="TABLE/ROW=DIR", help="another trained model")
    parser.add_argument("--rounds", type=int, default=200, help="of the bootstrap (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    runners.add_arguments(parser, "--processes")
    parser.add_argument("--out", type=Path, help="write report.html, report.json and predictions here")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout and nothing else")


def run(args: argparse.Namespace) -> int:
    """Evaluate, write the report, print."""
    report = json_ready(evaluate(args))
    if args.out is not None:
        write_html(report, args.out / "report.html")
        write_json(args.out / "report.json", report)
    if args.json:
        print(json.dumps(report))
    else:
        print(as_text(report))
    return 0


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """The whole report. Raises UserError for missing data, an empty split, or targets of another basis."""
    everyone = list(read_jsonl(args.records))
    people = of_split(everyone, args.split)
    people = people[: args.limit] if args.limit > 0 else people
    train = [r for r in (read_jsonl(args.train) if args.train else everyone) if r.split == "train"]
    train = [] if args.split == "train" and args.train is None else train
    names = [name for name in args.conditions.split(",") if name]
    if unknown := sorted(set(names) - set(CONDITIONS)):
        raise UserError(f"--conditions: unknown {unknown[0]!r}; there are {', '.join(CONDITIONS)}")
    found = _predictions(args, people, names)
    targets = face_targets.read(args.targets, found.model.get("face_basis")) if args.targets else None
    return measure(found, people, train, targets, args.rounds, args.seed, args.split) | _ablations(
        args, people, targets
    )


def _predictions(args: argparse.Namespace, people: Sequence[Any], names: Sequence[str]) -> Run:
    if args.predictions is not None:
        found = load(args.predictions)
        found.conditions = {name: found.conditions[name] for name in names if name in found.conditions}
        if not found.conditions:
            raise UserError(f"{args.predictions}: has none of the conditions {', '.join(names)}")
        return found
    if args.model is None:
        raise UserError("--model or --predictions is needed")

    pictured = [name for name in names if CONDITIONS[name][0].picture]
    if pictured and args.root is not None:
        dropped = Counter[str]()
        people = boxed(people, dropped)
        for reason, number in (+dropped).items():
            print(f"left out: {number} records: {reason}", file=sys.stderr)
    found = _ask(args, args.model, people, [n for n in names if usable(people, n) and _seen(args, n)], args.speak)
    keep = args.save_predictions or (args.out / "predictions.npz" if args.out is not None else None)
    if keep is not None:
        save(keep, found)
    return found


def _seen(args: argparse.Namespace, condition: str) -> bool:
    """Whether a condition's pictures are there; without --root they are left out, and that is said."""
    if CONDITIONS[condition][0].picture and args.root is None:
        print(f"condition {condition} left out: it needs --root", file=sys.stderr)
        return False
    return True


def _ask(args: argparse.Namespace, folder: Path, people: Sequence[Any], names: Sequence[str], speak: int) -> Run:
    if find_spec("torch") is None:
        raise UserError(f"evaluating ContextFace needs torch: {how_to_install('train')}")
    if not names:
        raise UserError("no condition can be evaluated: the records have neither texts nor (with --root) pictures")
    from emo_face.expression.contextface.engine import EngineSettings, load_engine

    engine = load_engine(EngineSettings(folder, args.backbone, device=args.device, quantisation=args.quantisation))
    config = engine.model.config
    trained = list(config.conditions)
    found = Run(model={"folder": folder.name, "face_basis": config.face_basis, "trained": trained, **engine.hashes})
    for name in names:
        with bar(name, len(usable(people, name))) as tick:
            if args.processes == 1 and args.runner == "local":
                advance = partial(_advance, tick, count(1))
                found.conditions[name] = predict(engine, people, args.root or Path(), name, speak, advance)
            else:
                found.conditions[name] = _by_runner(args, folder, people, name, tick)
    return found


def _by_runner(args: argparse.Namespace, folder: Path, people: Sequence[Any], name: str, tick: Tick) -> Any:
    """A condition's answers from shards; they are kept beside the report, so a killed evaluation goes on."""
    if args.out is None or args.speak:
        raise UserError("--processes, --runner: need --out, where the shards go, and no --speak")
    job = AskJob(folder, args.backbone, args.root or Path(), name, args.device, args.quantisation)
    shards = args.out / "shards"
    return joined(run_shards(job, usable(people, name), shards, args.shards, runners.chosen(args, shards), tick))


def _advance(tick: Tick, numbers: Iterator[int]) -> None:
    tick(next(numbers))


def _ablations(args: argparse.Namespace, people: Sequence[Any], targets: Any) -> dict[str, Any]:
    """Other trained models at the condition of the paper's table: UAR and WAR, or L2 and FD for the loss table."""
    found: dict[str, dict[str, Any]] = {}
    condition = ABLATION_CONDITION if args.root is not None else "quote"
    by_id = {record.id: record for record in people}
    for item in args.also:
        table, row, folder = _ablation_of(item)
        text = row.partition("(")[2].rstrip(")")
        said = _ask(args, Path(folder), people, [text or condition], 0).conditions[text or condition]
        rows = [by_id[i] for i in said.ids]
        if table == "supplement_table2":
            if targets is None:
                raise UserError(f"--also {item}: the loss table needs --targets")
            faces = expression(said, rows, [], targets, np.random.default_rng(args.seed), 2)
            ours = faces["rows"]["ContextFace, map"]
            values = {"L2": ours["per_dim_mse"]["value"], "FD": ours["FD"]["value"]}
        else:
            scores = metrics.emotion_scores(truth_of(rows), said.guess, len(prompts.words()))
            values = {key: scores[key] for key in ("UAR", "WAR")}
        found.setdefault(table, {})[row] = values
    return {"ablations": found, "ablation_condition": condition} if found else {}


def _ablation_of(item: str) -> tuple[str, str, str]:
    """Table, row and folder of an ``--also``. Raises UserError listing what there is."""
    where, _, folder = item.partition("=")
    table, _, row = where.partition("/")
    known = {name: paper()[name]["rows"] for name in ("table3", "table4", "supplement_table2")}
    if not folder or row not in known.get(table, {}):
        rows = ", ".join(f"{t}/{r}" for t, rows in known.items() for r in rows)
        raise UserError(f"--also: expected TABLE/ROW=DIR with TABLE/ROW one of {rows}; got {item!r}")
    return table, row, folder
