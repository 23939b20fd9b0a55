"""What the runners of ``emo-face train multiview cache`` are worth: people per second of each, and its cost of a shard.

Run by ``python benchmarks/multiview.py --runners``. Rates count from the first shard that is done to the last, as
starting (imports, loading the encoder) is paid once however long the work is; it is printed apart. Jobs of a cluster
tell of their shards at their end, so their rate has the start in it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from emo_face.core.errors import UserError
from emo_face.datasets.encode import OnDisk
from emo_face.datasets.features import FeatureCache
from emo_face.datasets.views import Pictures
from emo_face.perception.multiview.checkpoint import save_encoder
from emo_face.perception.multiview.fingerprint import fingerprint
from emo_face.runtime.runners import RUNNERS, run_shards, runner
from emo_face.runtime.shards import Job, JsonLines, Row, RowFile
from fixtures import scenes as synthetic_scenes

EMPTY = 64
"""Shards of the job that does nothing."""


@dataclass(frozen=True)
class Nothing(Job[int]):
    """A row per number and no work: what is left is the runner's own."""

    form: ClassVar[RowFile] = JsonLines()
    key: str = "nothing"

    def item_key(self, item: int) -> str:
        """See :class:`emo_face.runtime.shards.Job`."""
        return str(item)

    def worker(self) -> Callable[[Sequence[int]], Sequence[Row]]:
        """See :class:`emo_face.runtime.shards.Job`."""
        return lambda items: [{"item": item} for item in items]


@dataclass
class Pace:
    """Ticks of a job: when how much was done."""

    start: float
    ticks: list[tuple[float, int]]

    @staticmethod
    def now() -> Pace:
        """Start the clock."""
        return Pace(time.perf_counter(), [])

    def tick(self, done: int) -> None:
        """Note how much is done; nothing at the start of a fresh job."""
        if done:
            self.ticks.append((time.perf_counter(), done))

    @property
    def rate(self) -> float:
        """Things per second from the first tick to the last; with the start if all came at once, as a job's do."""
        (first, some), (last, whole) = self.ticks[0], self.ticks[-1]
        if last - first < (first - self.start) / 10:
            return whole / (last - self.start)
        return (whole - some) / (last - first)

    @property
    def start_seconds(self) -> float:
        """Until the first shard was done."""
        return self.ticks[0][0] - self.start


def saved(folder: Path, tower: Any, config: Any) -> tuple[Path, Path]:
    """(checkpoint, encoder) folders of an image tower, as ``adapt`` leaves them."""
    from emo_face.perception.multiview.encoders.siglip2 import Siglip2Encoder

    tower.save_pretrained(folder / "base")
    save_encoder(folder / "encoder", Siglip2Encoder(tower, config), str(folder / "base"))
    return folder / "base", folder / "encoder"


def ways() -> list[tuple[str, str, int, int]]:
    """Name, runner, workers and threads of this process."""
    every = os.cpu_count() or 1
    found = [("1 process, 1 thread", "local", 1, 1), (f"1 process, {every} threads", "local", 1, every)]
    for name in RUNNERS:
        try:
            runner(name, 2, Path("."))
        except UserError:
            continue
        found.append((f"2 {name}", name, 2, 1))
    return found


def measure(
    folder: Path, tower: Any, config: Any, people: int, shards: int, only: Sequence[str] = ()
) -> dict[str, Any]:
    """Way -> people per second, seconds until the first shard, and milliseconds that an empty shard takes."""
    base, encoder = saved(folder, tower, config)
    records = synthetic_scenes.make(folder / "data", people, 0)
    pictures = Pictures.of(folder / "data", config, records)
    files, threads, found = fingerprint(encoder, base), torch.get_num_threads(), {}
    for name, kind, workers, own in ways():
        if only and name not in only:
            continue
        torch.set_num_threads(own)
        pace, empty = Pace.now(), Pace.now()
        out = folder / name.replace(" ", "_").replace(",", "")
        source = OnDisk(encoder, base, "float32", "cpu", files)
        FeatureCache(out, source, files).build(records, pictures, 4, shards, runner(kind, workers, out), pace.tick)
        empty.start = time.perf_counter()
        who = runner(kind, workers, out / "logs")
        run_shards(Nothing(), list(range(EMPTY)), out / "nothing", EMPTY, who, empty.tick)
        found[name] = {
            "people_per_s": pace.rate,
            "start_s": pace.start_seconds,
            "ms_a_shard": 1000 / empty.rate if empty.rate else 0.0,
        }
    torch.set_num_threads(threads)
    return found


def printed(found: dict[str, Any]) -> str:
    """A line per way; the gain over one process with one thread."""
    one = next(iter(found.values()))["people_per_s"]
    lines = []
    for name, row in found.items():
        gain = f"{row['people_per_s'] / one:.2f}x" if one else "-"
        lines.append(
            f"{name:22s} {row['people_per_s']:8.2f} people/s {gain:>6s}, first shard after {row['start_s']:5.1f} s, "
            f"{row['ms_a_shard']:6.1f} ms a shard of nothing"
        )
    return "\n".join(lines)
