"""Processor time of a model's calls."""

import time
from collections.abc import Callable, Iterable

import numpy as np


def cpu_milliseconds(calls: Iterable[Callable[[], object]]) -> float:
    """Median over the calls, each made once."""
    spent = []
    for call in calls:
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return 1e3 * float(np.median(spent))
