"""SFEW-C and CAER-S-C: pictures with an emotion, a situation and a quote, as neutral records.

Two layouts are read. Flat: one object per picture with image, emotion, situation, quote and optionally bbox and
the path of its expression. Dialogues: what the released training code reads (LLaVA's ``conversations`` and
``expression``); the texts are taken back out of the question and the answer. Both as a JSON list or as JSON lines; a
folder holds one file per split. Neutral records (what ``emo-face annotate context`` writes) are taken as they are.
"""

import json
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from emo_face.core.errors import UserError
from emo_face.core.types import Box
from emo_face.datasets.records import SPLITS, Record, from_row
from emo_face.expression.contextface.prompts import LABEL_SET, label_of, parse_emotion
from emo_face.runtime.files import numbered_lines, read_text


def _names(*names: str) -> Any:
    return Field("", validation_alias=AliasChoices(*names))


class _Flat(BaseModel):
    """One object of either layout; fields that nobody needs are left alone, as authors add their own."""

    model_config = ConfigDict(extra="ignore")
    image: str = Field(min_length=1, validation_alias=AliasChoices("image", "image_path", "img", "file_name"))
    emotion: str = _names("emotion", "label", "emotion_label")
    situation: str = _names("situation", "expected_situation", "Expected situation")
    quote: str = _names("quote", "expected_quote", "Expected quote")
    bbox: tuple[float, float, float, float] | None = Field(
        None, validation_alias=AliasChoices("bbox", "bbox_body", "box")
    )
    bbox_face: tuple[float, float, float, float] | None = None
    split: str = ""
    expression: str = _names("expression", "flame_path", "flame", "exp_path")
    conversations: list[dict[str, str]] | None = None


@dataclass
class ContextSet:
    """What a file gave.

    Attributes:
        records: one per picture and person. expressions: record id -> path of its FLAME parameters, as written there.
        dropped: reason -> how many rows.
    """

    records: list[Record] = field(default_factory=list)
    expressions: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)


def read(path: Path, source: str, split: str = "") -> ContextSet:
    """Read a file, or a folder of ``train.json(l)``, ``val.json(l)`` and ``test.json(l)``.

    Args:
        source: name of the set (``sfew_c``, ``caer_s_c``); it starts every id. split: of rows that name none.

    Raises:
        UserError: nothing there, no JSON, or not a row of it can be used; names file and reason.
    """
    found = ContextSet()
    if path.is_dir():
        files = [(f, name) for name in SPLITS[:3] for f in sorted(path.glob(f"{name}.json*"))]
        if not files:
            raise UserError(f"{path}: expected train.json, val.json or test.json (or .jsonl) in it")
    else:
        files = [(path, split)]
    merged: dict[Hashable, Record] = {}
    for file, name in files:
        for number, raw in _objects(file):
            _take(found, merged, raw, f"{file}:{number}", source, name)
    found.records = list(merged.values())
    if not found.records:
        raise UserError(f"{path}: no usable row; left out: {found.dropped or 'nothing, the file is empty'}")
    return found


def _objects(path: Path) -> Iterator[tuple[int, Any]]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; it is JSON with image, emotion, situation and quote in each row")
    text = read_text(path)
    try:
        listed = text.lstrip().startswith("[")
        rows = json.loads(text) if listed else [json.loads(line) for _, line in numbered_lines(path)]
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    yield from enumerate(rows, 1)


def _take(found: ContextSet, merged: dict[Hashable, Record], raw: Any, where: str, source: str, split: str) -> None:
    """Add one row; rows about the same person of the same picture are put together."""
    if isinstance(raw, dict) and "label_set" in raw:
        _take_record(found, merged, raw, where, split)
        return
    try:
        row = _Flat.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{where}: field {'.'.join(map(str, first['loc'])) or 'row'!r}: {first['msg']}") from None
    texts = {"situation": row.situation.strip(), "quote": _unquoted(row.quote), "emotion": row.emotion}
    if row.conversations is not None:
        texts |= {key: value for key, value in from_dialogue(row.conversations).items() if value}
    try:
        label = label_of(texts["emotion"])
    except ValueError:
        _drop(found, "no emotion" if not texts["emotion"] else f"emotion {texts['emotion']!r} is none of the seven")
        return
    box = Box(*row.bbox) if row.bbox else None
    key = (row.image, box)
    name = f"{source}/{row.image}" + (f"#{box.x:g},{box.y:g},{box.width:g},{box.height:g}" if box else "")
    part = row.split if row.split in SPLITS and row.split else split
    new = Record(
        name,
        row.image,
        LABEL_SET,
        (label,),
        part,
        source,
        bbox_body=box,
        group_id=row.image,
        bbox_face=Box(*row.bbox_face) if row.bbox_face else None,
        situation=texts["situation"],
        quote=texts["quote"],
    )
    old = merged.setdefault(key, new)
    if old.labels != new.labels or old.split != new.split:
        _drop(found, "repeats a picture with another emotion or split")
        return
    merged[key] = replace(old, situation=old.situation or new.situation, quote=old.quote or new.quote)
    if row.expression:
        found.expressions[name] = row.expression


def _take_record(
    found: ContextSet, merged: dict[Hashable, Record], raw: Mapping[str, Any], where: str, split: str
) -> None:
    """Add a neutral record; its label in the words of this set, its split if it names one."""
    try:
        record = from_row(dict(raw))
        (label,) = record.labels
        label = label_of(label)
    except ValueError as error:
        if "labels" not in raw or not isinstance(raw["labels"], list):
            raise UserError(f"{where}: {error}") from None
        _drop(found, "not one label of the seven")
        return
    kept = replace(record, label_set=LABEL_SET, labels=(label,), split=record.split or split)
    if merged.setdefault(record.id, kept) is not kept:
        _drop(found, "repeats an id")


def _drop(found: ContextSet, reason: str) -> None:
    found.dropped[reason] = found.dropped.get(reason, 0) + 1


def _unquoted(text: str) -> str:
    return text.strip().strip("\"“”'‘’").strip()


def from_dialogue(turns: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Situation, quote and emotion of a dialogue of the released format; empty if it has none."""
    asked = " ".join(t.get("value", "") for t in turns if t.get("from") == "human").replace("<image>", " ")
    told = " ".join(t.get("value", "") for t in turns if t.get("from") == "gpt")
    quote = re.search(r"[“\"](.+)[”\"]", asked, re.DOTALL)
    situation = re.match(r"\s*(.+?)\s*Therefore,", told, re.DOTALL) or re.match(
        r"\s*(.+?)\s*From the described situation", asked, re.DOTALL
    )
    return {
        "quote": quote.group(1).strip() if quote else "",
        "situation": situation.group(1).strip() if situation else "",
        "emotion": parse_emotion(told) or "",
    }
