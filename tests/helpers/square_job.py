"""A small job for the tests of shards and runners: squares, each worker leaving a trace of what it computed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_face.runtime.shards import Job


@dataclass(frozen=True)
class Squares(Job[int]):
    """``trace``: a file that gets one line per item. ``poison``: the item whose worker dies, once or ``always``."""

    trace: Path
    model: str = "a"
    pause: float = 0.0
    poison: int = -1
    always: bool = False

    @property
    def key(self) -> str:
        return self.model

    def item_key(self, item: int) -> str:
        return str(item)

    def worker(self) -> Callable[[Sequence[int]], Sequence[dict[str, Any]]]:
        return self._squares

    def _squares(self, items: Sequence[int]) -> Sequence[dict[str, Any]]:
        rows = []
        for item in items:
            if item == self.poison and (self.always or not self.trace.with_suffix(".died").exists()):
                self.trace.with_suffix(".died").touch()
                os._exit(9)
            time.sleep(self.pause)
            with self.trace.open("a", encoding="utf-8") as out:
                out.write(f"{item}\n")
            rows.append({"item": item, "square": item * item})
        return rows


def main(folder: str, trace: str) -> None:
    """Forty items in twenty shards by two workers; what the tests kill."""
    from emo_face.runtime.runners import run_shards
    from emo_face.runtime.runners.local import LocalRunner

    run_shards(Squares(Path(trace), pause=0.01), range(40), Path(folder), 20, LocalRunner(1), lambda done: None)


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
