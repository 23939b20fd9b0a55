"""Which rows each micro-batch takes, and batches collated ahead of their turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Row = TypeVar("Row")
Rows = TypeVar("Rows")


def prefetch(collate: Callable[[Sequence[Row]], Rows], batches: Iterable[Sequence[Row]], depth: int) -> Iterator[Rows]:
    """Collate ``depth`` batches ahead in threads (decoding releases the interpreter lock); the order stays."""
    with ThreadPoolExecutor(max_workers=max(1, depth)) as pool:
        waiting: deque[Future[Rows]] = deque()
        for rows in batches:
            waiting.append(pool.submit(collate, rows))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@dataclass(frozen=True)
class Order:
    """Which rows each step of each process takes: a function of (seed, epoch) alone, so that a run can resume.

    The last batch is filled up from the start of the permutation, so that all processes step together.
    """

    n: int
    batch: int
    seed: int = 0
    rank: int = 0
    world: int = 1

    @property
    def steps(self) -> int:
        """Micro-batches of one epoch on each process."""
        return -(-self.n // (self.batch * self.world))

    def epoch(self, number: int, start: int = 0) -> Iterator[list[int]]:
        """Row numbers of each micro-batch from ``start`` on."""
        order = np.random.default_rng([self.seed, number]).permutation(self.n)
        wide = self.batch * self.world
        order = np.resize(order, self.steps * wide)
        for step in range(start, self.steps):
            first = step * wide + self.rank * self.batch
            yield order[first : first + self.batch].tolist()
