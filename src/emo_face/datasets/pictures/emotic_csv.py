"""EMOTIC as csv: the forms that two public converters write.

``train.csv``, ``val.csv``, ``test.csv`` of Tandon-A/emotic (columns ``Folder, Filename, Image Size, BBox,
Categorical_Labels, Continuous_Labels``, each cell a Python literal, with NumPy 2 also ``np.float64(7.0)``), and
``annot_arrs_train.csv`` and so on of the mirror on Kaggle (``Folder, Filename, Width, Height, X_min .. Y_max``, a
column per class, ``Valence, Arousal, Dominance``), there also ``annot_arrs_extra_train.csv``.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.datasets.pictures.boxes import from_corners
from emo_face.datasets.records import Record
from emo_face.datasets.typos import corrected
from emo_face.runtime.files import table_of

LABEL_SET = "emotic26"
SPLITS = ("train", "val", "test")
COLUMNS_FORM = "annot_arrs_"
CORNERS = ("X_min", "Y_min", "X_max", "Y_max")
VAD = ("Valence", "Arousal", "Dominance")


def tables(root: Path) -> list[Path]:
    """The csv files of one form under ``root``, in the order of the splits; empty if there are none."""
    for pattern in ("{}.csv", COLUMNS_FORM + "{}.csv", "annots_arrs/" + COLUMNS_FORM + "{}.csv"):
        names = ("train", "extra_train", "val", "test") if COLUMNS_FORM in pattern else SPLITS
        found = [root / pattern.format(name) for name in names if (root / pattern.format(name)).is_file()]
        if found:
            return found
    return []


def read_csv(path: Path, prefix: str = "", skipped: Counter[str] | None = None) -> Iterator[Record]:
    """Records of one converted split; the split is in the file's name. Raises UserError naming line and column.

    Args:
        prefix: folder of the pictures, relative to the root, ending in a slash or empty.
    """
    split = path.stem.removeprefix(COLUMNS_FORM).removeprefix("extra_")
    if split not in SPLITS:
        raise UserError(f"{path}: expected train.csv, val.csv or test.csv, or the same after {COLUMNS_FORM}")
    numbers: Counter[str] = Counter()
    table = table_of(path)
    form = _columns if "X_min" in (table.fieldnames or ()) else _literals
    for line, row in enumerate(table, 2):
        try:
            picture = f"{row['Folder']}/{row['Filename']}"
            fields = form(row, skipped)
        except (KeyError, ValueError, SyntaxError, TypeError, AttributeError) as error:
            raise UserError(f"{path}:{line}: {type(error).__name__}: {error}") from None
        name = f"emotic/{picture}#{numbers[picture]}"
        numbers[picture] += 1
        image = prefix + picture
        yield Record(name, image, LABEL_SET, split=split, source="emotic.csv", group_id=picture, **fields)


def _literals(row: Mapping[str, str], skipped: Counter[str] | None) -> dict[str, Any]:
    """Fields of a record out of cells that are Python literals."""
    vad = _literal(row["Continuous_Labels"]) if row.get("Continuous_Labels") else None
    size = _literal(row["Image Size"]) if row.get("Image Size") else None
    if isinstance(size, dict):
        size = (size["n_col"], size["n_row"])
    return {
        "labels": corrected(_literal(row["Categorical_Labels"]), LABEL_SET, skipped),
        "image_size": None if size is None else (int(size[0]), int(size[1])),
        "bbox_body": from_corners(_literal(row["BBox"])),
        "vad": None if not vad else (float(vad[0]), float(vad[1]), float(vad[2])),
    }


def _literal(cell: str) -> Any:
    """A cell's value; NumPy 2 writes its scalars as ``np.float64(7.0)``. Never evaluated."""
    return ast.literal_eval(re.sub(r"\b(?:np|numpy)\.\w+\(([^()]*)\)", r"\1", cell))


def _columns(row: Mapping[str, str], skipped: Counter[str] | None) -> dict[str, Any]:
    """Fields of a record out of a table with a column per class."""
    labels = [name for name in label_set(LABEL_SET).labels if float(row[name] or 0) > 0]
    vad = [float(row[name]) if row.get(name) else float("nan") for name in VAD]
    size = (row.get("Width"), row.get("Height"))
    return {
        "labels": corrected(labels, LABEL_SET, skipped),
        "image_size": (int(float(size[0])), int(float(size[1]))) if size[0] and size[1] else None,
        "bbox_body": from_corners([float(row[name]) for name in CORNERS]),
        "vad": (vad[0], vad[1], vad[2]) if all(value == value for value in vad) else None,
    }
