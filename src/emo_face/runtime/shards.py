"""Long work cut into shards: files that are written whole or not at all, whoever computes them.

A shard's file name is a hash of the job's key (models, settings, format) and of its items' keys: a killed, doubled or
moved worker loses and repeats nothing, a changed record or model computes only what depends on it, and every runner
gives the same rows. Workers on several machines need one file system with POSIX locks (ext4, NFS 4, Lustre).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from emo_face.core.errors import UserError
from emo_face.runtime.files import replacing

Item = TypeVar("Item")
Row = dict[str, Any]
LOCKS = ".locks"
LOCK_RANGE = 1 << 31  # one byte of the lock file per shard
END = "end of shard"


class Job(ABC, Generic[Item]):
    """What is computed: picklable, and equal on every worker.

    ``key`` names everything that results depend on besides the items. A subclass is a frozen dataclass.
    """

    @property
    @abstractmethod
    def key(self) -> str:
        """Models by hash, settings, version of the format."""

    @abstractmethod
    def item_key(self, item: Item) -> str:
        """What the rows of ``item`` depend on."""

    @abstractmethod
    def worker(self) -> Callable[[Sequence[Item]], Sequence[Row]]:
        """Load models once per process; what is returned turns the items of one shard into rows.

        A row with the key ``error`` is kept, and its shard is computed again by the next run.
        """


@dataclass(frozen=True)
class Shard(Generic[Item]):
    """Some items and the file that holds their rows when they are done."""

    path: Path
    items: tuple[Item, ...]


def plan(job: Job[Item], items: Sequence[Item], folder: Path, count: int) -> list[Shard[Item]]:
    """Cut ``items`` into at most ``count`` shards of equal length, in order. Raises UserError for a count below 1."""
    if count < 1:
        raise UserError(f"--shards: expected at least 1, got {count}")
    size = max(1, -(-len(items) // count))
    shards = []
    for start in range(0, len(items), size):
        part = tuple(items[start : start + size])
        digest = hashlib.sha256(json.dumps([job.key, *map(job.item_key, part)]).encode()).hexdigest()
        shards.append(Shard(folder / f"{digest[:24]}.jsonl", part))
    return shards


def compute(work: Callable[[Sequence[Item]], Sequence[Row]], shard: Shard[Item]) -> None:
    """Write the shard's file unless it is complete; a second worker on the same shard waits for the first."""
    if is_complete(shard.path):
        return
    with _locked(shard.path):
        if not is_complete(shard.path):
            rows = work(shard.items)
            errors = sum("error" in row for row in rows)
            lines = [*rows, {END: len(rows), "errors": errors}]
            with replacing(shard.path) as scratch:
                scratch.write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")


def is_complete(path: Path) -> bool:
    """Whether the file holds every row and none that failed: a file cut by a full disk or a crash does not."""
    try:
        *_, last = _lines(path)
        return bool(last[END] == sum(1 for _ in _lines(path)) - 1 and last["errors"] == 0)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read(shards: Sequence[Shard[Any]]) -> Iterator[Row]:
    """The rows of all shards in the items' order. Raises UserError naming a shard that is missing or cut."""
    for shard in shards:
        try:
            *rows, last = _lines(shard.path)
            whole = last[END] == len(rows)
        except (OSError, ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise UserError(f"{shard.path}: missing or cut; run the same command again, finished shards are kept")
        yield from rows


def _lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / LOCKS).open("ab") as file:
        start = int(path.stem[:12], 16) % LOCK_RANGE
        fcntl.lockf(file, fcntl.LOCK_EX, 1, start)
        try:
            yield
        finally:
            fcntl.lockf(file, fcntl.LOCK_UN, 1, start)
