"""Lines that people wrote, with the emotion that others read in them: GoEmotions' single-label rows as records.

They have neither a picture nor a situation; what a listener feels nobody wrote down.
"""

from __future__ import annotations

from pathlib import Path

from emo_face.core.labels import basic7
from emo_face.datasets.records import Record
from emo_face.datasets.text import GOEMOTIONS, GOEMOTIONS_FOLDER, read_goemotions
from emo_face.expression.contextface.prompts import LABEL_SET, safe

PARTS = {"train": "train", "dev": "val", "test": "test"}
"""GoEmotions' part -> split."""


def read(root: Path) -> list[Record]:
    """All rows with one label, in the official splits. Raises UserError if a file is missing or wrong."""
    found = []
    for part, split in PARTS.items():
        for number, row in enumerate(read_goemotions(root / GOEMOTIONS_FOLDER, part)):
            if row.single and safe(row.text):
                label = basic7().labels[row.labels[0]]
                name = f"{GOEMOTIONS}/{part}/{number}"
                found.append(Record(name, "", LABEL_SET, (label,), split, GOEMOTIONS, group_id=name, quote=row.text))
    return found
