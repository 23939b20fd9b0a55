"""Percentile bootstrap intervals (Efron & Tibshirani 1993, chapter 13), by SciPy."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from emo_face.core.errors import UserError

Rows = NDArray[np.intp]
Seed = int | np.random.Generator
ROUNDS = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its interval."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """``value``, ``low``, ``high``, rounded to four digits."""
        return {"value": round(self.value, 4), "low": round(self.low, 4), "high": round(self.high, 4)}

    def times(self, factor: float) -> list[float]:
        """``[low, high]`` in other units."""
        return [factor * self.low, factor * self.high]


def bootstrap(
    statistic: Callable[[Rows], float],
    n: int,
    seed: Seed = 0,
    rounds: int = ROUNDS,
    level: float = 0.95,
) -> Interval:
    """``statistic`` of all rows, with the interval of its value on rows drawn with replacement.

    Args:
        statistic: takes row numbers, (n,) of them. n: rows; one row has no spread. seed: or the generator itself.
        level: coverage, in (0, 1). Draws that give NaN are left out; NaN if all do.

    Raises:
        UserError: fewer than 2 rounds.
    """
    if rounds < 2:
        raise UserError(f"--rounds: expected at least 2, got {rounds}")
    value = float(statistic(np.arange(n)))
    if n < 2:
        return Interval(value, value, value)
    drawn = stats.bootstrap(
        (np.arange(n),),
        lambda rows: statistic(rows.astype(np.intp)),
        n_resamples=rounds,
        vectorized=False,
        method="percentile",
        confidence_level=level,
        random_state=np.random.default_rng(seed),
    ).bootstrap_distribution
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))
