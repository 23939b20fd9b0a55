"""Readers of labelled utterances: GoEmotions (Ekman form) and XED, mapped to the seven basic emotions.

GoEmotions: Demszky et al., ACL 2020; Reddit comments, CC-BY-4.0; rows ``text <tab> label ids <tab> comment id``.
XED: Öhman et al., COLING 2020; film subtitles, CC-BY-4.0; rows ``text <tab> label ids`` (Plutchik 1..8) and a file of
neutral lines ``9 <tab> text``. Anticipation (2) and trust (8) have no counterpart here and are dropped.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.labels import basic7
from emo_face.core.types import FloatArray
from emo_face.perception.nano.wordpiece import clean
from emo_face.runtime.files import numbered_lines

GOEMOTIONS = "goemotions"
XED = "xed"

GOEMOTIONS_FOLDER = "goemotions_ekman"
XED_FOLDER = "xed"

EKMAN = {
    "anger": "Anger",
    "disgust": "Disgust",
    "fear": "Fear",
    "joy": "Happy",
    "sadness": "Sad",
    "surprise": "Surprise",
    "neutral": "Neutral",
}
PLUTCHIK = {1: "Anger", 2: None, 3: "Disgust", 4: "Fear", 5: "Happy", 6: "Sad", 7: "Surprise", 8: None}
XED_NEUTRAL = 9

XED_SPLIT_SEED = 2020
"""Fixes which rows of XED are held out (it has no official split); never the training seed."""
XED_TEST_ROWS = 2500
XED_VALIDATION_ROWS = 1500
_SPACE = re.compile(r"\s+([.!?;:])")


@dataclass(frozen=True, slots=True)
class TextRow:
    """One labelled utterance.

    Attributes:
        text: as written in the corpus.
        labels: indices into basic7, at least one; more than one if annotators gave several.
        source: ``goemotions`` or ``xed``.
        single: the corpus gives this row exactly one label (scored rows are single).
    """

    text: str
    labels: tuple[int, ...]
    source: str
    single: bool

    def target(self) -> FloatArray:
        """(7,) distribution: equal mass on each label."""
        target = np.zeros(len(basic7()), dtype=np.float32)
        target[list(self.labels)] = 1.0 / len(self.labels)
        return target


@dataclass(frozen=True, slots=True)
class TextSplits:
    """Train rows (single and several labels), single-label validation and test rows by source."""

    train: tuple[TextRow, ...]
    validation: dict[str, tuple[TextRow, ...]]
    test: dict[str, tuple[TextRow, ...]]


def read_goemotions(folder: Path, part: str) -> list[TextRow]:
    """Rows of ``<folder>/<part>.tsv``; ``labels.txt`` beside it names the ids.

    Raises:
        UserError: a file is missing, a row has too few columns, or a label is unknown; names file, line and value.
    """
    names = [line.strip() for line in lines(folder / "labels.txt")]
    for number, name in enumerate(names, 1):
        if name not in EKMAN:
            raise UserError(
                f"{folder / 'labels.txt'}:{number}: unknown class {name!r}, expected one of {', '.join(EKMAN)}"
            )
    ids = {str(index): basic7().index(EKMAN[name]) for index, name in enumerate(names)}
    path = folder / f"{part}.tsv"
    rows = []
    for number, fields in table_rows(path, 2):
        labels = tuple(_label(path, number, key, ids) for key in fields[1].split(","))
        rows.append(TextRow(fields[0], labels, GOEMOTIONS, len(labels) == 1))
    return rows


def read_xed(folder: Path) -> list[TextRow]:
    """Rows of ``en-annotated.tsv`` that keep a label, then the lines of ``neu_en.txt``.

    Raises:
        UserError: as :func:`read_goemotions`.
    """
    ids = {str(key): (basic7().index(name) if name else -1) for key, name in PLUTCHIK.items()}
    path = folder / "en-annotated.tsv"
    rows = []
    for number, fields in table_rows(path, 2):
        given = [_label(path, number, key.strip(), ids) for key in fields[1].split(",")]
        kept = tuple(label for label in given if label >= 0)
        if kept:
            rows.append(TextRow(fields[0], kept, XED, len(given) == 1))
    path = folder / "neu_en.txt"
    neutral = {str(XED_NEUTRAL): basic7().index("Neutral")}
    for number, fields in table_rows(path, 2):
        rows.append(TextRow(fields[1], (_label(path, number, fields[0].strip(), neutral),), XED, True))
    return rows


def read_splits(data: Path) -> TextSplits:
    """Train, validation and test rows from ``goemotions_ekman/`` and ``xed/`` in ``data``, or in its folder ``text``.

    GoEmotions keeps its official splits; XED single-label rows are permuted once by :data:`XED_SPLIT_SEED` and give
    2,500 test and 1,500 validation rows. Validation and test hold single-label rows. A training row whose cleaned
    text is also in a validation or test split is left out, and XED is deduplicated before it is split.
    """
    data = text_folder(data)
    goemotions = {part: read_goemotions(data / GOEMOTIONS_FOLDER, part) for part in ("train", "dev", "test")}
    xed = _unique(read_xed(data / XED_FOLDER))
    single = [row for row in xed if row.single]
    needed = XED_TEST_ROWS + XED_VALIDATION_ROWS
    if len(single) <= needed:
        raise UserError(f"{data / XED_FOLDER}: expected more than {needed} single-label rows, got {len(single)}")
    order = np.random.Generator(np.random.PCG64(XED_SPLIT_SEED)).permutation(len(single))
    shuffled = [single[index] for index in order]
    test = {GOEMOTIONS: _single(goemotions["test"]), XED: tuple(shuffled[:XED_TEST_ROWS])}
    validation = {GOEMOTIONS: _single(goemotions["dev"]), XED: tuple(shuffled[XED_TEST_ROWS:needed])}
    held_out = {clean(row.text) for part in (test, validation) for rows in part.values() for row in rows}
    rest = [*goemotions["train"], *shuffled[needed:], *(row for row in xed if not row.single)]
    return TextSplits(tuple(row for row in rest if clean(row.text) not in held_out), validation, test)


def text_folder(data: Path) -> Path:
    """``data``, or its folder ``text`` if the corpora are in there."""
    data = Path(data)
    return data / "text" if (data / "text" / GOEMOTIONS_FOLDER).is_dir() else data


def targets(rows: Sequence[TextRow]) -> FloatArray:
    """(n, 7) float32 target distributions."""
    return np.stack([row.target() for row in rows]) if rows else np.zeros((0, len(basic7())), np.float32)


def retypeset(text: str) -> str:
    """An XED line without what only tells its two files apart: masks become words, commas and such spaces go."""
    for mask, word in (("[PERSON]", "Alex"), ("[LOCATION]", "Paris")):
        text = text.replace(mask, word)
    return _SPACE.sub(r"\1", " ".join(text.replace(",", " ").split()))


def _single(rows: Iterable[TextRow]) -> tuple[TextRow, ...]:
    return tuple(row for row in rows if row.single)


def _unique(rows: Iterable[TextRow]) -> list[TextRow]:
    """Rows with a cleaned text of their own, first come first kept; rows that clean to nothing go."""
    seen: set[str] = {""}
    kept = []
    for row in rows:
        key = clean(row.text)
        if key not in seen:
            seen.add(key)
            kept.append(row)
    return kept


def lines(path: Path) -> Iterator[str]:
    """Non-empty lines of a UTF-8 file. Raises UserError naming the file."""
    try:
        return (line for _, line in numbered_lines(path))
    except FileNotFoundError:
        raise UserError(
            f"{path} not found; expected GoEmotions (Ekman) in {GOEMOTIONS_FOLDER}/, XED in {XED_FOLDER}/ and the "
            "other corpora of models/nano_text.md beside them in the folder given by --data"
        ) from None


def table_rows(path: Path, least: int) -> Iterator[tuple[int, list[str]]]:
    """Number and tab-separated cells of each non-empty line. Raises UserError naming file and line for too few."""
    for number, line in enumerate(lines(path), 1):
        fields = line.rstrip("\r").split("\t")
        if len(fields) < least:
            raise UserError(f"{path}:{number}: expected at least {least} tab-separated columns, got {len(fields)}")
        yield number, fields


def _label(path: Path, number: int, key: str, ids: dict[str, int]) -> int:
    try:
        return ids[key]
    except KeyError:
        raise UserError(f"{path}:{number}: unknown class {key!r}, expected one of {', '.join(ids)}") from None
