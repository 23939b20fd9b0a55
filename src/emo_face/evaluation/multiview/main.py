"""``emo-face evaluate multiview``: a trained head on cached features, beside the paper's tables.

  emo-face evaluate multiview --records emotic.jsonl --cache out/features --model out/multiview --out out/report
  emo-face evaluate multiview --records emotic.jsonl --cache out/features --model out/multiview --ablations --json

Thresholds and calibration come with the model, from its validation split. ``--ablations`` trains the head again with
fewer views, without attention and with binary cross-entropy (the paper's tables 6, 11, 12), else with the head's own
settings. The ablations of Stage 1 are corpora: make them with ``emo-face data qa --tasks ...`` and ``--no-balance``,
train, cache, and give their features as ``--also "table8/without balancing=out/features-unbalanced"`` (tables 7 to 9),
or let the model answer in words with ``--vlm "+ caption-guided prompt=out/stage1-caption/best"`` (table 13).
benchmarks/stage1_ablations.py does all of it on synthetic scenes.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.core.labels import label_set
from emo_face.core.numeric import json_ready
from emo_face.datasets.records import of_split, read_jsonl
from emo_face.evaluation.metrics import multilabel
from emo_face.evaluation.metrics.calibration import brier_per_label, ece_per_label, reliability
from emo_face.evaluation.multiview.report import write_html
from emo_face.evaluation.multiview.tables import main_table, paper
from emo_face.perception.multiview import fingerprint, head_file
from emo_face.runtime.files import write_json
from emo_face.runtime.progress import bar
from emo_face.runtime.runners import arguments as runners
from emo_face.runtime.runners import run_shards
from emo_face.runtime.shards import Job, Row

Ablate = Callable[..., dict[str, Any]]
"""``emo_face.training.multiview.ablations.of_run``. It trains heads, so whoever may import training hands it in."""


add_arguments = arguments(
    option("--records", type=Path, required=True, help="records file (.jsonl) with all splits"),
    option("--cache", type=Path, required=True, help="folder of cached features"),
    option("--model", type=Path, required=True, help="folder with head.safetensors and head.json"),
    option("--split", default="test", choices=("train", "val", "test")),
    option("--ap-mode", default="sklearn", choices=multilabel.AP_MODES),
    option("--rounds", type=int, default=200, help="bootstrap samples (default 200)"),
    option("--ablations", action="store_true", help="train the head's ablations as well"),
    option("--also", action="append", default=[], metavar="TABLE/ROW=DIR", help="features of another Stage 1"),
    option(
        "--vlm",
        action="append",
        default=[],
        metavar="[ROW=]DIR",
        help="also let Stage 1 answer in words: its folder (best/), and its row of the paper's table 13",
    ),
    option("--base", type=Path, metavar="DIR", help="InstructBLIP checkpoint, for --vlm"),
    option("--images", type=Path, metavar="DIR", help="folder of the pictures, for --vlm and example people"),
    option("--device", default="cpu", help="device for --vlm (default cpu)"),
    runners.add_arguments,
    option("--seed", type=int, default=0),
    option("--out", type=Path, help="write report.html and report.json here"),
    option("--json", action="store_true", help="print JSON on stdout and nothing else"),
)


def run(args: argparse.Namespace, ablate: Ablate | None = None) -> int:
    """Evaluate, write the report, print. ``ablate``: see :data:`Ablate`."""
    if find_spec("torch") is None:
        raise UserError(f"evaluating the multi-view head needs torch: {how_to_install('full')}")
    report = evaluate(args, ablate)
    if args.out is not None:
        write_html(report, args.out / "report.html")
        write_json(args.out / "report.json", json_ready(report))
    if args.json:
        print(json.dumps(json_ready(report)))
    else:
        _print(report)
    return 0


def evaluate(args: argparse.Namespace, ablate: Ablate | None = None) -> dict[str, Any]:
    """The whole report as a dict. Raises UserError for an empty split or features that are not there."""
    from emo_face.datasets.features import FeatureCache
    from emo_face.datasets.labelled import labelled, predict
    from emo_face.evaluation.multiview import views

    head, card = head_file.load(args.model)
    records = list(read_jsonl(args.records))
    people = of_split(records, args.split)
    cache = FeatureCache.reading(args.cache)
    fingerprint.check(card.encoder, cache.meta().get("files", {}), args.cache)
    name = card.fusion.label_set
    data = labelled(cache.load(), people, name)
    if data.features.features.shape[1:] != (len(card.fusion.views), card.fusion.in_features):
        shape = data.features.features.shape[1:]
        raise UserError(
            f"{args.cache}: features of {shape[0]} views x {shape[1]}, the head of {args.model} reads "
            f"{len(card.fusion.views)} x {card.fusion.in_features}; cache with the encoder it was trained on"
        )
    logits, vad = predict(head, data.features)
    report = measure(logits, data.truth, card, args.ap_mode, args.rounds, args.seed)
    report.update(
        label_set=name,
        labels=list(label_set(name).labels),
        split=args.split,
        split_note=_split_note(people),
        data=[len({record.image for record in records}), len(records), len(label_set(name))],
        missing_views={view: int((data.features.present[:, v] == 0).sum()) for v, view in enumerate(card.fusion.views)},
        hidden_views=views.hidden(head, card, data, args.ap_mode),
        attention=views.attention(head, data),
        examples=views.examples(head, card, data, people, args.images),
        view_shares=card.metrics.get("views", {}),
    )
    if vad is not None:
        report["vad_error"] = _vad_error(vad, data.vad)
    if args.vlm:
        from emo_face.evaluation.multiview.vlm import steps

        report["vlm"] = steps(args.vlm, args.base, args.images, people, args.device, partial(_by_runner, args))
    if ablate is not None and (args.ablations or args.also):
        report["ablations"] = ablate(args, partial(_by_runner, args))
    return report


def _by_runner(args: argparse.Namespace, job: Job[Any], items: Sequence[Any], name: str) -> Sequence[Row]:
    """Rows of a job's items; they are kept beside the report, so a killed evaluation goes on."""
    with tempfile.TemporaryDirectory() as scratch, bar(name, len(items)) as tick:
        folder = (Path(scratch) if args.out is None else args.out) / name
        return run_shards(job, items, folder, args.shards, runners.chosen(args, folder), tick)


def measure(logits: Any, truth: Any, card: Any, mode: multilabel.APMode, rounds: int, seed: int) -> dict[str, Any]:
    """Metrics of (n, classes) logits under a card's calibration and thresholds."""
    from emo_face.evaluation.multiview import views

    multi, names = label_set(card.fusion.label_set).multi, label_set(card.fusion.label_set).labels
    probabilities = card.probabilities(logits)
    plain = replace(card, scale=np.ones_like(card.scale), shift=np.zeros_like(card.shift)).probabilities(logits)
    ranking = logits if multi else probabilities  # of one label, softmax compares people; logits alone do not
    predicted = multilabel.decide(probabilities, card.thresholds, multi)
    others = multilabel.intervals(predicted, truth, seed, rounds)
    bins = reliability(np.ravel(probabilities), np.ravel(truth), kind="mass")
    return {
        "result": multilabel.summary(probabilities, truth, card.thresholds, multi, mode, ranking),
        "mAP_interval": multilabel.map_interval(ranking, truth, seed, rounds, mode).times(100),
        "intervals": {key: found.times(100) for key, found in others.items() if key != "accuracy" or not multi},
        "curves": views.curves(probabilities, truth, names),
        "confusion": views.confusion(predicted, truth),
        "thresholds": dict(zip(names, np.asarray(card.thresholds).tolist(), strict=True)),
        "positives": multilabel.frequencies(truth, names),
        "calibration": {
            "ece": float(ece_per_label(probabilities, truth).mean()),
            "ece_raw": float(ece_per_label(plain, truth).mean()),
            "ece_per_label": ece_per_label(probabilities, truth).tolist(),
            "brier": float(brier_per_label(probabilities, truth).mean()),
            "brier_raw": float(brier_per_label(plain, truth).mean()),
            "bins": {"score": bins.score.tolist(), "share": bins.share.tolist(), "count": bins.count.tolist()},
        },
    }


def _split_note(people: Sequence[Any]) -> str:
    sources = sorted({record.source for record in people})
    return f"Data and splits: {', '.join(sources) or 'unnamed'}. Numbers of other data or other splits do not compare."


def _vad_error(vad: Any, truth: Any) -> dict[str, float]:
    """Mean absolute error on the 1..10 scale, over annotated people."""
    known = np.isfinite(truth).all(1)
    error = 4.5 * np.abs(vad[known] - truth[known]).mean(0) if known.any() else np.full(3, np.nan)
    return dict(zip(("valence", "arousal", "dominance"), error.tolist(), strict=True))


def _print(report: dict[str, Any]) -> None:
    ours, tables = report["result"], paper()
    low, high = report["mAP_interval"]
    print(
        f"{report['label_set']} {report['split']}: {ours['n']} people, mAP {ours['mAP']:.2f} ({low:.2f} to {high:.2f})"
    )
    table = tables.get(main_table(report["label_set"]))
    if table:
        print(f"{'':30s}" + "".join(f"{column:>11s}" for column in table["columns"]))
        rows = {**table["rows"], "This run": [ours.get(column) for column in table["columns"]]}
        for name, values in rows.items():
            print(f"{name:30s}" + "".join(f"{'-' if v is None else f'{v:.2f}':>11s}" for v in values))
    for name, vlm in report.get("vlm", {}).items():
        text = ", ".join(f"{key} {vlm[key]:.2f}" for key in ("precision", "recall", "f1", "hamming"))
        print(f"VLM in words, {name}: {text}, {vlm['unparseable']:.1f} % of answers name no label (table 13)")
    calibration = report["calibration"]
    print(f"ECE {calibration['ece_raw']:.4f} -> {calibration['ece']:.4f}, Brier {calibration['brier']:.4f}")
    for key, rows in report.get("ablations", {}).items():
        for name, values in rows.items():
            printed = tables[key]["rows"].get(name, [])
            print(f"{key} {name:28s} {_numbers(values)}  paper {_numbers(printed)}")


def _numbers(values: Sequence[float | None]) -> str:
    return " ".join("-" if v is None or not math.isfinite(v) else f"{v:.2f}" for v in values)
