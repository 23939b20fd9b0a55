"""Long work cut into shards: files that are written whole or not at all, whoever computes them.

A shard's file name is a hash of the job's key (models, settings, format) and of its items' keys: a killed, doubled or
moved worker loses and repeats nothing, a changed record or model computes only what depends on it, and every runner
gives the same rows. Workers on several machines need one file system with POSIX locks (ext4, NFS 4, Lustre).
"""

import fcntl
import hashlib
import json
import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from emo_face.core.errors import UserError
from emo_face.runtime.files import replacing

Item = TypeVar("Item")
Row = dict[str, Any]
LOCKS = ".locks"
LOCK_RANGE = 1 << 31  # one byte of the lock file per shard
FLOCK = "hhqqi4x"  # Linux's struct flock: type, whence, start, length, process (0)
END = "end of shard"
CUT = (OSError, ValueError, KeyError, TypeError)
"""What reading a shard that is missing or cut raises."""


class RowFile(Protocol):
    """How the rows of a shard lie in a file. What reads raises one of :data:`CUT` if it is missing or cut."""

    suffix: str

    def write(self, path: Path, rows: Sequence[Row]) -> None: ...

    def read(self, path: Path) -> list[Row]: ...

    def failed(self, path: Path) -> int:
        """How many rows of a whole file have the key ``error``."""


class JsonLines:
    """One JSON object per row, and a last line that counts them."""

    suffix = ".jsonl"

    def write(self, path: Path, rows: Sequence[Row]) -> None:
        """See :class:`RowFile`."""
        lines = [*rows, {END: len(rows), "errors": sum("error" in row for row in rows)}]
        path.write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")

    def read(self, path: Path) -> list[Row]:
        """See :class:`RowFile`."""
        with path.open(encoding="utf-8") as lines:
            *rows, last = map(json.loads, lines)
        if last[END] != len(rows):
            raise ValueError(f"{path}: {len(rows)} rows of {last[END]}")
        return rows

    def failed(self, path: Path) -> int:
        """See :class:`RowFile`."""
        return sum("error" in row for row in self.read(path))


class Job(ABC, Generic[Item]):
    """What is computed: picklable, and equal on every worker.

    ``key`` names everything that results depend on besides the items. A subclass is a frozen dataclass.
    """

    form: ClassVar[RowFile] = JsonLines()

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
    form: RowFile


def plan(job: Job[Item], items: Sequence[Item], folder: Path, count: int) -> list[Shard[Item]]:
    """Cut ``items`` into at most ``count`` shards of equal length, in order. Raises UserError for a count below 1."""
    if count < 1:
        raise UserError(f"--shards: expected at least 1, got {count}")
    size = max(1, -(-len(items) // count))
    shards = []
    for start in range(0, len(items), size):
        part = tuple(items[start : start + size])
        digest = hashlib.sha256(json.dumps([job.key, *map(job.item_key, part)]).encode()).hexdigest()
        shards.append(Shard(folder / f"{digest[:24]}{job.form.suffix}", part, job.form))
    return shards


def compute(work: Callable[[Sequence[Item]], Sequence[Row]], shard: Shard[Item]) -> None:
    """Write the shard's file unless it is complete; a second worker on the same shard waits for the first."""
    if is_complete(shard):
        return
    with _locked(shard.path):
        if not is_complete(shard):
            rows = work(shard.items)
            with replacing(shard.path) as scratch:
                shard.form.write(scratch, rows)


def is_complete(shard: Shard[Any]) -> bool:
    """Whether the file holds every row and none that failed: a file cut by a full disk or a crash does not."""
    try:
        return shard.form.failed(shard.path) == 0
    except CUT:
        return False


def read(shards: Sequence[Shard[Any]]) -> Iterator[Row]:
    """The rows of all shards in the items' order. Raises UserError naming a shard that is missing or cut."""
    for shard in shards:
        try:
            rows = shard.form.read(shard.path)
        except CUT:
            raise UserError(
                f"{shard.path}: missing or cut; run the same command again, finished shards are kept"
            ) from None
        yield from rows


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone with one shard. The lock is of this opening of the file and ends with it: ``lockf``'s are of the process,
    so that two threads both get one, and closing any other opening loses it (fcntl(2), "Open file description locks").
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    start = int(path.stem[:12], 16) % LOCK_RANGE
    with (path.parent / LOCKS).open("ab") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLKW, struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0))
        yield
