"""HECO (Yang et al., ECCV 2022) as csv.

The authors publish no annotation format (only a pickle of features, which is never opened here). The csv has a
header; columns ``image, x1, y1, x2, y2, label`` and optionally ``face_x1 .. face_y2, split, group``. Without a
``split`` column, 70-10-20 is drawn by picture, so that all people of one picture stay together.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.types import Box
from emo_face.datasets.pictures.boxes import from_corners
from emo_face.datasets.records import Record, ordered
from emo_face.datasets.splits import RANDOM_70_10_20, by_group

LABEL_SET = "heco8"
NEEDED = ("image", "x1", "y1", "x2", "y2", "label")
FACE = ("face_x1", "face_y1", "face_x2", "face_y2")


def read(path: Path, seed: int = 0) -> list[Record]:
    """Records of a HECO csv (or of ``annotations.csv`` in a folder). Raises UserError naming line and column."""
    if path.is_dir():
        path = path / "annotations.csv"
    if path.suffix in {".pkl", ".pickle"}:
        raise UserError(f"{path}: pickles are not opened; write a csv with columns {', '.join(NEEDED)}")
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a csv with columns {', '.join(NEEDED)}")
    records, has_split = [], False
    with path.open(newline="", encoding="utf-8") as lines:
        table = csv.DictReader(lines)
        columns = table.fieldnames or []
        missing = [name for name in NEEDED if name not in columns]
        if missing:
            raise UserError(f"{path}: columns {', '.join(missing)} are missing; got {', '.join(columns)}")
        has_split = "split" in columns
        for line, row in enumerate(table, 2):
            try:
                records.append(_record(row, line))
            except (ValueError, TypeError) as error:
                raise UserError(f"{path}:{line}: {error}") from None
    if not has_split:
        drawn = by_group(records, np.random.default_rng(seed), RANDOM_70_10_20)
        return [replace(record, source="heco:random_70_10_20") for record in drawn]
    return records


def _record(row: dict[str, str], line: int) -> Record:
    split = (row.get("split") or "").strip()
    if split not in ("train", "val", "test", ""):
        raise ValueError(f"split: expected train, val or test, got {split!r}")
    return Record(
        id=f"heco/{row['image']}#{line}",
        image=row["image"],
        label_set=LABEL_SET,
        labels=ordered([row["label"].strip()], LABEL_SET),
        split=split,
        source="heco:csv",
        bbox_body=from_corners([float(row[name]) for name in ("x1", "y1", "x2", "y2")]),
        bbox_face=_face(row),
        group_id=row.get("group") or row["image"],
    )


def _face(row: dict[str, str]) -> Box | None:
    values = [row.get(name) for name in FACE]
    return from_corners([float(value) for value in values if value]) if all(values) else None
