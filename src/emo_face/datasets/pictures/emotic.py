"""EMOTIC (Kosti et al., CVPR 2017): ``Annotations.mat`` and the csv/npy form of the community's converters.

The data set is non-commercial and comes by request form; nothing of it is shipped here. Expected folders::

    <root>/Annotations/Annotations.mat  or  <root>/Annotations.mat
    <root>/emotic/{mscoco,framesdb,emodb_small,ade20k}/images/...   or the same without ``emotic/``
    <root>/{train,val,test}.csv and {train,val,test}_{context,body,cat,cont}_arr.npy   (converted form)
"""

from __future__ import annotations

import ast
import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import UserError
from emo_face.datasets.pictures.boxes import from_corners
from emo_face.datasets.records import Record, ordered

LABEL_SET = "emotic26"
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class EmoticArrays:
    """One split of the npy form: (n, 224, 224, 3) context, (n, 128, 128, 3) body, (n, 26) labels, (n, 3) VAD."""

    context: NDArray[Any]
    body: NDArray[Any]
    labels: NDArray[Any]
    vad: NDArray[Any]


def read(root: Path) -> list[Record]:
    """Records of all splits from whichever form lies under ``root``. Raises UserError that names both forms."""
    for candidate in (root / "Annotations.mat", root / "Annotations" / "Annotations.mat", root):
        if candidate.is_file() and candidate.suffix == ".mat":
            return read_mat(candidate)
    tables = [root / f"{split}.csv" for split in SPLITS]
    if any(table.is_file() for table in tables):
        return [record for table in tables if table.is_file() for record in read_csv(table)]
    raise UserError(f"{root}: neither Annotations.mat nor train.csv/val.csv/test.csv found; pass the EMOTIC folder")


def read_mat(path: Path) -> list[Record]:
    """Records of the original annotation. Raises UserError where the file is no such annotation."""
    from scipy.io import loadmat

    try:
        content = loadmat(str(path), squeeze_me=True, struct_as_record=False)
    except (ValueError, OSError, NotImplementedError) as error:
        raise UserError(f"{path}: not a readable MATLAB file ({error}); fetch Annotations.mat again") from None
    missing = [split for split in SPLITS if split not in content]
    if missing:
        raise UserError(f"{path}: variables {', '.join(missing)} are missing; expected train, val and test")
    records: list[Record] = []
    for split in SPLITS:
        for picture in np.atleast_1d(content[split]):
            records.extend(_people(picture, split, path))
    return records


def _people(picture: Any, split: str, path: Path) -> Iterator[Record]:
    image = f"{picture.folder}/{picture.filename}"
    size = getattr(picture, "image_size", None)
    width_height = (int(size.n_col), int(size.n_row)) if size is not None and hasattr(size, "n_col") else None
    for number, person in enumerate(np.atleast_1d(picture.person)):
        try:
            yield Record(
                id=f"emotic/{image}#{number}",
                image=image,
                label_set=LABEL_SET,
                labels=ordered(_categories(person), LABEL_SET),
                split=split,
                source="emotic.mat",
                image_size=width_height,
                bbox_body=from_corners(np.atleast_1d(person.bbox).ravel().tolist()),
                vad=_continuous(person),
                group_id=image,
            )
        except (ValueError, AttributeError) as error:
            raise UserError(f"{path}: {split}: {image} person {number}: {error}") from None


def _names(cell: Any) -> list[str]:
    return [str(name).strip() for name in np.atleast_1d(cell).ravel()] if np.size(cell) else []


def _categories(person: Any) -> list[str]:
    """Union over annotators: ``combined_categories`` where it is, else of each annotator's own list."""
    combined = getattr(person, "combined_categories", None)
    if combined is not None and np.size(combined):
        return _names(combined)
    own = np.atleast_1d(person.annotations_categories)
    return [name for annotator in own for name in _names(annotator.categories)]


def _continuous(person: Any) -> tuple[float, float, float] | None:
    """Mean over annotators of valence, arousal, dominance in [1, 10]; None where any of them is NaN."""
    source = getattr(person, "combined_continuous", None)
    if source is None or not np.size(source):
        source = getattr(person, "annotations_continuous", None)
    if source is None or not np.size(source):
        return None
    rows = [
        [float(getattr(annotator, name)) for name in ("valence", "arousal", "dominance")]
        for annotator in np.atleast_1d(source)
        if hasattr(annotator, "valence")
    ]
    usable = [row for row in rows if all(math.isfinite(value) for value in row)]
    if not usable:
        return None
    v, a, d = np.mean(usable, axis=0).tolist()
    return v, a, d


def read_csv(path: Path) -> Iterator[Record]:
    """Records of one converted split; the split is the file's stem. Raises UserError naming line and column."""
    split = path.stem
    if split not in SPLITS:
        raise UserError(f"{path}: expected train.csv, val.csv or test.csv")
    numbers: dict[str, int] = {}
    with path.open(newline="", encoding="utf-8") as lines:
        for line, row in enumerate(csv.DictReader(lines), 2):
            try:
                image = f"{row['Folder']}/{row['Filename']}"
                number = numbers.get(image, 0)
                numbers[image] = number + 1
                yield _csv_record(row, image, number, split)
            except (KeyError, ValueError, SyntaxError, TypeError) as error:
                raise UserError(f"{path}:{line}: {type(error).__name__}: {error}") from None


def _csv_record(row: dict[str, str], image: str, number: int, split: str) -> Record:
    vad = ast.literal_eval(row["Continuous_Labels"]) if row.get("Continuous_Labels") else None
    size = ast.literal_eval(row["Image Size"]) if row.get("Image Size") else None
    if isinstance(size, dict):
        size = (size["n_col"], size["n_row"])
    return Record(
        id=f"emotic/{image}#{number}",
        image=image,
        label_set=LABEL_SET,
        labels=ordered(ast.literal_eval(row["Categorical_Labels"]), LABEL_SET),
        split=split,
        source="emotic.csv",
        image_size=None if size is None else (int(size[0]), int(size[1])),
        bbox_body=from_corners(ast.literal_eval(row["BBox"])),
        vad=None if not vad else (float(vad[0]), float(vad[1]), float(vad[2])),
        group_id=image,
    )


def read_npy(folder: Path, split: str) -> EmoticArrays:
    """Memory-mapped arrays of one split (never unpickled). Raises UserError for a wrong or missing one."""
    expected = {"context": (224, 224, 3), "body": (128, 128, 3), "cat": (26,), "cont": (3,)}
    arrays: dict[str, NDArray[Any]] = {}
    for name, shape in expected.items():
        path = folder / f"{split}_{name}_arr.npy"
        try:
            arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read as a plain array ({error})") from None
        if arrays[name].shape[1:] != shape:
            raise UserError(f"{path}: expected shape (n, {', '.join(map(str, shape))}), got {arrays[name].shape}")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise UserError(f"{folder}: arrays of {split} have different lengths: {lengths}")
    return EmoticArrays(arrays["context"], arrays["body"], arrays["cat"], arrays["cont"])
