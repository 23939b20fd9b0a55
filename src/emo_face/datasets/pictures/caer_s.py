"""CAER-S (Lee et al., ICCV 2019): ``<root>/{train,test}/<Class>/*.png``, no boxes, no validation split.

Names may have any case; a third folder (``val``, ``valid``, ``validation``) of a copy is its validation split.

Face boxes are read if ``<root>/train.txt`` and ``test.txt`` lie there, in the form of either public annotation:
``test/Sad/0157.png,5,191,109,293,211`` (larrylu0426/CAERS-Annotation: file, class, x1, y1, x2, y2) or the same without
``test/`` (dlib's faces of ndkhanh360/CAER). Boxes whose picture is not there are counted.

Frames of one clip are near-duplicates, so a random split leaks. Every split here carries its name into
``source``: ``official``, ``random_70_10_20`` (what the multi-view paper states) or ``clip_grouped``.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.core.types import Box
from emo_face.datasets.files import folders, pictures
from emo_face.datasets.pictures.boxes import from_corners
from emo_face.datasets.pictures.near_duplicates import groups, hash_files
from emo_face.datasets.records import Record
from emo_face.datasets.splits import RANDOM_70_10_20, by_group
from emo_face.runtime.files import numbered_lines

LABEL_SET = "caers7"
SPLIT_NAMES = ("official", "random_70_10_20", "clip_grouped")
SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
PICTURES = {".png", ".jpg", ".jpeg"}
ALIASES = {"angry": "Anger", "happiness": "Happy", "sadness": "Sad"}


def read(
    root: Path, split: str = "official", seed: int = 0, val_share: float = 0.1, skipped: Counter[str] | None = None
) -> list[Record]:
    """Records of CAER-S under the named split.

    ``official`` keeps train and test and takes ``val_share`` of train as validation, if there is none;
    ``clip_grouped`` keeps near-duplicates together in 70-10-20. What was left out is counted in ``skipped``. Raises
    UserError for a wrong folder or an unknown class or split.
    """
    if split not in SPLIT_NAMES:
        raise UserError(f"split: expected one of {', '.join(SPLIT_NAMES)}, got {split!r}")
    records = _scan(root, skipped)
    rng = np.random.default_rng(seed)
    if split == "official":
        return _named(_official(records, rng, val_share), split)
    if split == "clip_grouped":
        numbers = groups(hash_files([root / record.image for record in records]))
        records = [replace(r, group_id=f"clip{number:06d}") for r, number in zip(records, numbers, strict=True)]
    return _named(by_group(records, rng, RANDOM_70_10_20), split)


def _scan(root: Path, skipped: Counter[str] | None) -> list[Record]:
    records = []
    parts = {SPLITS[path.name.lower()]: path for path in root.glob("*/") if path.name.lower() in SPLITS}
    for part in ("train", "test", *({"val"} & parts.keys())):
        if part not in parts:
            raise UserError(f"{root / part}: folder is missing; expected <root>/{{train,test}}/<Class>/*.png")
        boxes = _boxes(root / f"{parts[part].name.lower()}.txt")
        for folder in folders(parts[part], skipped):
            label = _label(folder.name)
            if label is None:
                raise UserError(f"{folder}: unknown class; expected {', '.join(label_set(LABEL_SET).labels)}")
            for path in pictures(folder, PICTURES, skipped):
                image = path.relative_to(root).as_posix()
                record = Record(f"caer_s/{image}", image, LABEL_SET, (label,), part, "caer_s", group_id=image)
                records.append(replace(record, bbox_face=boxes.pop((label, path.name), None)))
        if boxes and skipped is not None:
            skipped["face box without its picture"] += len(boxes)
    if not records:
        raise UserError(f"{root}: no pictures under train/ and test/")
    return records


def _label(name: str) -> str | None:
    known = {label.lower(): label for label in label_set(LABEL_SET).labels} | ALIASES
    return known.get(name.lower())


def _boxes(path: Path) -> dict[tuple[str | None, str], Box]:
    """(label, file) -> face box, empty without a file."""
    if not path.is_file():
        return {}
    found = {}
    for number, line in numbered_lines(path):
        try:
            image, _, *corners = line.split(",")
            folder, name = image.split("/")[-2:]
            found[_label(folder), name] = from_corners([float(value) for value in corners])
        except ValueError as error:
            raise UserError(f"{path}:{number}: expected picture,class,x1,y1,x2,y2: {error}") from None
    return found


def _named(records: Sequence[Record], split: str) -> list[Record]:
    return [replace(record, source=f"caer_s:{split}") for record in records]


def _official(records: Sequence[Record], rng: np.random.Generator, val_share: float) -> list[Record]:
    if any(record.split == "val" for record in records):
        return list(records)
    train = [i for i, record in enumerate(records) if record.split == "train"]
    chosen = set(rng.permutation(train)[: round(val_share * len(train))].tolist())
    return [replace(record, split="val") if i in chosen else record for i, record in enumerate(records)]
