"""Who computes shards: processes of this machine, a SLURM cluster by submitit, or a Ray cluster."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from emo_face.core.errors import UserError
from emo_face.runtime.shards import Job, Row, Shard, is_complete, plan, read

RUNNERS = ("local", "submitit", "ray")


class Runner(Protocol):
    """Computes shards somewhere; everything that it must hand over is in their files."""

    def run(self, job: Job[Any], shards: Sequence[Shard[Any]], done: Callable[[Shard[Any]], None]) -> None:
        """Compute every shard and call ``done`` after each. Raises UserError if one cannot be computed."""


def runner(name: str, workers: int, folder: Path) -> Runner:
    """The runner called ``name``.

    Args:
        workers: processes, at least 1. folder: for logs of a cluster, shared by its machines.

    Raises:
        UserError: unknown name, or its package is missing; says how to install it.
    """
    if name not in RUNNERS:
        raise UserError(f"--runner: expected one of {', '.join(RUNNERS)}, got {name!r}")
    if workers < 1:
        raise UserError(f"--workers: expected at least 1, got {workers}")
    made: Runner = import_module(f"emo_face.runtime.runners.{name}").make(workers, folder)
    return made


def run_shards(
    job: Job[Any], items: Sequence[Any], folder: Path, count: int, who: Runner, tick: Callable[[int], None]
) -> list[Row]:
    """Rows of all items, in order; what is complete in ``folder`` is not computed again.

    Args:
        count: shards at most. tick: called with the number of items that are done by now.
    """
    shards = plan(job, items, folder, count)
    missing = [shard for shard in shards if not is_complete(shard)]
    finished = len(items) - sum(len(shard.items) for shard in missing)
    tick(finished)

    def done(shard: Shard[Any]) -> None:
        nonlocal finished
        finished += len(shard.items)
        tick(finished)

    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        who.run(job, missing, done)
    return list(read(shards))
