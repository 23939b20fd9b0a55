"""``emo-face evaluate contextface``: emotion words and faces of a ContextFace, beside the paper's tables.

  emo-face evaluate contextface --records sfew_c.jsonl --root SFEW-C/ --targets faces.npz --model out/best --out report/
  emo-face evaluate contextface --records sfew_c.jsonl --predictions report/predictions.npz --targets faces.npz

With pictures the model first tells situations freely, from picture and quote and from picture and situation (tables 1,
3 and 4 of the paper); --baseline NAME=DIR or NAME=https://host/v1#MODEL asks any untuned model the same, --also
"table3/expression=DIR" models trained on fewer task sets or of another size. Then one pass for every form of the
question that a backend asks, what the robot asks by default (listener/image+quote) first, with emotion words blanked,
and with the face painted over. Pictures without a person in a box are left out and counted. Training records in the
same file (or in --train) give baselines and the bag-of-words probe. --speak N lets the model answer N records freely,
for the rates of emitted <FACE> and of answers without an emotion. --figures N draws the paper's figures 5 to 8.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.core.numeric import json_ready
from emo_face.datasets.contexts import face_targets
from emo_face.datasets.contexts.tasks import boxed, labelled, there
from emo_face.datasets.records import of_split, read_jsonl
from emo_face.evaluation.contextface import figures, metrics
from emo_face.evaluation.contextface.measure import expression, measure, truth_of
from emo_face.evaluation.contextface.predict import CONDITIONS, Run, load, predict, save, usable
from emo_face.evaluation.contextface.report import as_text, write_html
from emo_face.evaluation.contextface.situations import (
    FORMS,
    OURS,
    Baseline,
    Told,
    asked,
    baseline,
    by_baseline,
    by_engine,
)
from emo_face.evaluation.contextface.spread import AskJob, joined
from emo_face.evaluation.contextface.tables import ablation_of
from emo_face.expression.contextface import prompts
from emo_face.runtime.files import write_json
from emo_face.runtime.progress import Tick, bar
from emo_face.runtime.runners import arguments as runners
from emo_face.runtime.runners import run_shards

ABLATION_CONDITION = "image+quote"
"""What tables 3 and 4 of the paper are measured with: situations told from it."""

add_arguments = arguments(
    option("--records", type=Path, required=True, help="records file (.jsonl) with situations and quotes"),
    option("--train", type=Path, help="records file to take baselines from (default: --records)"),
    option("--root", type=Path, help="folder that picture paths are relative to"),
    option("--targets", type=Path, help="targets file (.npz) with faces; without it only emotions are measured"),
    option("--model", type=Path, help="folder of a trained ContextFace"),
    option("--backbone", default="", help="folder of its backbone (default: the one it names)"),
    option("--device", default="cpu"),
    option("--quantisation", default="none", choices=("none", "4bit", "8bit")),
    option("--predictions", type=Path, help="predictions of an earlier run instead of a model"),
    option("--save-predictions", type=Path, help="where to keep predictions (default: OUT/predictions.npz)"),
    option("--conditions", default=",".join(CONDITIONS), help="comma-separated (default: all that have data)"),
    option("--split", default="test", choices=("train", "val", "test")),
    option("--limit", type=int, default=0, help="only N records, drawn by --seed (default all)"),
    option("--classes", default="", help="only records of these emotions, for example Happy,Sad (default all)"),
    option("--situations", default=",".join(FORMS), help="what situations are generated from; empty: none"),
    option("--baseline", action="append", default=[], metavar="NAME=DIR|URL#MODEL", help="an untuned model"),
    option("--key-env", default="", metavar="NAME", help="environment variable with the key of a --baseline"),
    option("--figures", type=int, default=0, metavar="N", help="draw figures 5 to 8, N pictures each"),
    option("--head3d", type=Path, metavar="DIR", help="ICT head for the figures (default: a sketch)"),
    option("--flame", type=Path, metavar="FILE", help="FLAME file for the figures of a FLAME model"),
    option("--speak", type=int, default=0, metavar="N", help="free answers to N records per condition"),
    option("--also", action="append", default=[], metavar="TABLE/ROW=DIR", help="another trained model"),
    option("--rounds", type=int, default=200, help="bootstrap samples (default 200)"),
    option("--seed", type=int, default=0),
    partial(runners.add_arguments, workers="--processes"),
    option("--out", type=Path, help="write report.html, report.json and predictions here"),
    option("--json", action="store_true", help="print JSON on stdout and nothing else"),
)


def run(args: argparse.Namespace) -> int:
    """Evaluate, write the report, print."""
    if args.figures and args.out is None:
        raise UserError("--figures: needs --out, where the pictures go")
    report = json_ready(evaluate(args))
    if args.out is not None:
        write_html(report, args.out / "report.html")
        write_json(args.out / "report.json", report)
    print(json.dumps(report) if args.json else as_text(report))
    return 0


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """The whole report. Raises UserError for missing data, an empty split, or targets of another basis."""
    everyone = list(read_jsonl(args.records))
    classes = _words(args.classes)
    dropped = Counter[str]()
    people = chosen(labelled(of_split(everyone, args.split), dropped), classes, args.limit, args.seed)
    _tell(dropped)
    train = [r for r in (read_jsonl(args.train) if args.train else everyone) if r.split == "train"]
    train = [] if args.split == "train" and args.train is None else train
    names = [name for name in args.conditions.split(",") if name]
    if unknown := sorted(set(names) - set(CONDITIONS)):
        raise UserError(f"--conditions: unknown {unknown[0]!r}; there are {', '.join(CONDITIONS)}")
    if (args.processes > 1 or args.runner != "local") and (args.out is None or args.speak):
        raise UserError("--processes, --runner: need --out, where the shards go, and no --speak")
    found, engine = _predictions(args, people, names)
    targets = face_targets.read(args.targets, found.model.get("face_basis")) if args.targets else None
    report = measure(found, people, train, targets, args.rounds, args.seed, args.split, classes)
    return report | _ablations(args, people, targets, found) | _figures(args, people, found, engine)


def _tell(dropped: Counter[str]) -> None:
    for reason, number in (+dropped).items():
        print(f"left out: {number} records: {reason}", file=sys.stderr)


def _words(classes: str) -> list[str]:
    """The emotion words of ``--classes``. Raises UserError for one that is none of the seven."""
    try:
        return [prompts.word_of(name) for name in classes.split(",") if name]
    except ValueError as error:
        raise UserError(f"--classes: {error}") from None


def chosen(people: Sequence[Any], classes: Sequence[str], limit: int, seed: int) -> list[Any]:
    """Records of these emotions (none: all), ``limit`` of them drawn by ``seed`` in file order (0: all).

    Raises:
        UserError: no record has one of the emotions.
    """
    kept = [r for r in people if not classes or prompts.words()[truth_of([r])[0]] in classes]
    if not kept:
        raise UserError(f"--classes {','.join(classes)}: no record has one of these emotions")
    if 0 < limit < len(kept):
        kept = [kept[i] for i in np.sort(np.random.default_rng(seed).permutation(len(kept))[:limit])]
    return kept


def _predictions(args: argparse.Namespace, people: Sequence[Any], names: Sequence[str]) -> tuple[Run, Any]:
    """What the model (its engine comes too) and the baselines say, or said in an earlier run."""
    if args.predictions is not None:
        found = load(args.predictions)
        found.conditions = {name: found.conditions[name] for name in names if name in found.conditions}
        if not found.conditions:
            raise UserError(f"{args.predictions}: has none of the conditions {', '.join(names)}")
        return found, None
    if args.model is None:
        raise UserError("--model or --predictions is needed")

    if args.root is not None and any(CONDITIONS[name].form.picture for name in names):
        dropped = Counter[str]()
        people = boxed(there(people, args.root, dropped), dropped)
        _tell(dropped)
    forms = [form for form in args.situations.split(",") if form and asked(people, form)] if args.root else []
    if args.baseline and not forms:
        raise UserError("--baseline: needs --root, and records with a picture, a box and a quote or a situation")
    others = [baseline(value) for value in args.baseline]
    engine = _engine(args, args.model)
    # what is wrong with a flag, the targets or a baseline's endpoint is said before hours of work
    for item in args.also:
        ablation_of(item)
    if args.targets:
        face_targets.read(args.targets, engine.model.config.face_basis)
    told = _situations(people, forms, {other.name: _baseline(args, other, people) for other in others})
    asked_of = [name for name in names if usable(people, name) and _seen(args, name)]
    found = _ask(args, args.model, engine, people, asked_of, args.speak)
    found.model["folder"] = args.model.name
    if hasattr(engine.eyes, "processor"):
        ours = partial(by_engine, engine, people, args.root, cache=_answers(args))
        told = _situations(people, forms, {OURS: ours}) | told
    found.told = told
    keep = args.save_predictions or (args.out / "predictions.npz" if args.out is not None else None)
    if keep is not None:
        save(keep, found)
    return found, engine


def _baseline(args: argparse.Namespace, other: Baseline, people: Sequence[Any]) -> Callable[..., Told]:
    """How a baseline is asked."""
    with_key = (args.device, os.environ.get(args.key_env, ""), _answers(args) or Path("answers"))
    return partial(by_baseline, other, *with_key, people, args.root)


def _answers(args: argparse.Namespace) -> Path | None:
    return args.out / "answers" if args.out is not None else None


def _situations(
    people: Sequence[Any], forms: Sequence[str], asks: Mapping[str, Callable[..., Told]]
) -> dict[str, dict[str, Told]]:
    """Situations told by a model or by baselines."""
    told: dict[str, dict[str, Told]] = {}
    for who, ask in asks.items():
        for form in forms:
            with bar(f"{who}, {form}", len(asked(people, form))) as tick:
                told.setdefault(who, {})[form] = ask(form, partial(_advance, tick, count(1)))
    return told


def _seen(args: argparse.Namespace, condition: str) -> bool:
    """Whether a condition's pictures are there; without --root they are left out, and that is said."""
    if CONDITIONS[condition].form.picture and args.root is None:
        print(f"condition {condition} left out: it needs --root", file=sys.stderr)
        return False
    return True


def _engine(args: argparse.Namespace, folder: Path) -> Any:
    if find_spec("torch") is None:
        raise UserError(f"evaluating ContextFace needs torch: {how_to_install('train')}")
    from emo_face.expression.contextface.engine import EngineSettings, load_engine

    return load_engine(EngineSettings(folder, args.backbone, device=args.device, quantisation=args.quantisation))


def _ask(
    args: argparse.Namespace, folder: Path, engine: Any, people: Sequence[Any], names: Sequence[str], speak: int
) -> Run:
    if not names:
        raise UserError("no condition can be evaluated: the records have neither texts nor (with --root) pictures")
    config = engine.model.config
    found = Run(model={"face_basis": config.face_basis, "trained": list(config.conditions), **engine.hashes})
    for name in names:
        with bar(name, len(usable(people, name))) as tick:
            if args.out is None or speak:
                advance = partial(_advance, tick, count(1))
                found.conditions[name] = predict(engine, people, args.root or Path(), name, speak, advance)
            else:
                found.conditions[name] = _in_shards(args, folder, engine, people, name, tick)
    return found


def _in_shards(
    args: argparse.Namespace, folder: Path, engine: Any, people: Sequence[Any], name: str, tick: Tick
) -> Any:
    """A condition's answers from shards; they are kept beside the report, so a killed evaluation goes on."""
    loaded = engine if args.processes == 1 and args.runner == "local" else None
    job = AskJob(folder, args.backbone, args.root or Path(), name, args.device, args.quantisation, loaded)
    shards = args.out / "shards"
    return joined(run_shards(job, usable(people, name), shards, args.shards, runners.chosen(args, shards), tick))


def _advance(tick: Tick, numbers: Iterator[int]) -> None:
    tick(next(numbers))


def _ablations(args: argparse.Namespace, people: Sequence[Any], targets: Any, ours: Run) -> dict[str, Any]:
    """Other trained models in the paper's tables: UAR and WAR of told situations, or L2 and FD for the losses."""
    found: dict[str, dict[str, Any]] = {}
    by_id = {record.id: record for record in people}
    for item in args.also:
        table, row, folder = ablation_of(item)
        engine = _engine(args, Path(folder))
        if table == "supplement_table2":
            if targets is None:
                raise UserError(f"--also {item}: the loss table needs --targets")
            text = row.partition("(")[2].rstrip(")")
            said = _ask(args, Path(folder), engine, people, [text], 0).conditions[text]
            faces = expression(said, [by_id[i] for i in said.ids], [], targets, np.random.default_rng(args.seed), 2)
            shown = faces["rows"]["ContextFace, map"]
            values = {"L2": shown["per_dim_mse"]["value"], "FD": shown["FD"]["value"]}
        else:
            if args.root is None or not asked(people, ABLATION_CONDITION):
                raise UserError(f"--also {item}: tables 3 and 4 are about pictures and quotes: give --root")
            told = by_engine(engine, people, args.root, ABLATION_CONDITION, cache=_answers(args))
            truth = truth_of([by_id[i] for i in told.ids])
            scores = metrics.emotion_scores(truth, told.guess, len(prompts.words()))
            values = {key: scores[key] for key in ("UAR", "WAR")}
            own = ours.told.get(OURS, {}).get(ABLATION_CONDITION)
            if own is not None and own.ids == told.ids:
                values["behind"] = metrics.paired_uar(truth, told.guess, own.guess, args.seed, args.rounds).as_json()
        found.setdefault(table, {})[row] = values
    return {"ablations": found} if found else {}


def _figures(args: argparse.Namespace, people: Sequence[Any], found: Run, engine: Any) -> dict[str, Any]:
    """Figures 5 to 8; the last two need the model itself and pictures."""
    if not args.figures:
        return {}
    paint = figures.painter(str(found.model.get("face_basis", "")), args.head3d, args.flame)
    if paint is None:
        print(f"figures left out: faces in {found.model.get('face_basis')} need --flame FILE", file=sys.stderr)
        return {}
    grids = [figures.emotions(found.conditions, people, paint), figures.variation(found.conditions, people, paint)]
    if engine is not None and args.root is not None and usable(people, ABLATION_CONDITION):
        shown = (engine, people, args.root, paint, args.figures)
        grids += [figures.interactive(*shown), figures.occluded(*shown)]
    return {"figures": figures.write(grids, args.out / "figures")}
