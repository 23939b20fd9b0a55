"""`emo-face train multiview --recipe`: the steps of a recipe, from where an earlier run was killed."""

from __future__ import annotations

import argparse
import gc
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emo_face.cli.main import main
from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.datasets.records import read_jsonl
from emo_face.perception.multiview.encoders import FAMILIES
from emo_face.runtime.files import alone

if TYPE_CHECKING:
    from emo_face.training.multiview.estimate import Need
    from emo_face.training.multiview.pipeline import Journal, Step
    from emo_face.training.multiview.recipe import MultiViewRecipe


def run(args: argparse.Namespace) -> int:
    """Run what is not done yet; exit code of the first step that fails.

    Raises:
        UserError: the recipe is wrong, or another run of it is under way.
    """
    from emo_face.training.multiview import recipe as recipes
    from emo_face.training.multiview.pipeline import Journal, plan

    recipe = recipes.read(args.recipe, changes(args.set))
    steps = plan(recipe)
    if args.dry_run:
        for step in steps:
            print(" ".join(["emo-face", *map(shlex.quote, step.command)]))
        return 0
    out = Path(recipe.run.out)
    with alone(out):
        return _run(recipe, steps, Journal(out))


def changes(settings: Sequence[str]) -> dict[str, str]:
    """``SECTION.FIELD=VALUE`` words. Raises UserError naming what does not fit."""
    found = {}
    for setting in settings:
        path, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting}: expected SECTION.FIELD=VALUE")
        found[path] = value
    return found


def _run(recipe: MultiViewRecipe, steps: Sequence[Step], journal: Journal) -> int:
    first, *later = steps
    if code := _step(recipe, first, journal, 1, len(steps)):
        return code
    needs = _estimate(recipe, first)
    waiting = [step.name for step in later if not journal.done(step)]
    _print_needs(needs, waiting)
    spent, planned = 0.0, 0.0
    for number, step in enumerate(later, 2):
        if journal.done(step):
            print(f"[{number}/{len(steps)}] {step.name}: done before", file=sys.stderr)
            continue
        start = time.monotonic()
        if code := _step(recipe, step, journal, number, len(steps)):
            return code
        spent, planned = spent + time.monotonic() - start, planned + _seconds(needs, [step.name])
        waiting.remove(step.name)
        pace = min(10.0, max(0.1, spent / planned)) if planned > 1 else 1.0
        if waiting:
            left = _time(pace * _seconds(needs, waiting))
            print(f"recipe: about {left} left for {', '.join(waiting)}", file=sys.stderr)
    _tell(recipe)
    return 0


def _tell(recipe: MultiViewRecipe) -> None:
    """What there is now, and the commands that try it."""
    out, tier = Path(recipe.run.out), FAMILIES[recipe.encoder.kind].tier
    print(f"recipe: how well it does: {out / 'report' / 'report.html'}")
    model, base = (out / "export", "") if recipe.export.write else (out / "model", f" --base {recipe.run.base}")
    print(f"recipe: on a picture: emo-face look PICTURE --tier {tier} --model {model}{base}")
    checkpoint = f" --set perception.multiview.base={recipe.run.base}" if base else ""
    words = " --set expression.backend=prototypes" if tier == "full" else ""
    if tier == "full":
        asked = f'--ask "Why is the person feeling this way?" --base {recipe.run.base}'
        print(f"recipe: in words: emo-face look PICTURE {asked} --stage1 {out / 'stage1' / 'best'}")
    print(f"recipe: on a robot: emo-face up --tier {tier} --set perception.multiview.folder={model}{checkpoint}{words}")


def _step(recipe: MultiViewRecipe, step: Step, journal: Journal, number: int, count: int) -> int:
    """Run one command and note it; its exit code."""
    command = step.command
    print(f"[{number}/{count}] emo-face {' '.join(map(shlex.quote, command))}", file=sys.stderr, flush=True)
    start = time.monotonic()
    if step.name in ("stage1", "adapt") and recipe.run.processes > 1:
        launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(recipe.run.processes)]
        words = [*launcher, "-m", "emo_face.cli.main"]
        code = subprocess.run([sys.executable, *words, *command], check=False).returncode
    else:
        code = main(command)
    gc.collect()  # a language model of 7 billion weights must not stay for the next step
    if code:
        print(f"recipe: step {step.name} ended with exit code {code}; run the same command again", file=sys.stderr)
        return code
    journal.finished(step, time.monotonic() - start)
    return 0


def _estimate(recipe: MultiViewRecipe, records: Step) -> dict[str, Need]:
    import torch

    from emo_face.training.multiview import estimate

    found = list(read_jsonl(records.outputs[0]))
    shape = estimate.shapes(recipe, Path(recipe.run.base))
    device = recipe.run.device or ("cuda" if torch.cuda.is_available() else "cpu")
    rate = estimate.matrix_rate(device)
    return estimate.estimate(recipe, found, shape, rate, len(label_set(recipe.head.label_set)))


def _print_needs(needs: Mapping[str, Need], waiting: Sequence[str]) -> None:
    print("estimate (texts apart):", file=sys.stderr)
    for name in waiting:
        if name in needs:
            need = needs[name]
            size = f"{need.memory / 1e9:6.1f} GB memory, {need.disk / 1e9:6.1f} GB disk"
            print(f"  {name:8s} {_time(need.seconds):>9s}, {size}", file=sys.stderr)
    print(f"  together {_time(_seconds(needs, waiting)):>9s}", file=sys.stderr, flush=True)


def _seconds(needs: Mapping[str, Need], names: Sequence[str]) -> float:
    return sum(needs[name].seconds for name in names if name in needs)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
