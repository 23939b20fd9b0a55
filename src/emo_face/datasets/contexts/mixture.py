"""Micro-batches out of several tasks: one task each, in fixed ratios, over the whole data, resumable exactly.

Everything is a function of (seed, number of the micro-batch), so a run that was stopped goes on with one integer.
Paper, section 3.2: "each batch contained samples from a single dataset randomly selected according to fixed ratios".
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import UserError

T = TypeVar("T")
RATIOS: Mapping[str, float] = {"situation": 0.3, "expression": 0.4, "vqa": 0.3}
"""Shares of micro-batches in the released code (its lines 43 to 45)."""
BLOCK = 10
"""Micro-batches within which the ratios hold (to one); their order inside is random."""


class Mixture(Generic[T]):
    """Micro-batches by number: ``mixture[k]`` is a list of ``batch`` samples of one task, for k = 0, 1, 2, ...

    A task's samples come in a new random order each time round, each of them once before any comes again. An epoch is
    as many micro-batches as it takes until every sample of every task was seen; smaller tasks come round more often.

    Args:
        tasks: name -> samples; a task with a ratio of 0 is left out. ratios: shares, scaled to sum to 1.
        batch: samples in a micro-batch. seed: of all orders.

    Raises:
        UserError: no task left, a task without samples, a ratio that is negative or names no task, batch below 1.
    """

    def __init__(
        self, tasks: Mapping[str, Sequence[T]], ratios: Mapping[str, float] = RATIOS, batch: int = 4, seed: int = 0
    ) -> None:
        if unknown := sorted(set(ratios) - set(tasks)):
            raise UserError(f"mixture: ratio for {unknown[0]!r}, tasks are {', '.join(tasks)}")
        if any(not (math.isfinite(r) and r >= 0) for r in ratios.values()) or not sum(ratios.values()):
            raise UserError(f"mixture: ratios must not be negative and one must be over 0, got {dict(ratios)}")
        if batch < 1:
            raise UserError(f"mixture: batch must be at least 1, got {batch}")
        self.tasks = {name: samples for name, samples in tasks.items() if ratios.get(name, 0) > 0}
        if empty := [name for name, samples in self.tasks.items() if not len(samples)]:
            raise UserError(f"mixture: task {empty[0]!r} has a ratio but no samples; give it data or the ratio 0")
        self.names = tuple(self.tasks)
        total = sum(ratios[name] for name in self.names)
        self.shares = tuple(ratios[name] / total for name in self.names)
        self.batch, self.seed = batch, seed
        self._before: list[tuple[int, ...]] = [(0,) * len(self.names)]
        self._block = lru_cache(64)(self._make_block)
        self._order = lru_cache(2 * len(self.names) + 2)(self._make_order)

    def __len__(self) -> int:
        """Micro-batches of one epoch."""
        return max(self._reach(i, math.ceil(len(self.tasks[n]) / self.batch)) for i, n in enumerate(self.names))

    def __getitem__(self, number: int) -> list[T]:
        """The samples of micro-batch ``number`` (0, 1, ...; not bounded by the epoch)."""
        name, indices = self.plan(number)
        return [self.tasks[name][i] for i in indices]

    def plan(self, number: int) -> tuple[str, tuple[int, ...]]:
        """Task of a micro-batch and which of its samples. Raises IndexError below 0."""
        if number < 0:
            raise IndexError(f"mixture: micro-batch {number}")
        block, place = divmod(number, BLOCK)
        before, order = self._block(block)
        task = order[place]
        drawn = before[task] + order[:place].count(task)
        size = len(self.tasks[self.names[task]])
        first = drawn * self.batch
        places = (divmod(i, size) for i in range(first, first + self.batch))
        return self.names[task], tuple(int(self._order(task, turn)[at]) for turn, at in places)

    def state(self, number: int) -> dict[str, Any]:
        """What a checkpoint at micro-batch ``number`` must share with the run that goes on; plain JSON."""
        sizes = {name: len(samples) for name, samples in self.tasks.items()}
        shares = dict(zip(self.names, self.shares, strict=True))
        return {"next": number, "seed": self.seed, "batch": self.batch, "sizes": sizes, "shares": shares}

    def _until(self, block: int) -> tuple[int, ...]:
        """Micro-batches of each task before ``block``: each goes to the task that is furthest behind its share."""
        while len(self._before) <= block:
            counts, number = list(self._before[-1]), BLOCK * (len(self._before) - 1)
            for done in range(number + 1, number + BLOCK + 1):
                # rounded, so that 0.3 + 0.1 and 0.4 tie and the first task wins on every machine
                counts[max(range(len(counts)), key=lambda i: (round(self.shares[i] * done - counts[i], 9), -i))] += 1
            self._before.append(tuple(counts))
        return self._before[block]

    def _make_block(self, block: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Micro-batches of each task before a block, and the tasks in it, shuffled."""
        before, after = self._until(block), self._until(block + 1)
        tasks = [i for i in range(len(self.names)) for _ in range(after[i] - before[i])]
        rng = np.random.default_rng([self.seed, 1, block])
        return before, tuple(int(i) for i in rng.permutation(tasks))

    def _reach(self, task: int, wanted: int) -> int:
        """Micro-batches after which a task was drawn ``wanted`` times."""
        block = 0
        while self._until(block + 1)[task] < wanted:
            block += 1
        before, order = self._block(block)
        places = [place for place, drawn in enumerate(order) if drawn == task]
        return block * BLOCK + places[wanted - before[task] - 1] + 1

    def _make_order(self, task: int, turn: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, 2, task, turn]).permutation(len(self.tasks[self.names[task]]))
