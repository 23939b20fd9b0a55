"""SFEW 2.0 (Dhall et al., ICCV Workshops 2011): ``<root>/{Train,Val,Test}/<Class>/*``, one person each, no boxes."""

from collections import Counter
from pathlib import Path

from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.datasets.files import folders, pictures
from emo_face.datasets.records import Record
from emo_face.expression.contextface.prompts import LABEL_SET, label_of

PICTURES = {".png", ".jpg", ".jpeg", ".bmp"}
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read(root: Path, skipped: Counter[str] | None = None) -> list[Record]:
    """Records of SFEW in the seven labels that it shares with CAER-S.

    Folder names of splits and classes may have any case; ``Angry`` and ``Anger`` are one class. The clip a frame is of
    (the part of its name before the last underscore) is the group: frames of one clip stay in one split.

    What was left out is counted in ``skipped``.

    Raises:
        UserError: no split folder, a class that is none of the seven, or no pictures.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; expected <root>/{{Train,Val,Test}}/<Class>/*.png")
    records = []
    for folder in (p for p in folders(root, skipped) if p.name.lower() in SPLITS):
        for classes in folders(folder, skipped):
            try:
                label = label_of(classes.name)
            except ValueError:
                raise UserError(
                    f"{classes}: unknown class; expected {', '.join(label_set(LABEL_SET).labels)}"
                ) from None
            for path in pictures(classes, PICTURES, skipped):
                image = path.relative_to(root).as_posix()
                clip = path.stem.rsplit("_", 1)[0]
                split = SPLITS[folder.name.lower()]
                records.append(Record(f"sfew/{image}", image, LABEL_SET, (label,), split, "sfew", group_id=clip))
    if not records:
        raise UserError(
            f"{root}: no pictures under Train, Val or Test; expected <root>/{{Train,Val,Test}}/<Class>/*.png"
        )
    return records
