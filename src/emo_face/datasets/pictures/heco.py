"""HECO (Yang et al., ECCV 2022): ``HECO_Labels.csv`` of the release, or a csv of our own.

Its authors describe no format. The columns are those that published code reads (BENet's ``tools/heco_to_json.py`` and
two more): ``Image, xmin, ymin, xmax, ymax, Category, Valence, Arousal, Dominance``; others are ignored. Expected::

    <root>/Labels/HECO_Labels.csv  or  <root>/HECO_Labels.csv
    <root>/Data/*  or  <root>/Images/*

Our own csv has columns ``image, x1, y1, x2, y2, label`` and optionally ``face_x1 .. face_y2, split, group``. Without a
``split`` column, 70-10-20 is drawn by picture, so that all people of one picture stay together. Pickles (the authors'
features) are never opened.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.types import Box
from emo_face.datasets.pictures.boxes import from_corners
from emo_face.datasets.records import Record
from emo_face.datasets.splits import RANDOM_70_10_20, by_group
from emo_face.datasets.typos import corrected
from emo_face.runtime.files import table_of

LABEL_SET = "heco8"
NEEDED = ("image", "x1", "y1", "x2", "y2", "label")
RELEASED = {"Image": "image", "xmin": "x1", "ymin": "y1", "xmax": "x2", "ymax": "y2", "Category": "label"}
"""Column of the release -> ours."""
VAD = ("Valence", "Arousal", "Dominance")
FACE = ("face_x1", "face_y1", "face_x2", "face_y2")
FILES = ("annotations.csv", "Labels/HECO_Labels.csv", "HECO_Labels.csv")
FOLDERS = ("Data", "Images")


def read(path: Path, seed: int = 0, skipped: Counter[str] | None = None) -> list[Record]:
    """Records of a HECO csv, or of the one in a folder. Raises UserError naming line and column.

    Args:
        skipped: counts what was corrected or left out.
    """
    path = _file(path)
    records = []
    table = table_of(path)
    columns = table.fieldnames or []
    released = set(RELEASED) <= set(columns)
    missing = [] if released else [name for name in NEEDED if name not in columns]
    if missing:
        raise UserError(
            f"{path}: columns {', '.join(missing)} are missing (the release has {', '.join(RELEASED)}); "
            f"got {', '.join(columns)}"
        )
    prefix = _prefix(path) if released else ""
    for line, row in enumerate(table, 2):
        try:
            named = {RELEASED.get(key, key): value for key, value in row.items()} if released else row
            records.append(_record(named, prefix, line, skipped))
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{path}:{line}: {error}") from None
    if "split" in columns:
        return records
    drawn = by_group(records, np.random.default_rng(seed), RANDOM_70_10_20)
    return [replace(record, source="heco:random_70_10_20") for record in drawn]


def _file(path: Path) -> Path:
    if path.suffix in {".pkl", ".pickle"}:
        raise UserError(f"{path}: pickles are not opened; give HECO_Labels.csv or a csv with {', '.join(NEEDED)}")
    if path.is_dir():
        path = next((path / name for name in FILES if (path / name).is_file()), path / FILES[0])
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected Labels/HECO_Labels.csv or a csv with {', '.join(NEEDED)}")
    return path


def _prefix(path: Path) -> str:
    """Folder of the release's pictures, relative to the root."""
    root = path.parent.parent if path.parent.name == "Labels" else path.parent
    return next((f"{name}/" for name in FOLDERS if (root / name).is_dir()), "")


def _record(row: Mapping[str, str], prefix: str, line: int, skipped: Counter[str] | None) -> Record:
    split = (row.get("split") or "").strip()
    if split not in ("train", "val", "test", ""):
        raise ValueError(f"split: expected train, val or test, got {split!r}")
    image = prefix + row["image"].strip()
    return Record(
        id=f"heco/{row['image']}#{line}",
        image=image,
        label_set=LABEL_SET,
        labels=corrected([row["label"].strip()], LABEL_SET, skipped),
        split=split,
        source="heco:csv",
        bbox_body=from_corners([float(row[name]) for name in ("x1", "y1", "x2", "y2")]),
        bbox_face=_face(row),
        vad=_vad(row),
        group_id=row.get("group") or image,
    )


def _vad(row: Mapping[str, str]) -> tuple[float, float, float] | None:
    """Valence, arousal, dominance in [1, 10]; None without them, or if one is no number."""
    if not all((row.get(name) or "").strip() for name in VAD):
        return None
    valence, arousal, dominance = (float(row[name]) for name in VAD)
    return (valence, arousal, dominance) if all(map(math.isfinite, (valence, arousal, dominance))) else None


def _face(row: Mapping[str, str]) -> Box | None:
    values = [row.get(name) for name in FACE]
    return from_corners([float(value) for value in values if value]) if all(values) else None
