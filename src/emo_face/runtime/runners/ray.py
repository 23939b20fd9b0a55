"""Actors of a Ray cluster by Ray Data; on one machine, processes of it. Run by hand with 2.60, not in the tests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_face.core.errors import UserError
from emo_face.runtime.shards import Job, Shard, compute


class _Worker:
    """Loads the model once per actor; Ray makes as many as it may."""

    def __init__(self, job: Job[Any], shards: Sequence[Shard[Any]]) -> None:
        self._work, self._shards = job.worker(), shards

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        compute(self._work, self._shards[int(row["item"])])
        return row


@dataclass(frozen=True)
class RayRunner:
    """``workers`` actors; an actor that dies is replaced by Ray and its shards are computed again."""

    workers: int

    def run(self, job: Job[Any], shards: Sequence[Shard[Any]], done: Callable[[Shard[Any]], None]) -> None:
        """See :class:`emo_face.runtime.runners.Runner`."""
        import ray

        ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level="warning")
        ray.data.DataContext.get_current().enable_progress_bars = False  # ours counts people
        numbers = ray.data.from_items(list(range(len(shards))), override_num_blocks=len(shards))
        actors = ray.data.ActorPoolStrategy(size=self.workers)
        arguments = {"fn_constructor_args": (job, tuple(shards)), "num_cpus": 1}
        try:
            for row in numbers.map(_Worker, compute=actors, **arguments).iter_rows():
                done(shards[int(row["item"])])
        except ray.exceptions.RayTaskError as error:
            raise UserError(f"a Ray worker failed: {str(error).strip().splitlines()[-1][:300]}") from None


def make(workers: int, folder: Path) -> RayRunner:
    """See :func:`emo_face.runtime.runners.runner`. Raises UserError if ray is missing."""
    try:
        import ray.data  # noqa: F401
    except ImportError:
        raise UserError('--runner ray: not installed; pip install "ray[data]"') from None
    return RayRunner(workers)
