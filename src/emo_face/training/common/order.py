"""Which rows each micro-batch takes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


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
