"""SFEW 2.0 (Dhall et al., ICCV Workshops 2011): one person per picture, no boxes, in every layout of public readers.

    <root>/{Train,Val,Test}/<Class>/*                                         frames of films
    <root>/{Train,Val}/{Train,Val}_Aligned_Faces/<Class>/*, or without the first level, or below images/
    <root>/sfew_2.0_labels.csv (image_name, label, emotion, original_split), sfew2.0_images/*      a mirror

Test is released without labels: its pictures are counted. Aligned faces are left out if the frames are there too.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.datasets.files import folders, pictures
from emo_face.datasets.records import Record
from emo_face.expression.contextface.prompts import LABEL_SET, label_of
from emo_face.runtime.files import table_of

PICTURES = {".png", ".jpg", ".jpeg", ".bmp"}
SPLIT = re.compile(r"(train|val|test)(?:id|idation)?(?![a-z])", re.IGNORECASE)
TABLE = "sfew_2.0_labels.csv"
EXPECTED = f"expected <root>/{{Train,Val,Test}}/<Class>/*.png, {{Train,Val}}_Aligned_Faces/<Class>/ or {TABLE}"


def read(root: Path, skipped: Counter[str] | None = None) -> list[Record]:
    """Records of SFEW in the seven labels that it shares with CAER-S.

    Folder names of splits and classes may have any case; ``Angry`` and ``Anger`` are one class. The clip a frame is of
    (the part of its name before the last underscore) is the group: frames of one clip stay in one split.

    What was left out is counted in ``skipped``.

    Raises:
        UserError: no split folder, a class that is none of the seven, or no pictures.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; {EXPECTED}")
    skipped = Counter() if skipped is None else skipped
    if (root / TABLE).is_file():
        return list(_table(root / TABLE))
    found = list(_classes(root, "", skipped))
    frames = [row for row in found if "aligned" not in row[2].relative_to(root).as_posix().lower()]
    records = []
    for split, label, folder in found:
        kept = pictures(folder, PICTURES, skipped)
        if frames and (split, label, folder) not in frames:
            skipped["aligned face beside the frames"] += len(kept)
            continue
        for path in kept:
            image = path.relative_to(root).as_posix()
            clip = path.stem.rsplit("_", 1)[0]
            records.append(Record(f"sfew/{image}", image, LABEL_SET, (label,), split, "sfew", group_id=clip))
    if not records:
        raise UserError(f"{root}: no pictures of a class; {EXPECTED}")
    return records


def _classes(folder: Path, split: str, skipped: Counter[str]) -> Iterator[tuple[str, str, Path]]:
    """(split, label, folder) of each class below ``folder``, whose name or a folder above it said ``split``."""
    for child in folders(folder, skipped):
        named = SPLIT.match(child.name)
        try:
            if split and not named:
                yield split, label_of(child.name), child
                continue
        except ValueError:
            if pictures(child, PICTURES) and split != "test":
                raise UserError(f"{child}: unknown class; expected {', '.join(label_set(LABEL_SET).labels)}") from None
        inside = named[1].lower() if named else split
        if inside == "test" and (unlabelled := len(pictures(child, PICTURES))):
            skipped["picture of test without a class"] += unlabelled
        yield from _classes(child, inside, skipped)


def _table(path: Path) -> Iterator[Record]:
    """Records of the mirror's table. Raises UserError naming the line."""
    for number, row in enumerate(table_of(path), 2):
        try:
            image = f"sfew2.0_images/{row['image_name']}"
            split = SPLIT.match(row["original_split"])
            label = label_of(row["emotion"])
            part = split[1].lower() if split else ""
            yield Record(f"sfew/{image}", image, LABEL_SET, (label,), part, "sfew", group_id=image)
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(
                f"{path}:{number}: expected image_name, emotion, original_split: {type(error).__name__}: {error}"
            ) from None
