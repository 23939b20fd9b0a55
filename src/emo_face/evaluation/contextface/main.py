"""``emo-face evaluate contextface``: emotion words and faces of a ContextFace, beside the paper's tables.

  emo-face evaluate contextface --records sfew_c.jsonl --root SFEW-C/ --targets faces.npz --model out/best --out report/
  emo-face evaluate contextface --records sfew_c.jsonl --predictions report/predictions.npz --targets faces.npz

Conditions: image, situation, quote, image+situation, image+quote, and the two texts with emotion words blanked.
Training records in the same file (or in --train) give baselines and the bag-of-words probe.
--also "table3/expression=DIR" adds models trained on fewer task sets or of another size, at the condition of
the paper's table. --speak N lets the model answer N records freely, for the rates of emitted <FACE> and of answers
without an emotion.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.numeric import json_ready
from emo_face.evaluation.contextface import metrics
from emo_face.evaluation.contextface.predict import CONDITIONS, ConditionPredictions, Run, load, usable
from emo_face.expression.contextface import prompts
from emo_face.runtime.files import write_json
from emo_face.runtime.progress import Tick, bar

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
    parser.add_argument("--out", type=Path, help="write report.html, report.json and predictions here")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout and nothing else")


def run(args: argparse.Namespace) -> int:
    """Evaluate, write the report, print."""
    report = json_ready(evaluate(args))
    if args.out is not None:
        from emo_face.evaluation.contextface.report import write_html

        write_html(report, args.out / "report.html")
        write_json(args.out / "report.json", report)
    if args.json:
        print(json.dumps(report))
    else:
        from emo_face.evaluation.contextface.report import as_text

        print(as_text(report))
    return 0


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """The whole report. Raises UserError for missing data, an empty split, or targets of another basis."""
    from emo_face.datasets.contexts import flame_targets
    from emo_face.datasets.records import of_split, read_jsonl

    everyone = list(read_jsonl(args.records))
    people = of_split(everyone, args.split)
    people = people[: args.limit] if args.limit > 0 else people
    train = [r for r in (read_jsonl(args.train) if args.train else everyone) if r.split == "train"]
    train = [] if args.split == "train" and args.train is None else train
    names = [name for name in args.conditions.split(",") if name]
    if unknown := sorted(set(names) - set(CONDITIONS)):
        raise UserError(f"--conditions: unknown {unknown[0]!r}; there are {', '.join(CONDITIONS)}")
    found = _predictions(args, people, names)
    targets = flame_targets.read(args.targets, found.model.get("flame_version")) if args.targets else None
    return measure(found, people, train, targets, args.rounds, args.seed, args.split) | _ablations(
        args, people, targets
    )


def measure(
    found: Run, people: Sequence[Any], train: Sequence[Any], targets: Any, rounds: int, seed: int, split: str = "test"
) -> dict[str, Any]:
    """Metrics of predictions. ``people``: the records they are about. ``targets``: true faces, or None."""
    by_id = {record.id: record for record in people}
    report: dict[str, Any] = {
        "split": split,
        "records": len(people),
        "train_records": len(train),
        "model": found.model,
        "words": list(prompts.words()),
        "sources": sorted({record.source for record in people}),
        "emotion": {},
        "expression": {},
        "leak": {},
    }
    for name, said in found.conditions.items():
        if missing := [i for i in said.ids if i not in by_id]:
            raise UserError(
                f"predictions of {name} are about {missing[0]!r}, which is not in the records' {split} split"
            )
        rows = [by_id[i] for i in said.ids]
        rng = np.random.default_rng(seed)
        report["emotion"][name] = emotion(said, rows, train, rng, rounds)
        if targets is not None:
            faces = expression(said, rows, train, targets, rng, rounds)
            if faces:
                report["expression"][name] = faces
    report["leak"] = leak(found, people, train)
    return report


def truth_of(records: Sequence[Any]) -> Any:
    """(n,) index of each record's emotion. Raises UserError for a record without one of the seven."""
    names, found = prompts.words(), []
    for record in records:
        try:
            (label,) = record.labels
            found.append(names.index(prompts.word_of(label)))
        except ValueError:
            raise UserError(f"record {record.id}: labels {record.labels}: expected one of {', '.join(names)}") from None
    return np.array(found, np.int64)


def emotion(
    said: ConditionPredictions, rows: Sequence[Any], train: Sequence[Any], rng: Any, rounds: int
) -> dict[str, Any]:
    """Scores of the one-pass emotions and of free answers, with intervals and baselines."""
    truth, classes = truth_of(rows), len(prompts.words())
    scores = metrics.emotion_scores(truth, said.guess, classes)
    scores["interval"] = metrics.emotion_intervals(truth, said.guess, classes, rng, rounds)
    prior = np.bincount(truth_of(train), minlength=classes).tolist() if train else None
    scores["baselines"] = metrics.emotion_baselines(truth, classes, prior)
    scores["form"] = 100 * float(said.form.mean())
    if said.spoken is not None:
        heard = said.spoken
        spoken = metrics.emotion_scores(truth[: len(heard.guess)], heard.guess, classes)
        scores["spoken"] = spoken | {"emitted": 100 * float(heard.emitted.mean())}
    return scores


def expression(
    said: ConditionPredictions, rows: Sequence[Any], train: Sequence[Any], targets: Any, rng: Any, rounds: int
) -> dict[str, Any]:
    """L2 in three conventions and Frechet distances of both decisions and of baselines; empty under two faces."""
    places = [place for place, record in enumerate(rows) if targets.get(record.id) is not None]
    if len(places) < 2:
        return {}
    truth = np.stack([targets.get(rows[place].id).expression for place in places]).astype(np.float64)
    labels = truth_of([rows[place] for place in places])
    known = [record for record in train if targets.get(record.id) is not None]
    reference = (np.stack([targets.get(r.id).expression for r in known]), truth_of(known)) if known else None
    shown = metrics.baseline_faces(truth, labels, rng, reference)
    shown |= {"ContextFace, map": said.map[places], "ContextFace, mean": said.mean[places]}
    found = {name: metrics.intervals(faces, truth, rng, rounds) for name, faces in shown.items()}
    floors = {"FD": truth, "FD_pca": metrics.projection(truth)(truth)}
    return {
        "n": len(places),
        "baselines_from": f"{len(known)} training faces" if known else "the other faces of the split",
        "rows": {name: {key: value.as_json() for key, value in row.items()} for name, row in found.items()},
        "floor": {key: metrics.floor(faces, rng, min(50, rounds)).as_json() for key, faces in floors.items()},
        "total_variance": float(truth.var(0, ddof=1).sum()),
    }


def leak(found: Run, people: Sequence[Any], train: Sequence[Any]) -> dict[str, Any]:
    """What the words give away, and how the model does on contexts that name their emotion and on those that do not."""
    from emo_face.evaluation.contextface.probe import leaky, probe

    names, by_id, result = prompts.words(), {record.id: record for record in people}, {}
    for text in ("situation", "quote"):
        rows = usable(people, text)
        if not rows:
            continue
        learned = usable(train, text)
        labels = [names[i] for i in truth_of(rows)]
        known = ([getattr(r, text) for r in learned], [names[i] for i in truth_of(learned)])
        result[text] = probe([getattr(r, text) for r in rows], labels, known)
        said = found.conditions.get(text)
        if said is None:
            continue
        people_said = [by_id[i] for i in said.ids]
        truth = truth_of(people_said)
        kinds = leaky([getattr(r, text) for r in people_said], [names[i] for i in truth])
        gives = np.any(list(kinds.values()), axis=0)
        for part, chosen in (("leaking", gives), ("clean", ~gives)):
            if chosen.any():
                scores = metrics.emotion_scores(truth[chosen], said.guess[chosen], len(names))
                result[text][part] = {key: scores[key] for key in ("n", "UAR", "WAR")}
    return result


def _predictions(args: argparse.Namespace, people: Sequence[Any], names: Sequence[str]) -> Run:
    if args.predictions is not None:
        found = load(args.predictions)
        found.conditions = {name: found.conditions[name] for name in names if name in found.conditions}
        if not found.conditions:
            raise UserError(f"{args.predictions}: has none of the conditions {', '.join(names)}")
        return found
    if args.model is None:
        raise UserError("--model or --predictions is needed")
    from emo_face.evaluation.contextface.predict import save

    found = _ask(args, args.model, people, [n for n in names if usable(people, n) and _seen(args, n)], args.speak)
    keep = args.save_predictions or (args.out / "predictions.npz" if args.out is not None else None)
    if keep is not None:
        save(keep, found)
    return found


def _seen(args: argparse.Namespace, condition: str) -> bool:
    """Whether a condition's pictures are there; without --root they are left out, and that is said."""
    if CONDITIONS[condition][0] and args.root is None:
        print(f"condition {condition} left out: it needs --root", file=sys.stderr)
        return False
    return True


def _ask(args: argparse.Namespace, folder: Path, people: Sequence[Any], names: Sequence[str], speak: int) -> Run:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise UserError("evaluating ContextFace needs torch: scripts/setup.sh train")
    if not names:
        raise UserError("no condition can be evaluated: the records have neither texts nor (with --root) pictures")
    from emo_face.evaluation.contextface.predict import predict
    from emo_face.expression.contextface.engine import EngineSettings, load_engine

    engine = load_engine(EngineSettings(folder, args.backbone, device=args.device, quantisation=args.quantisation))
    found = Run(model={"folder": folder.name, "flame_version": engine.model.config.flame_version, **engine.hashes})
    for name in names:
        numbers = count(1)
        with bar(name, len(usable(people, name))) as tick:
            advance = partial(_advance, tick, numbers)
            found.conditions[name] = predict(engine, people, args.root or Path(), name, speak, advance)
    return found


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
    from emo_face.evaluation.contextface.tables import paper

    where, _, folder = item.partition("=")
    table, _, row = where.partition("/")
    known = {name: paper()[name]["rows"] for name in ("table3", "table4", "supplement_table2")}
    if not folder or row not in known.get(table, {}):
        rows = ", ".join(f"{t}/{r}" for t, rows in known.items() for r in rows)
        raise UserError(f"--also: expected TABLE/ROW=DIR with TABLE/ROW one of {rows}; got {item!r}")
    return table, row, folder
