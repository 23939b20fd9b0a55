"""The neutral record: one line of JSON a person, made by every reader and eaten by every task."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.core.types import Box, ImageArray
from emo_face.runtime.files import numbered_lines, write_json_lines
from emo_face.runtime.stills import decoded

SPLITS = ("train", "val", "test", "")
BOXES = ("bbox_body", "bbox_face")
CHECKED = ConfigDict(extra="forbid")
"""Unknown keys are refused, so that typing errors are seen."""
Named = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Detected:
    """Which detector found a box: its name, the first digits of its file's sha256, its score in [0, 1]."""

    __pydantic_config__ = CHECKED
    detector: Named
    version: str
    score: Annotated[float, Field(ge=0.0, le=1.0)]


@dataclass(frozen=True, slots=True)
class Record:
    """One annotated person of one picture.

    Attributes:
        id: unique in its file, stable between runs.
        image: path relative to the root of the data set, forward slashes; empty for words without a picture.
        image_size: (width, height) in pixels as annotated, or None if the annotation has none.
        bbox_body, bbox_face: pixels of the picture, or None if there is none.
        body_found, face_found: the detector that the box comes from; None for an annotated one.
        labels: names out of ``label_set``, in its order, without repeats.
        vad: valence, arousal, dominance, each in [1, 10] (EMOTIC's scale), or None.
        split: train, val, test or empty. source: which reader made it.
        group_id: pictures that must stay in one split (a clip, near-duplicates); defaults to the picture.
        listener_situation: the situation of somebody who hears ``quote``. reaction: what they feel, a label of the set.
    """

    __pydantic_config__ = CHECKED
    id: Named
    image: str
    label_set: str
    labels: tuple[str, ...]
    split: str = ""
    source: str = ""
    image_size: tuple[int, int] | None = None
    bbox_body: Box | None = None
    bbox_face: Box | None = None
    vad: tuple[float, float, float] | None = None
    group_id: str = ""
    caption: str = ""
    pose: str = ""
    situation: str = ""
    rationale: str = ""
    quote: str = ""
    listener_situation: str = ""
    reaction: str = ""
    body_found: Detected | None = None
    face_found: Detected | None = None

    def one_hot(self) -> list[int]:
        """0/1 for each label of the set, in its order. Raises ValueError for a label outside the set."""
        wanted = label_set(self.label_set)
        positions = {wanted.index(label) for label in self.labels}
        return [int(i in positions) for i in range(len(wanted))]


_RECORD = TypeAdapter(Record)


def ordered(labels: Iterable[str], set_name: str) -> tuple[str, ...]:
    """``labels`` without repeats, in the order of the set. Raises ValueError for one outside it."""
    wanted = label_set(set_name)
    return tuple(wanted.labels[i] for i in sorted({wanted.index(label) for label in labels}))


def from_row(row: dict[str, Any]) -> Record:
    """Validate one JSON object. Raises ValueError (pydantic's or the label set's) that names the field."""
    record = _RECORD.validate_python({**row, **{name: _box(row[name]) for name in BOXES if name in row}})
    if record.split not in SPLITS:
        raise ValueError(f"split: expected one of train, val, test or empty, got {record.split!r}")
    if not record.image and not (record.situation or record.quote):
        raise ValueError("image: empty, and there are no words either")
    try:
        labels = ordered(record.labels, record.label_set)
        reaction = ordered([record.reaction], record.label_set)[0] if record.reaction else ""
    except KeyError as error:
        raise ValueError(f"label_set: {error.args[0]}") from None
    group = record.group_id or record.image or record.id
    return replace(record, labels=labels, reaction=reaction, group_id=group)


def _box(value: Any) -> Any:
    """The four numbers of a row by the names of :class:`Box`, which checks them; what is none stays."""
    four = isinstance(value, list) and len(value) == 4
    return dict(zip(("x", "y", "width", "height"), value, strict=True)) if four else value


def to_row(record: Record) -> dict[str, Any]:
    """The JSON object of a record: boxes as [x, y, width, height], empty fields left out."""
    row = asdict(record)
    for field in BOXES:
        box = getattr(record, field)
        row[field] = None if box is None else [box.x, box.y, box.width, box.height]
    return {key: value for key, value in row.items() if value not in (None, "") or key in ("image", "labels")}


def read_jsonl(path: Path) -> Iterator[Record]:
    """Records of a JSONL file, one per line. Raises UserError naming the file, the line and the field."""
    if not path.is_file():
        raise UserError(f"{path}: no such records file; make one with: emo-face data convert --help")
    seen: set[str] = set()
    for number, line in numbered_lines(path):
        try:
            record = from_row(json.loads(line))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise UserError(f"{path}:{number}: field {field!r}: {first['msg']}, got {first['input']!r}") from None
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}:{number}: {error}") from None
        if record.id in seen:
            raise UserError(f"{path}:{number}: field 'id': {record.id!r} appears twice; ids must be unique")
        seen.add(record.id)
        yield record


def write_jsonl(path: Path, records: Iterable[Record]) -> int:
    """Write records, whole or not at all. Returns how many."""
    return write_json_lines(path, map(to_row, records))


def of_split(records: Sequence[Record], split: str) -> list[Record]:
    """The records of one split. Raises UserError if it is empty, with the splits that are there."""
    found = [record for record in records if record.split == split]
    if not found:
        there = sorted({record.split or "(none)" for record in records})
        raise UserError(f"split {split!r} is empty; splits with records: {', '.join(there) or 'no records at all'}")
    return found


def read_image(root: Path, image: str) -> ImageArray:
    """Decode a picture as BGR. Raises UserError naming a file that is missing or does not decode."""
    path = root / image
    picture = decoded(path.read_bytes()) if path.is_file() else None
    if picture is None:
        raise UserError(f"{path}: missing or not a picture; check the data set: emo-face data verify")
    return picture
