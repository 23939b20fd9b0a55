"""Processes of this machine."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from emo_face.core.errors import UserError
from emo_face.runtime.shards import Job, Shard, compute, is_complete

TRIES = 3  # a worker that is killed again and again, by the same picture say, must end with a name
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
WORKER = "EMO_FACE_WORKER"
"""Environment variable of a worker process: its number, from 0. Several GPUs are shared out by it."""

_work: Callable[[Sequence[Any]], Sequence[Any]] | None = None  # of this worker process, loaded once


@dataclass(frozen=True)
class LocalRunner:
    """``workers`` processes; with one, the work is done in this process."""

    workers: int = 1

    def run(self, job: Job[Any], shards: Sequence[Shard[Any]], done: Callable[[Shard[Any]], None]) -> None:
        """See :class:`emo_face.runtime.runners.Runner`. A killed worker is replaced and its shard tried again."""
        if self.workers == 1 or len(shards) == 1:
            work = job.worker()
            for shard in shards:
                compute(work, shard)
                done(shard)
            return
        told: set[Path] = set()
        for _ in range(TRIES):
            if self._round(job, [shard for shard in shards if shard.path not in told], told, done):
                return
        names = ", ".join(shard.path.name for shard in shards if shard.path not in told)
        raise UserError(f"workers were killed {TRIES} times (out of memory?); unfinished: {names}; use fewer --workers")

    def _round(
        self, job: Job[Any], shards: Sequence[Shard[Any]], told: set[Path], done: Callable[[Shard[Any]], None]
    ) -> bool:
        """Compute what is left; False if a worker was killed meanwhile."""
        context = get_context("spawn")  # a fork would share the parent's threads and GPU
        numbers = context.SimpleQueue()
        for number in range(self.workers):
            numbers.put(number)
        with _one_thread(), ProcessPoolExecutor(self.workers, context, _load, (job, numbers)) as pool:
            pending = {pool.submit(_compute, shard): shard for shard in shards}
            try:
                for future in as_completed(pending):
                    future.result()
                    told.add(pending[future].path)
                    done(pending[future])
            except BrokenProcessPool:
                for shard in shards:  # finished between the kill and our hearing of it
                    if shard.path not in told and is_complete(shard):
                        told.add(shard.path)
                        done(shard)
                return False
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return True


def make(workers: int, folder: Path) -> LocalRunner:
    """See :func:`emo_face.runtime.runners.runner`."""
    return LocalRunner(workers)


def _load(job: Job[Any], numbers: Any) -> None:
    global _work
    os.environ[WORKER] = str(numbers.get())
    _work = job.worker()


def _compute(shard: Shard[Any]) -> None:
    assert _work is not None
    compute(_work, shard)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Workers that start meanwhile take one thread each: the processes share the cores, not every library each core."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
