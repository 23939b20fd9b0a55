"""Flags of the exports: ``--precision``, and ``--tensorrt``, which builds the engines of what was written."""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from emo_face.core.arguments import option
from emo_face.core.errors import UserError
from emo_face.perception.engines import Target
from emo_face.runtime.engines.base import EngineUnavailable
from emo_face.runtime.engines.cache import EngineCache
from emo_face.runtime.engines.plan import PRECISIONS
from emo_face.runtime.engines.tensorrt.load import make

add_flag = option("--tensorrt", action="store_true", help="then build the TensorRT engines on this GPU")


add_precision = option(
    "--precision",
    choices=PRECISIONS,
    default="fp32",
    help="fp16: for Jetson and every GPU; bf16: the range of float32, for Ampere and later (default: fp32)",
)


def build(targets: Iterable[Target], cache: EngineCache | None = None, again: bool = False) -> list[dict[str, Any]]:
    """Build or find the engine of each target; one row per target with ``parity`` of every output.

    Raises:
        UserError: an engine that can be built here was not, or differs from ONNX; no CUDA or no TensorRT.
    """
    return [_one(target, cache or EngineCache(), again) for target in targets if not _said_cpu_only(target)]


def _said_cpu_only(target: Target) -> bool:
    if target.plan.cpu_only:
        print(f"{target.plan.name}: stays on the CPU: {target.plan.cpu_only}", file=sys.stderr)
    return bool(target.plan.cpu_only)


def _one(target: Target, cache: EngineCache, again: bool) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[phase]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(target.plan.name, total=None, phase="")

        def step(phase: str, done: int, total: int) -> bool:
            bar.update(task, completed=done, total=total or None, phase=phase)
            return True

        try:
            built = make(target.path, target.plan, cache, lambda text: bar.console.print(text), step, again)
        except EngineUnavailable as error:
            raise UserError(f"{target.plan.name}: {error}") from None
    built.engine.close()
    worst = max((row.relative for row in built.parity), default=0.0)
    return {
        "model": target.plan.name,
        "engine": str(built.path),
        "fresh": built.fresh,
        "kept": built.kept,
        "seconds": round(built.seconds, 1),
        "largest_relative_difference": worst,
    }


def shown(row: Mapping[str, Any]) -> str:
    """One line about a built engine."""
    how = f"built in {row['seconds']} s" if row["fresh"] else "was there"
    kept = "" if row["kept"] else " (not kept: the disk is full)"
    return f"{row['model']}: {how}{kept}, {row['largest_relative_difference']:.1e} from ONNX, {row['engine']}"


def tell(args: argparse.Namespace, rows: Sequence[Mapping[str, Any]], form: str, targets: Iterable[Target]) -> None:
    """Print what was written, each row by ``form``, and with ``--tensorrt`` the engines then built of ``targets``; with
    ``--json`` both as one list and nothing else."""
    for row in () if args.json else rows:
        print(form.format(**row))
    engines = build(targets) if args.tensorrt else []
    for line in [json.dumps([*rows, *engines])] if args.json else map(shown, engines):
        print(line)
