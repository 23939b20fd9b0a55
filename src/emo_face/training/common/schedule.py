"""The learning rate over a run."""

import math
from typing import Protocol


class Schedule(Protocol):
    """What a run's settings say of it: peak and end, and the optimiser steps of the linear warm-up."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def learning_rate_end(self) -> float: ...
    @property
    def warmup(self) -> int: ...


def learning_rate_at(step: int, total: int, config: Schedule) -> float:
    """Learning rate of optimiser step ``step`` (0-based) of ``total``: linear warm-up, then cosine."""
    warmup = min(config.warmup, total // 2)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    share = (step - warmup) / max(1, total - warmup)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return config.learning_rate_end + (config.learning_rate - config.learning_rate_end) * fall
