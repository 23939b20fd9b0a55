"""The progress of a long command, with the time it still needs: a bar on a terminal, else a line per minute on stderr.

Downloads (bytes per second) and TensorRT's builds (phases without a total) draw rich's bars with other columns.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Tick = Callable[..., None]
"""``tick(done)`` or ``tick(done, loss)``; ``done`` counts from 0 to the total."""
EVERY = 60.0
"""Seconds between two lines when nobody watches."""


@contextmanager
def bar(text: str, total: int, done: int = 0, show: bool = True) -> Iterator[Tick]:
    """Yield :data:`Tick` for a task of ``total`` parts of which ``done`` were done before; ``show``: not silent."""
    if not show:
        yield _silent
    elif sys.stderr.isatty():
        with _drawn(text, total, done) as tick:
            yield tick
    else:
        yield _Lines(text, total, done).tick


def track(items: Iterable[Item], text: str, total: int | None = None) -> Iterator[Item]:
    """Iterate with a bar; ``total`` for items that have no length."""
    count = total if total is not None else len(items) if isinstance(items, Sequence) else 0
    with bar(text, count) as tick:
        for done, item in enumerate(items, 1):
            yield item
            tick(done)


def _silent(done: int, loss: float | None = None) -> None:
    pass


@contextmanager
def _drawn(text: str, total: int, done: int) -> Iterator[Tick]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(text, total=total, completed=done)

        def tick(done: int, loss: float | None = None) -> None:
            progress.update(task, completed=done, description=text if loss is None else f"{text} loss {loss:.4f}")

        yield tick


class _Lines:
    """``text: 1200 of 5000, loss 0.4321, 7 min left`` at most every :data:`EVERY` seconds."""

    def __init__(self, text: str, total: int, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._text, self._total, self._first, self._clock = text, total, done, clock
        self._start = self._last = clock()

    def tick(self, done: int, loss: float | None = None) -> None:
        now = self._clock()
        if now - self._last < EVERY or done <= self._first:
            return
        self._last = now
        left = (now - self._start) / (done - self._first) * max(0, self._total - done)
        note = "" if loss is None else f", loss {loss:.4f}"
        print(f"{self._text}: {done} of {self._total}{note}, {left / 60:.0f} min left", file=sys.stderr, flush=True)
