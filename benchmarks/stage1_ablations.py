"""Every ablation of the paper, by the commands a user types, in the world of ``emotic_world.py``, over seeds.

    python benchmarks/stage1_ablations.py --faces ../shared/assets/images/london --out out/ablations --seeds 5

Each seed is EMOTIC's published structure (real heads on drawn bodies; ``emo-face data boxes`` finds bodies and faces)
with texts by a planted annotator, who reads the drawing. A tiny InstructBLIP is taught once to name what such pictures
show, no emotion among it; then for each run of :data:`RUNS` ``emo-face data qa``, ``train multiview stage1`` and
``cache``, once ``stage2``, and ``evaluate multiview``, whose report has the rows beside the paper's tables 6 to 9 and
11 to 13. Printed: in how many seeds the paper's orders hold. Killed, the same command goes on.

The paper does not say which tasks its table 13 calls "instruction tuning" and "final instruction tuning": here pose
and situation, then rationale. It says nothing about accuracy on people.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import emotic_world as world
import synthetic_scenes as bench
from emo_face.cli import main as cli
from emo_face.core.types import Box, Face, Person
from emo_face.datasets.qa import templates
from emo_face.datasets.records import read_jsonl, write_jsonl
from fixtures.drawn_people import FACES, PLACES, SHIRTS, Head, draw, heads_of, read_heads

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
ORDERS = {
    **world.ORDERS,
    "classification < + pose (table 7)": ("table7/classification", "table7/+ pose and situation"),
    "+ pose < + rationale (table 7)": ("table7/+ pose and situation", "table7/+ rationale"),
    "unbalanced < balanced (table 8)": ("table8/without balancing", "table8/with balancing"),
    "the same, rare labels (table 9)": ("table9/without balancing", "table9/with balancing"),
}
CAPTION, POSE, SITUATION = "A person in a {0}.", "The shirt is {1}.", "The scene is a {0}."
RATIONALE = "The face is {2} and the shirt is {1}. This suggests {3}."


def call(*words: object) -> None:
    """One command of the package, in this process. Raises SystemExit with its exit code where it fails."""
    text = [str(word) for word in words]
    code = cli.main(text)
    if code:
        raise SystemExit(f"emo-face {' '.join(text)}: exit code {code}")


def lesson(heads: Sequence[Head]) -> bench.Lesson:
    """The place, shirt and face of the world's people, for pre-training."""

    def shown(rng: np.random.Generator) -> tuple[Any, Person, tuple[str, ...]]:
        place, shirt, face = (int(v) for v in rng.integers(0, (4, 4, 2)))
        frame, (left, top, right, bottom) = draw(rng, place, shirt, face, heads[int(rng.integers(len(heads)))])
        body, wide = Box(left, top, right - left, bottom - top), right - left
        own = Face(Box(left + 0.3 * wide, top + 0.15 * wide, 0.4 * wide, 0.45 * wide), 1.0)
        return frame, Person("p", 1.0, body, own), (PLACES[place], SHIRTS[shirt], FACES[face])

    return bench.Lesson((PLACES, SHIRTS, FACES), shown)


def taught(base: Path, heads: Sequence[Head], steps: int) -> None:
    """The tiny model ``base``, pre-trained on people of the training split, if it is not there yet."""
    if not (base / "config.json").is_file():
        said = [CAPTION, POSE, SITUATION, RATIONALE, *PLACES, *SHIRTS, *FACES]
        words = bench.tokenizer([*said, templates.classification_question(["x"], "x", True)])
        log = lambda text: print(text, file=sys.stderr)  # noqa: E731
        bench.pretrain(base, words, steps, log=log, lesson=lesson(heads_of(heads, "train")))
        words.save_pretrained(base)


def told(folder: Path, heads: Sequence[Head], people: int, seed: int) -> Path:
    """``EMOTIC`` and ``records.jsonl``: boxes by the detectors, texts by whoever drew the picture."""
    root, found = world.make(folder / "EMOTIC", heads, people, seed), folder / "boxed.jsonl"
    plain = world.people_of(root, folder / "plain.jsonl", bodies=False)
    call("data", "boxes", "--records", plain, "--images", root, "--to", found)
    cues, records = json.loads((root / "cues.json").read_text()), []
    for record in read_jsonl(found):
        known = (*cues[Path(record.image).name], " and ".join(record.labels))
        texts = {"caption": CAPTION, "pose": POSE, "situation": SITUATION, "rationale": RATIONALE}
        records.append(replace(record, **{name: text.format(*known) for name, text in texts.items()}))
    write_jsonl(folder / "records.jsonl", records)
    return root


def train(run: Run, folder: Path, root: Path, base: Path, epochs: int) -> None:
    """Corpus and Stage 1 of one run; features where a table needs them."""
    out, records = folder / run.name, ("--records", folder / "records.jsonl")
    common = ("--base", base, "--images", root, "--device", "cpu")
    plain = () if run.balance else ("--no-balance",)
    call("data", "qa", *records, "--tasks", run.tasks, *plain, "--to", out / "qa.jsonl")
    how = ("--epochs", epochs, "--batch-size", 16, "--learning-rate", 2e-3, "--learning-rate-end", 1e-5, "--warmup", 20)
    often = ("--validate-every", 10**6, "--save-every", 10**6, "--validation-rows", 64, "--views", *run.views)
    stage1 = ("train", "multiview", "stage1", *common, "--corpus", out / "qa.jsonl", "--out", out / "s1")
    call(*stage1, *how, *often)
    if run.also:
        cache = ("train", "multiview", "cache", *common, *records, "--encoder", out / "s1" / "best")
        call(*cache, "--out", out / "features", "--batch-size", 64)


def one_seed(folder: Path, base: Path, heads: Sequence[Head], people: int, epochs: int, seed: int) -> dict:
    """All runs of one seed and its report; the values of its tables."""
    root = told(folder, heads, people, seed)
    for run in RUNS:
        start = time.process_time()
        train(run, folder, root, base, epochs)
        print(f"seed {seed}, {run.name}: {time.process_time() - start:.0f} CPU-seconds", file=sys.stderr)
    records = ("--records", folder / "records.jsonl", "--cache", folder / "whole" / "features")
    sizes = ("--width", 64, "--epochs", 30, "--batch-size", 64, "--learning-rate", 2e-3, "--seed", seed)
    best = ("--encoder", folder / "whole" / "s1" / "best")
    call("train", "multiview", "stage2", *records, *best, "--out", folder / "model", *sizes)
    more: list[object] = ["--base", base, "--images", root, "--ablations", "--out", folder / "report"]
    for run in RUNS:
        more += ["--vlm", f"{run.step}={folder / run.name / 's1' / 'best'}"] if run.step else []
        more += [part for row in run.also for part in ("--also", f"{row}={folder / run.name / 'features'}")]
    call("evaluate", "multiview", *records, "--model", folder / "model", *more)
    return world.scored(folder / "report", root)


def main() -> int:
    """Exit code 1 where a row of the paper's tables 6 to 9 or 11 to 13 has no value of ours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="folder of pictures NNN_*.jpg of people NNN")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--base", type=Path, help="reuse (or keep) the pre-trained tiny model here")
    parser.add_argument("--people", type=int, default=600, help="of a seed; 70-10-20 (default 600)")
    parser.add_argument("--epochs", type=int, default=2, help="of each Stage 1 (default 2)")
    parser.add_argument("--pretrain-steps", type=int, default=800)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    heads, base = read_heads(args.faces), args.base or args.out / "base"
    taught(base, heads, args.pretrain_steps)
    folders = [args.out / f"seed-{seed}" for seed in range(args.seeds)]
    rows = [one_seed(folder, base, heads, args.people, args.epochs, seed) for seed, folder in enumerate(folders)]
    print(world.printed(rows, ORDERS))
    return max(complete(json.loads((folder / "report" / "report.json").read_text())) for folder in folders)


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
