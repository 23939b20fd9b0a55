"""Make situations and quotes, or the multi-view corpus' texts, for pictures with an emotion, and judge them.

  emo-face annotate context --records caer_s.jsonl --root CAER-S/ --endpoint https://host/v1 --model NAME \\
      --key-env MY_KEY --price-in 3 --price-out 15 --budget 50 --cache out/cache --out caer_s_c.jsonl
  emo-face annotate context --records caer_s.jsonl --root CAER-S/ --provider local --model vlm/ --out caer_s_c.jsonl
  emo-face annotate context --records caer_s.jsonl --root CAER-S/ --provider replay --model NAME --out caer_s_c.jsonl
  emo-face annotate multiview --records emotic.jsonl --root EMOTIC/ --tasks caption,pose,situation,rationale \\
      --endpoint https://host/v1 --model NAME --out emotic_texts.jsonl
  emo-face annotate judge --records caer_s_c.jsonl --endpoint https://host/v1 --model NAME --out judged.jsonl

Pictures go to the endpoint that you name and nowhere else. Every answer is on the disk before it is used: stopped or
killed, the same command goes on and asks nothing twice that was answered. Rows that are refused, of a wrong form or
unreachable are counted and named in OUT.provenance.jsonl; --reject label_word,synonym asks again if a text gives its
label away. Exit code: 0 all rows done (--least 0.95: so many), 1 some are not.
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from emo_face.cli import _asking
from emo_face.cli._verb import SEED, actions
from emo_face.core.arguments import option
from emo_face.core.errors import UserError
from emo_face.datasets.annotate import context, judge, multiview, quality
from emo_face.datasets.annotate.schema import table
from emo_face.datasets.records import read_jsonl
from emo_face.evaluation.contextface.tables import paper
from emo_face.runtime.files import write_json_lines
from emo_face.runtime.runners import arguments as runners

PROVIDERS = ("http", "local", "replay")


ASKED = (
    option("--records", type=Path, required=True, help="records file (.jsonl)"),
    option("--out", type=Path, required=True, help="file (.jsonl) to write"),
    option("--provider", choices=PROVIDERS, default="http"),
    option("--endpoint", help="address that speaks the OpenAI chat format, for example https://host/v1"),
    option("--model", required=True, help="name at the endpoint; a folder with --provider local"),
    option("--key-env", default="", metavar="NAME", help="environment variable that holds the key"),
    option("--device", default="cpu", help="with --provider local (default cpu)"),
    option("--cache", type=Path, help="folder of answers (default: OUT with .cache)"),
    option("--workers", type=int, default=4, help="questions at once (default 4)"),
    option("--tries", type=int, default=3, help="answers of a wrong form before giving up (default 3)"),
    option("--retries", type=int, default=6, help="failed connections before giving up (default 6)"),
    option("--max-tokens", type=int, default=0, help="of an answer (default: by task); reasoning needs thousands"),
    option("--timeout", type=float, default=120.0, help="seconds for one answer (default 120)"),
    option("--price-in", type=float, default=0.0, help="price per million tokens sent"),
    option("--price-out", type=float, default=0.0, help="price per million tokens received"),
    option("--budget", type=float, help="stop asking once this much has been spent in this run"),
    SEED,
    option("--json", action="store_true", help="print only JSON on stdout"),
)
PICTURED = (
    option("--root", type=Path, required=True, help="folder that picture paths are relative to"),
    option("--temperature", type=float, default=1.0, help="sampling temperature (default 1.0)"),
    option("--limit", type=int, default=0, help="only the first N records (default: all)"),
    partial(runners.add_arguments, workers="--processes"),
    *ASKED,
)
CONTEXT = (
    option(
        "--perspectives",
        default="speaker,listener",
        help="whose context (default speaker,listener); listener needs records with situation and quote",
    ),
    option("--reject", default="", metavar="FLAGS", help="comma-separated flags that make an answer invalid"),
    *PICTURED,
)
MULTIVIEW = (
    option("--tasks", default="caption,pose,situation,rationale", help="comma-separated (default: all)"),
    option("--boxed-only", action="store_true", help="leave people without a box without texts"),
    option("--least", type=float, default=1.0, help="share of texts that is enough (default 1: all)"),
    *PICTURED,
)
JUDGE = (option("--sample", type=int, default=1000, help="records to judge, 0 for all (default 1000)"), *ASKED)


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    least = {"workers": 1, "tries": 1, "retries": 0, "timeout": 0.1, "price_in": 0, "price_out": 0, "budget": 0}
    for name, smallest in least.items():
        if (given := getattr(args, name)) is not None and given < smallest:
            raise UserError(f"--{name.replace('_', '-')}: expected at least {smallest}, got {given}")
    if args.max_tokens < 0:
        raise UserError(f"--max-tokens: expected at least 1, or 0 for the default, got {args.max_tokens}")
    if args.action == "context":
        args.perspectives = tuple(args.perspectives.split(","))
        if unknown := sorted(set(args.perspectives) - {"speaker", "listener"}):
            raise UserError(f"--perspectives: {unknown[0]!r}, expected speaker, listener or both by a comma")
        args.reject = tuple(name for name in args.reject.split(",") if name)
        if unknown := sorted(set(args.reject) - set(quality.FLAGS)):
            raise UserError(f"--reject: unknown flag {unknown[0]!r}; flags are {', '.join(quality.FLAGS)}")
    if not (records := list(read_jsonl(args.records))):
        raise UserError(f"{args.records}: no records in it; make some with: emo-face data convert --help")
    return int(args.act(args, records))


def _context(args: argparse.Namespace, records: list[Any]) -> int:
    records = records[: args.limit] if args.limit > 0 else records
    made = context.Annotated(records, [], Counter())
    report: dict[str, Any] = {}
    if "speaker" in args.perspectives:
        outcomes, report, name = _asking.asked(args, "context", records)
        made = context.gather(records, outcomes, name)
    done = len(made.records)
    if "listener" in args.perspectives:
        if args.budget is not None:
            args.budget -= report.get("spent", 0.0)
        outcomes, account, name = _asking.asked(args, "listener", made.records)
        heard = context.gather_listeners(made.records, outcomes, name)
        done = min(done, sum(outcome.value is not None for outcome in outcomes))
        report = _together(report or {"rows": {}}, account) | {"listener_flags": dict(heard.flags)}
        made = context.Annotated(heard.records, [*made.provenance, *heard.provenance], made.flags)
    beside = context.write(args.out, made)
    report |= {"flags": dict(made.flags), "records": str(args.out), "provenance": str(beside)}
    return _finish(args, report, done, len(records))


def _together(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The account of two rounds; rows of the second under a name of their own."""
    summed = {
        name: first.get(name, 0) + value
        for name, value in second.items()
        if name != "rows" and not name.startswith("in_doubt")
    }
    doubt = {"in_doubt_before": first.get("in_doubt_before", second["in_doubt_before"]), "in_doubt": second["in_doubt"]}
    return {"rows": first["rows"], "listener_rows": second["rows"], **summed, **doubt}


def _multiview(args: argparse.Namespace, records: list[Any]) -> int:
    if not 0 < args.least <= 1:
        raise UserError(f"--least: expected a share over 0 and up to 1, got {args.least:g}")
    records = records[: args.limit] if args.limit > 0 else records
    boxed = [record for record in records if record.bbox_body is not None or record.bbox_face is not None]
    chosen = boxed if args.boxed_only else records
    if len(chosen) < len(records):
        print(f"{len(records) - len(chosen)} people without a box stay without texts", file=sys.stderr)
    args.tasks = tuple(name.strip() for name in args.tasks.split(",") if name.strip())
    outcomes, account, name = _asking.asked(args, "multiview", chosen)
    annotated = multiview.gather(chosen, args.tasks, outcomes, name)
    told = {record.id: record for record in annotated.records}
    annotated = replace(annotated, records=[told.get(record.id, record) for record in records])
    beside = context.write(args.out, annotated)
    report = account | {"missing": dict(annotated.flags), "records": str(args.out), "provenance": str(beside)}
    done = sum(outcome.value is not None for outcome in outcomes)
    return _finish(args, report, done, min(len(outcomes), math.ceil(args.least * len(outcomes) - 1e-9)))


def _judge(args: argparse.Namespace, records: list[Any]) -> int:
    chosen = judge.sample(records, args.sample, args.seed)
    outcomes, account, name = _asking.collect(args, judge.jobs(chosen, args.model), _asking.provider_of(args))
    write_json_lines(args.out, judge.rows(outcomes, name))
    found = judge.summary(outcomes, args.seed)
    report = account | {"judged": found, "rows_file": str(args.out)}
    if not args.json:
        printed = paper()["supplement_table1"]["rows"]
        for key, title in {**table()["judge"]["metrics"], **judge.VERDICTS}.items():
            ours = found[key]
            value = f"{ours['value']:6.2f} ({ours['low']:.2f} to {ours['high']:.2f})"
            print(f"{title:34s} {value}   paper {printed[title][0]}")
    return _finish(args, report, found["n"], len(chosen))


def _finish(args: argparse.Namespace, report: dict[str, Any], done: int, wanted: int) -> int:
    if args.json:
        print(json.dumps(report))
    else:
        kinds = {name: value for name, value in report.items() if name.endswith("rows")}
        shown = {**report, **{k: ", ".join(f"{n} {status}" for status, n in v.items()) for k, v in kinds.items()}}
        print("\n".join(f"{key}: {value}" for key, value in shown.items() if key != "judged"))
    return 0 if done >= wanted else 1


add_arguments = actions(
    {
        "context": (_context, "situation and quote for each record (ContextFace)", CONTEXT),
        "multiview": (_multiview, "caption, pose, situation, rationale of each person", MULTIVIEW),
        "judge": (_judge, "the four metrics of the paper's supplement on a sample", JUDGE),
    },
    "context|multiview|judge",
)
