"""Jobs of a SLURM cluster by submitit (BSD); its own local executor if no SLURM is here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_face.core.errors import UserError
from emo_face.runtime.shards import Job, Shard, compute

HOURS = 24


@dataclass(frozen=True)
class SubmititRunner:
    """``workers`` jobs, each with an equal part of the shards.

    Attributes:
        folder: logs and pickled calls, on a file system that all machines share.
        cluster: None lets submitit choose (SLURM if it is here), ``local`` stays on this machine.
    """

    workers: int
    folder: Path
    cluster: str | None = None

    def run(self, job: Job[Any], shards: Sequence[Shard[Any]], done: Callable[[Shard[Any]], None]) -> None:
        """See :class:`emo_face.runtime.runners.Runner`."""
        import submitit

        executor = submitit.AutoExecutor(folder=self.folder / "submitit", cluster=self.cluster)
        executor.update_parameters(timeout_min=60 * HOURS, name="emo_face", slurm_array_parallelism=self.workers)
        parts = [part for n in range(self.workers) if (part := shards[n :: self.workers])]
        jobs = {executor.submit(_part, job, part): part for part in parts}
        for one in submitit.helpers.as_completed(list(jobs)):
            if one.exception() is not None:
                said = (one.stderr() or "no word").strip().splitlines()[-1][:300]
                raise UserError(f"job {one.job_id} failed: {said}; its log: {one.paths.stderr}")
            for shard in jobs[one]:
                done(shard)


def make(workers: int, folder: Path) -> SubmititRunner:
    """See :func:`emo_face.runtime.runners.runner`. Raises UserError if submitit is missing."""
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UserError("--runner submitit: not installed; pip install submitit") from None
    return SubmititRunner(workers, folder)


def _part(job: Job[Any], shards: Sequence[Shard[Any]]) -> None:
    work = job.worker()
    for shard in shards:
        compute(work, shard)
