"""EMOTIC (Kosti et al., CVPR 2017 and PAMI 2019): both released ``.mat`` files and the forms of public converters.

The data set is non-commercial and comes by request form; nothing of it is shipped here. Expected folders::

    <root>/Annotations/Annotations.mat              (second release; up to two folders deep, as archives unpack)
    <root>/CVPR17_Annotations.mat                   (first release, likewise)
    <root>/emotic/{mscoco,framesdb,emodb_small,ade20k}/images/...   or cvpr_emotic/, likewise, or without either
    <root>/{train,val,test}.csv, annot_arrs_{train,val,test}.csv              (emotic_csv.py)

Structure of the ``.mat`` by its public readers (rkosti/emotic, Tandon-A/emotic's mat2py.py, BENet's
emotic_mat_to_json.py and three more): struct arrays ``train, val, test`` of ``filename, folder,
image_size.{n_row,n_col}, original_database, person``. A person has ``body_bbox`` (x1, y1, x2, y2),
``annotations_categories.categories``,
``annotations_continuous.{valence,arousal,dominance}``, gender, age; in val and test these are of several annotators,
beside ``combined_categories`` and ``combined_continuous``. One person of test has no category at all.
"""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from emo_face.core.errors import UserError
from emo_face.core.paths import is_stray
from emo_face.datasets.pictures.boxes import fault, from_corners
from emo_face.datasets.pictures.emotic_csv import LABEL_SET, SPLITS, read_csv, tables
from emo_face.datasets.records import Record
from emo_face.datasets.typos import corrected

MATS = ("Annotations.mat", "CVPR17_Annotations.mat")
ARRAYS = "img_arrs"  # the mirror's pictures: arrays that were scaled to squares
SOURCES = ("mscoco", "framesdb", "emodb_small", "ade20k")


def read(root: Path, skipped: Counter[str] | None = None) -> list[Record]:
    """Records of all splits from whichever form lies under ``root``. Raises UserError that names the forms.

    Args:
        skipped: counts what was corrected, and boxes that leave their picture.
    """
    base = root.parent if root.is_file() else root
    mats = [root] if root.suffix == ".mat" else [path for name in MATS for path in _below(base, name)]
    prefix = picture_folder(base, bool(mats) and mats[0].name == MATS[1])
    if mats and mats[0].is_file():
        found = read_mat(mats[0], prefix, skipped)
    else:
        found = [record for table in tables(base) for record in read_csv(table, prefix, skipped)]
    if not found:
        raise UserError(
            f"{root}: none of {', '.join(MATS)}, train.csv/val.csv/test.csv and annot_arrs_train.csv found; "
            "pass the EMOTIC folder"
        )
    skipped = Counter() if skipped is None else skipped
    if leaving := sum(bool(r.bbox_body and fault(r.bbox_body, r.image_size)) for r in found):
        skipped["box that leaves its picture: kept, and cut where it is used"] += leaving
    if not prefix and (base / ARRAYS).is_dir():
        skipped[f"picture in {ARRAYS}/ (.npy, not read); put the release's emotic/ beside"] += len(found)
    return found


def picture_folder(root: Path, first_release: bool = False) -> str:
    """What stands between ``root`` and mscoco, framesdb and so on: ``emotic/``, ``cvpr_emotic/``, nothing ...

    Args:
        first_release: if the pictures of both are there, take ``cvpr_emotic/``.
    """
    found = {path.parent.relative_to(root) for source in SOURCES for path in _below(root, source) if path.is_dir()}
    best = min(found, key=lambda path: (("cvpr" in path.name) != first_release, len(path.parts), path), default=Path())
    return f"{best.as_posix()}/" if best.parts else ""


def _below(root: Path, name: str) -> list[Path]:
    """``name`` in ``root``, in its folders and in theirs; ``__MACOSX`` and the like are no folders of it."""
    found = [path for depth in ("", "*/", "*/*/") for path in sorted(root.glob(depth + name))]
    return [path for path in found if not any(map(is_stray, map(Path, path.relative_to(root).parts)))]


def read_mat(path: Path, prefix: str = "", skipped: Counter[str] | None = None) -> list[Record]:
    """Records of either released annotation. Raises UserError for a file that is no such annotation.

    Args:
        prefix: folder of the pictures, relative to the root, ending in a slash or empty.
    """
    try:
        content = loadmat(str(path), squeeze_me=True, struct_as_record=False)
    except (ValueError, OSError, NotImplementedError) as error:
        raise UserError(f"{path}: not a readable MATLAB file ({error}); fetch Annotations.mat again") from None
    missing = [split for split in SPLITS if split not in content]
    if missing:
        raise UserError(f"{path}: variables {', '.join(missing)} are missing; expected train, val and test")
    return [
        record
        for split in SPLITS
        for picture in np.atleast_1d(content[split])
        for record in _people(picture, split, path, prefix, skipped)
    ]


def _people(picture: Any, split: str, path: Path, prefix: str, skipped: Counter[str] | None) -> Iterator[Record]:
    image = f"{picture.folder}/{picture.filename}"
    size = getattr(picture, "image_size", None)
    width_height = (int(size.n_col), int(size.n_row)) if size is not None and hasattr(size, "n_col") else None
    for number, person in enumerate(np.atleast_1d(picture.person)):
        try:
            yield Record(
                id=f"emotic/{image}#{number}",
                image=prefix + image,
                label_set=LABEL_SET,
                labels=corrected(_categories(person), LABEL_SET, skipped),
                split=split,
                source="emotic.mat",
                image_size=width_height,
                bbox_body=from_corners(np.atleast_1d(person.body_bbox).ravel().tolist()),
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
    """Mean over annotators of valence, arousal, dominance in [1, 10]; None if any of them is NaN."""
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
