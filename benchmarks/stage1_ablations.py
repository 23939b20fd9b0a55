"""Every ablation of the paper that needs another Stage 1, by the commands a user types, on synthetic scenes.

    python benchmarks/stage1_ablations.py --out out/ablations [--base DIR] [--people 600]

Makes scenes, teaches a tiny InstructBLIP to name what it sees, and then for each run calls ``emo-face data qa``,
``emo-face train multiview stage1`` and ``cache``; ``stage2`` once; and ``emo-face evaluate multiview`` at the end,
whose report.html has all rows beside the paper's tables 6 to 9 and 11 to 13. Runs that are there already are kept.

The paper does not say which tasks its table 13 calls "instruction tuning" and "final instruction tuning": here pose
and situation, then rationale. A tiny model on drawn people shows that the switches work, not who is right.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import synthetic_scenes as bench
from emo_face.cli import main as cli
from emo_face.datasets import synthetic_scenes as scenes
from emo_face.datasets.records import write_jsonl

WHOLE = ("scene", "body", "face")
TOLD = "classification,caption,pose,situation"


@dataclass(frozen=True)
class Run:
    """One Stage 1: its corpus and views, its row of table 13, and the rows of tables 7 and 8 its features fill."""

    name: str
    tasks: str
    views: tuple[str, ...] = WHOLE
    balance: bool = True
    step: str = ""
    also: tuple[str, ...] = ()


RUNS = (
    Run("scene", "classification", ("scene",), False, "Category classification (scene only)"),
    Run("caption", "classification,caption", ("scene",), False, "+ caption-guided prompt"),
    Run("body", "classification,caption", ("scene", "body"), False, "+ person module"),
    Run("tuned", TOLD, ("scene", "body"), True, "+ data balancing and instruction tuning"),
    Run("classification", "classification,caption", also=("table7/classification",)),
    Run("face", TOLD, step="+ face module", also=("table7/+ pose and situation",)),
    Run("unbalanced", f"{TOLD},rationale", balance=False, also=("table8/without balancing",)),
    Run(
        "whole",
        f"{TOLD},rationale",
        step="+ final instruction tuning",
        also=("table7/+ rationale", "table8/with balancing"),
    ),
)
CAPTION = "A person in a {place}."


def call(*words: object) -> None:
    """One command of the package, in this process. Raises SystemExit with its exit code where it fails."""
    text = [str(word) for word in words]
    code = cli.main(text)
    if code:
        raise SystemExit(f"emo-face {' '.join(text)}: exit code {code}")


def world(out: Path, people: int, base: Path, steps: int) -> None:
    """``data`` (records with captions) and the pre-trained tiny model ``base``, where they are not there yet."""
    if not (out / "data" / "records.jsonl").is_file():
        made = scenes.make(out / "data", people, 0)
        told = [replace(r, caption=CAPTION.format(place=r.situation.split()[-1].rstrip("."))) for r in made]
        write_jsonl(out / "data" / "records.jsonl", told)
    if not (base / "config.json").is_file():
        words = bench.tokenizer([CAPTION, bench.templates.classification_question(["x"], "x", True)])
        bench.pretrain(base, words, steps, log=lambda text: print(text, file=sys.stderr))
        words.save_pretrained(base)


def train(run: Run, out: Path, base: Path, epochs: int) -> None:
    """Corpus and Stage 1 of one run; features where a table needs them."""
    folder = out / run.name
    records = ("--records", out / "data" / "records.jsonl")
    common = ("--base", base, "--images", out / "data", "--device", "cpu")
    plain = () if run.balance else ("--no-balance",)
    call("data", "qa", *records, "--tasks", run.tasks, *plain, "--to", folder / "qa.jsonl")
    schedule = (
        "--epochs",
        epochs,
        "--batch-size",
        16,
        "--learning-rate",
        2e-3,
        "--learning-rate-end",
        1e-5,
        "--warmup",
        20,
    )
    often = ("--validate-every", 10**6, "--save-every", 10**6, "--validation-rows", 64, "--views", *run.views)
    call(
        "train",
        "multiview",
        "stage1",
        *common,
        "--corpus",
        folder / "qa.jsonl",
        "--out",
        folder / "s1",
        *schedule,
        *often,
    )
    if run.also:
        encoder = ("--encoder", folder / "s1" / "best")
        call(
            "train", "multiview", "cache", *common, *records, *encoder, "--out", folder / "features", "--batch-size", 64
        )


def main() -> int:
    """Exit code 1 where a row of the paper's tables 6 to 9 or 11 to 13 has no value of ours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", type=Path, help="reuse (or keep) the pre-trained tiny model here")
    parser.add_argument("--people", type=int, default=600, help="70-10-20 (default 600)")
    parser.add_argument("--epochs", type=int, default=2, help="of each Stage 1 (default 2)")
    parser.add_argument("--pretrain-steps", type=int, default=1200)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    out, base = args.out, args.base or args.out / "base"
    world(out, args.people, base, args.pretrain_steps)
    for run in RUNS:
        start = time.process_time()
        train(run, out, base, args.epochs)
        print(f"{run.name}: {time.process_time() - start:.0f} CPU-seconds", file=sys.stderr)
    records = ("--records", out / "data" / "records.jsonl", "--cache", out / "whole" / "features")
    best = out / "whole" / "s1" / "best"
    sizes = ("--width", 64, "--epochs", 20, "--batch-size", 64, "--learning-rate", 2e-3)
    call("train", "multiview", "stage2", *records, "--encoder", best, "--out", out / "model", *sizes)
    more: list[object] = ["--base", base, "--images", out / "data", "--ablations", "--out", out / "report"]
    for run in RUNS:
        more += ["--vlm", f"{run.step}={out / run.name / 's1' / 'best'}"] if run.step else []
        more += [part for row in run.also for part in ("--also", f"{row}={out / run.name / 'features'}")]
    call("evaluate", "multiview", *records, "--model", out / "model", *more)
    return complete(json.loads((out / "report" / "report.json").read_text()))


def complete(report: dict) -> int:
    """0 where every row of the ablation tables has a value; names those that have none."""
    from emo_face.evaluation.multiview.tables import paper

    tables = paper()
    empty = [
        f"{table}/{row}"
        for table in ("table6", "table7", "table8", "table9", "table11", "table12")
        for row in tables[table]["rows"]
        if row not in report["ablations"].get(table, {})
    ]
    empty += [f"table13/{row}" for row in tables["table13"]["rows"] if row not in report["vlm"]]
    for row in empty:
        print(f"no value for {row}", file=sys.stderr)
    return 1 if empty else 0


if __name__ == "__main__":
    sys.exit(main())
