"""Random splits that never separate the records of one group."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from emo_face.datasets.records import Record

RANDOM_70_10_20 = (0.7, 0.1, 0.2)


def by_group(records: Sequence[Record], rng: np.random.Generator, shares: Sequence[float]) -> list[Record]:
    """Records with train, val, test drawn by ``group_id``; ``shares`` of records, met up to one group's size."""
    sizes = Counter(record.group_id for record in records)
    names = sorted(sizes)
    limits = np.cumsum(shares) * len(records)
    assignment, seen = {}, 0.0
    for i in rng.permutation(len(names)):
        middle = seen + sizes[names[i]] / 2
        assignment[names[i]] = ("train", "val", "test")[int(np.searchsorted(limits[:-1], middle, side="right"))]
        seen += sizes[names[i]]
    return [replace(record, split=assignment[record.group_id]) for record in records]
