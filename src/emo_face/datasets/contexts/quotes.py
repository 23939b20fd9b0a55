"""Lines that people wrote, with the emotion that others read in them: GoEmotions' and XED's rows with one label.

They have neither a picture nor a situation; what a listener feels nobody wrote down.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from emo_face.core.labels import basic7
from emo_face.datasets.records import Record
from emo_face.datasets.text import XED, TextRow, read_splits, retypeset
from emo_face.expression.contextface.prompts import LABEL_SET, safe


def read(root: Path, most: int = 0, seed: int = 0) -> list[Record]:
    """All rows with one label, GoEmotions in its official splits, XED without what tells its two files apart.

    A training row that is also in a validation or test split is left out (:func:`~emo_face.datasets.text.read_splits`).

    Args:
        most: training rows of one emotion and source, drawn by ``seed``; 0 keeps all. Two in three comments are calm or
            glad, and a short training learns more from the others.

    Raises:
        UserError: a file is missing or wrong.
    """
    splits, numbers = read_splits(root), Counter[str]()
    held = {"val": splits.validation, "test": splits.test}
    parts: list[tuple[str, Iterable[TextRow]]] = [("train", splits.train)]
    parts += [(split, rows) for split, sources in held.items() for rows in sources.values()]
    found = []
    for split, rows in parts:
        for row in rows:
            text = retypeset(row.text) if row.source == XED else row.text
            if row.single and safe(text):
                place = f"{row.source}/{split}"
                name = f"{place}/{numbers[place]}"
                numbers[place] += 1
                label = basic7().labels[row.labels[0]]
                found.append(Record(name, "", LABEL_SET, (label,), split, row.source, group_id=name, quote=text))
    return _thinned(found, most, seed) if most else found


def _thinned(records: Sequence[Record], most: int, seed: int) -> list[Record]:
    """The records, at most ``most`` of a source and emotion among those for training; their order stays."""
    rng, counts, kept = np.random.default_rng(seed), Counter[tuple[str, str]](), set()
    for place in rng.permutation(len(records)):
        record = records[place]
        key = (record.source, record.labels[0])
        counts[key] += record.split == "train"
        if record.split != "train" or counts[key] <= most:
            kept.add(int(place))
    return [record for place, record in enumerate(records) if place in kept]
