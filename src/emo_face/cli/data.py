"""Read, check and convert emotion data (EMOTIC, CAER-S, HECO, SFEW, SFEW-C, CAER-S-C, MERR), boxes and face targets.

emo-face data verify --set emotic --root /data/emotic
emo-face data verify --set caer_s --root /data/CAER-S --split clip_grouped --json
emo-face data convert --set heco --root heco.csv --to heco.jsonl
emo-face data boxes --records heco.jsonl --images /data/HECO --to heco_boxes.jsonl --workers 2
emo-face data balance --records emotic.jsonl
emo-face data qa --records emotic.jsonl --to qa.jsonl
emo-face data convert --set sfew_c --root SFEW-C/ --to sfew_c.jsonl
emo-face data targets --records sfew_c.jsonl --outputs smirk/ --tool smirk --basis flame2020 --to targets.npz
emo-face data targets --records sfew_c.jsonl --images SFEW-C/ --tool mediapipe --basis open-ict-1 --to targets.npz
emo-face data targets --records sfew_c.jsonl --tool facs --basis arkit-52 --to targets.npz
emo-face data contexts --count 6000 --to moments.jsonl
emo-face data quotes --root /data/text --to quotes.jsonl
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emo_face.cli import _contexts
from emo_face.cli._verb import JSON, SEED, actions
from emo_face.core.arguments import option
from emo_face.core.errors import UserError
from emo_face.datasets import records, shares
from emo_face.datasets.contexts import merr
from emo_face.datasets.contexts import records as context
from emo_face.datasets.pictures import caer_s, emotic, heco, sfew
from emo_face.datasets.qa.balance import report
from emo_face.datasets.qa.corpus import TASKS, build, write_corpus
from emo_face.datasets.records import read_jsonl, write_jsonl
from emo_face.runtime.progress import bar
from emo_face.runtime.runners import arguments as _runner
from emo_face.runtime.runners import run_shards

READERS = ("emotic", "caer_s", "heco", "sfew", "sfew_c", "caer_s_c", "merr", "records")

SOURCE = (
    option("--set", dest="dataset", choices=READERS, required=True),
    option("--root", type=Path, required=True, help="folder (or csv, or records file) of the data set"),
    option("--split", default="official", help="CAER-S: official, random_70_10_20 or clip_grouped"),
    option("--seed", type=int, default=0, help="seed of random splits"),
)
RECORDS = option("--records", type=Path, required=True, help="records file (.jsonl)")
WRITTEN = option("--to", type=Path, required=True, help="records file (.jsonl) to write")
BALANCED = (
    RECORDS,
    option("--reading", choices=("drop", "keep"), default="drop", help="how to read the paper's rates"),
    SEED,
    JSON,
)
VERIFY = (
    *SOURCE,
    option("--images", type=Path, help="folder the picture paths are relative to (default: --root)"),
    option("--no-counts", action="store_true", help="do not compare with the published counts"),
    option("--no-pictures", action="store_true", help="annotations only: do not open the pictures"),
    option("--distance", type=int, default=4, help="bits of a 64-bit hash that make a near-duplicate, 0..7"),
    JSON,
)
BOXES = (
    RECORDS,
    option("--images", type=Path, required=True, help="folder the picture paths are relative to"),
    option("--to", type=Path, required=True, help="records file (.jsonl) to write; may be --records"),
    _runner.add_arguments,
    JSON,
)
QA = (
    *BALANCED,
    option("--to", type=Path, required=True, help="corpus file (.jsonl) to write"),
    option("--tasks", default="", help="comma-separated tasks (default: all)"),
    option("--no-balance", action="store_true", help="ablation: neither drop nor duplicate rows"),
    option("--other-share", type=float, default=1.0, help="rows of other tasks per classification row (default 1)"),
)
TARGETS = (
    RECORDS,
    option("--outputs", type=Path, help="folder of a face tool's outputs, named as the pictures"),
    option("--images", type=Path, help="with --tool mediapipe: folder the picture paths are relative to"),
    option("--tool", required=True, help="mediapipe, facs, or what made the outputs: emoca, inferno, deca, smirk ..."),
    option("--basis", required=True, help="open-ict-1, arkit-52, or what the tool ran with: flame2020, flame2023, ..."),
    option("--annotations", type=Path, help="SFEW-C or CAER-S-C file that names each picture's parameters"),
    option("--to", type=Path, required=True, help="targets file (.npz) to write"),
    JSON,
)
CONTEXTS = (option("--count", type=int, default=6000, help="different moments (default 6000)"), SEED, WRITTEN)
QUOTES = (
    option("--root", type=Path, required=True, metavar="DIR", help="folder with goemotions_ekman/ and xed/"),
    option("--most", type=int, default=0, help="training lines per emotion and source (default 0: all)"),
    SEED,
    WRITTEN,
)


def run(args: argparse.Namespace) -> int:
    """Run one action. Exit code 1 if verification finds a problem or pictures cannot be read."""
    return int(args.act(args))


def _read(args: argparse.Namespace) -> list[Any]:
    skipped: Counter[str] = Counter()
    readers: dict[str, Callable[[], list[Any]]] = {
        "emotic": lambda: emotic.read(args.root, skipped),
        "caer_s": lambda: caer_s.read(args.root, args.split, args.seed, skipped=skipped),
        "heco": lambda: heco.read(args.root, args.seed, skipped),
        "sfew": lambda: sfew.read(args.root, skipped),
        "merr": lambda: merr.read(args.root, skipped),
    }
    if args.dataset in readers:
        found = readers[args.dataset]()
        for reason, count in skipped.items():
            print(f"{args.dataset}: {count} x {reason}", file=sys.stderr)
        return found
    if args.dataset in ("sfew_c", "caer_s_c"):
        contexts = context.read(args.root, args.dataset)
        for reason, count in contexts.dropped.items():
            print(f"left out: {count} rows: {reason}", file=sys.stderr)
        return contexts.records
    return list(records.read_jsonl(args.root))


def _verify(args: argparse.Namespace) -> int:
    from emo_face.datasets.pictures.verify import verify

    people = _read(args)
    root = args.images or (args.root if args.root.is_dir() else args.root.parent)
    with bar("pictures", len({record.image for record in people})) as tick:
        report = verify(
            args.dataset,
            people,
            root,
            published=not args.no_counts,
            pictures=not args.no_pictures,
            distance=args.distance,
            tick=tick,
        )
    if args.json:
        print(json.dumps(report.to_json()))
    else:
        print(f"{args.dataset}: {sum(report.people.values())} people, {report.images} pictures, {dict(report.people)}")
        for problem in report.problems[:50]:
            print(f"  {problem.kind}: {problem.where}: {problem.detail}")
        print(
            "no problems" if report.ok else f"{len(report.problems)} problems: {report.to_json()['problems_by_kind']}"
        )
    return 0 if report.ok else 1


def _convert(args: argparse.Namespace) -> int:
    print(f"{args.to}: {write_jsonl(args.to, _read(args))} records", file=sys.stderr)
    return 0


def _boxes(args: argparse.Namespace) -> int:
    from emo_face.datasets.pictures import detect

    people = list(read_jsonl(args.records))
    job, warnings = detect.job(args.images)
    for warning in warnings:
        print(f"boxes: {warning}", file=sys.stderr)
    found = detect.pictures(people)
    folder = args.to.with_suffix(".shards")
    with bar("pictures", len(found)) as tick:
        rows = run_shards(job, found, folder, args.shards, _runner.chosen(args, folder), tick)
    filled, bad = detect.records_of(rows)
    before, after = shares.view_shares(people), shares.view_shares(filled)
    write_jsonl(args.to, filled)
    if args.json:
        print(json.dumps({"people": len(filled), "before": before, "after": after, "unreadable": bad}))
    else:
        print(f"{args.to}: {len(filled)} people; {shares.share_text(after)} (before: {shares.share_text(before)})")
    for line in bad[:10]:
        print(f"boxes: {line}", file=sys.stderr)
    if bad:
        print(f"boxes: {len(bad)} pictures could not be read; replace them and run this again", file=sys.stderr)
    return 1 if bad else 0


def _balance(args: argparse.Namespace) -> int:
    people = [record for record in read_jsonl(args.records) if record.split in ("train", "val", "")]
    table = report(people, args.seed)
    print(json.dumps(table) if args.json else table["text"])
    return 0


def _qa(args: argparse.Namespace) -> int:
    tasks = tuple(name.strip() for name in args.tasks.split(",") if name.strip()) or TASKS
    if args.other_share < 0:
        raise UserError(f"--other-share: expected at least 0, got {args.other_share:g}")
    corpus = build(
        list(read_jsonl(args.records)),
        seed=args.seed,
        tasks=tasks,
        reading=args.reading,
        balance=not args.no_balance,
        other_share=args.other_share,
    )
    summary = write_corpus(args.to, corpus)
    if args.json:
        print(json.dumps(summary))
        return 0
    for name, count in summary["rows"].items():
        print(f"{name:14s} {count:8,d}  {count / len(corpus.rows):6.1%}")
    labels = sum(row.task in ("classification", "caption", "minor") for row in corpus.rows) / max(1, len(corpus.rows))
    print(
        f"rows that ask for labels: {labels:.1%}; the paper limits the others, so that they do not overshadow these "
        "(A.4.2), and gives no number: its figure 11 is a picture"
    )
    return 0


add_arguments = actions(
    {
        "verify": (_verify, "published counts, boxes, corrupt files, near-duplicates across splits", VERIFY),
        "convert": (_convert, "write neutral records, one JSON line per person", (*SOURCE, WRITTEN)),
        "boxes": (_boxes, "find the bodies and faces that records lack, by YOLO11 and YuNet", BOXES),
        "balance": (_balance, "label shares before and after balancing", BALANCED),
        "qa": (_qa, "write the instruction-tuning corpus", QA),
        "targets": (_contexts.targets, "faces to learn: of a face tool, of MediaPipe, or FACS prototypes", TARGETS),
        "contexts": (_contexts.moments, "synthetic moments from a grammar: situation, quote and a listener", CONTEXTS),
        "quotes": (_contexts.written_lines, "lines that people wrote, with their emotion, as records", QUOTES),
    }
)
