"""What the speech student learns from: every source as rows of one table, with targets where the source has them.

A row has a distribution over the seven basics, or GoEmotions' 28 labels, or valence and arousal, or several of them;
what it has not is NaN and takes no part in the loss.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_face.core.labels import basic7, label_set
from emo_face.core.types import FloatArray
from emo_face.datasets.text import (
    GOEMOTIONS,
    GOEMOTIONS_FOLDER,
    XED,
    XED_FOLDER,
    TextRow,
    TextSplits,
    read_splits,
    text_folder,
)
from emo_face.datasets.text_conversation import (
    COMMANDS,
    GOEMOTIONS_28_FOLDER,
    TOPICAL_CHAT,
    TOPICAL_CHAT_FILES,
    Affect,
    read_commands,
    read_emobank,
    read_goemotions_28,
    read_topical_chat,
    read_topical_chat_feelings,
)
from emo_face.perception.nano.wordpiece import clean

EMOBANK_FILE = "emobank/emobank.csv"
WEAK = {
    "approval",
    "realization",
    "curiosity",
    "confusion",
    "caring",
    "desire",
    "optimism",
    "annoyance",
    "disapproval",
    "disappointment",
    "nervousness",
}
"""Fine emotions that a listener in a conversation often calls neutral, so their basic emotion keeps STRENGTH only."""
WEAK_STRENGTH = 0.75
CONVERSATION_ROWS = {TOPICAL_CHAT: 3500, COMMANDS: 5000}
"""Rows drawn anew in every epoch from the sources that only have neutral lines."""
FELT_MESSAGES = 1000
"""Messages with a feeling, for the calibration only: what their writers chose is often about the topic, so a student
that is sure of itself on comments learns here how much it knows about strangers' talk."""
CALM_TARGET = 0.92
RARE_ROWS = 650
"""A fine emotion with fewer training rows (of 43,221) is rare: its rows stand several times in an epoch."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Table:
    """Rows of one source or of all.

    Attributes:
        texts: n lines. seven: (n, 7), fine: (n, 28), affect: (n, 2) valence and arousal; NaN rows where not known.
    """

    texts: list[str]
    seven: FloatArray
    fine: FloatArray
    affect: FloatArray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> Table:
        """Some rows."""
        return Table([self.texts[i] for i in rows], self.seven[rows], self.fine[rows], self.affect[rows])


@dataclass(frozen=True)
class Sources:
    """All of a run's data.

    Attributes:
        fixed: rows of every epoch. drawn: source -> neutral rows of which some are drawn in every epoch.
        quotable: lines that a made line may quote. splits: GoEmotions' and XED's validation and test rows.
        fine_validation: dev rows of GoEmotions' 28 labels. affect_validation: dev rows of EmoBank.
        calm_validation: commands and calm messages that are never drawn. message_validation: messages with a feeling.
            Both are for the calibration.
        hashes: file -> sha256.
    """

    fixed: Table
    drawn: dict[str, Table]
    quotable: list[str]
    splits: TextSplits
    fine_validation: Table
    affect_validation: Table
    calm_validation: Table
    message_validation: Table
    hashes: dict[str, str]


def table(
    texts: Sequence[str],
    seven: FloatArray | None = None,
    fine: FloatArray | None = None,
    affect: FloatArray | None = None,
) -> Table:
    """A table whose missing targets are NaN."""
    n, wide = len(texts), len(label_set("goemotions28"))

    def given(values: FloatArray | None, width: int) -> FloatArray:
        return np.full((n, width), np.nan, np.float32) if values is None else np.asarray(values, np.float32)

    return Table(list(texts), given(seven, len(basic7())), given(fine, wide), given(affect, 2))


def join(parts: Sequence[Table]) -> Table:
    """One table of several."""
    return Table(
        [text for part in parts for text in part.texts],
        np.concatenate([part.seven for part in parts]),
        np.concatenate([part.fine for part in parts]),
        np.concatenate([part.affect for part in parts]),
    )


def calm_targets(count: int) -> FloatArray:
    """(count, 7): nearly all on Neutral, for sources whose every line is called neutral without a look at it."""
    labels = basic7().labels
    row = np.full(len(labels), (1 - CALM_TARGET) / (len(labels) - 1), np.float32)
    row[labels.index("Neutral")] = CALM_TARGET
    return np.tile(row, (count, 1))


def soften(seven: FloatArray, fine: FloatArray) -> FloatArray:
    """GoEmotions' basic distributions (n, 7): rows with weak fine emotions (n, 28) only give a share to Neutral."""
    weak = np.array([name in WEAK for name in label_set("goemotions28").labels])
    only_weak = (fine[:, ~weak].sum(1) == 0) & (fine[:, weak].sum(1) > 0)
    out = seven.copy()
    out[only_weak] *= WEAK_STRENGTH
    out[only_weak, basic7().index("Neutral")] += 1 - WEAK_STRENGTH
    return out


def repeated(fine: FloatArray, copies: int) -> np.ndarray:
    """Indices of GoEmotions' rows in an epoch: all, and those with a rare fine emotion (n, 28) ``copies`` times."""
    rare = np.nansum(fine, 0) < RARE_ROWS
    often = np.flatnonzero(np.nan_to_num(fine[:, rare]).any(1))
    return np.concatenate([np.arange(len(fine)), *[often] * (copies - 1)])


def read_sources(data: Path, rare_copies: int = 1) -> Sources:
    """Read everything in ``data`` or its folder ``text``.

    Args:
        rare_copies: how often a row with a rare fine emotion stands among the fixed rows.

    Raises:
        UserError: a file is missing or damaged; names it and where it is from.
    """
    folder = text_folder(data)
    splits = read_splits(folder)
    held_out = {clean(row.text) for part in (splits.validation, splits.test) for rows in part.values() for row in rows}
    texts, fine = read_goemotions_28(folder / GOEMOTIONS_28_FOLDER, "train")
    fine_of = dict(zip(texts, fine, strict=True))
    goemotions = [row for row in splits.train if row.source == GOEMOTIONS]
    xed = [row for row in splits.train if row.source == XED]
    fine_rows = np.stack([fine_of.get(row.text, np.full(28, np.nan, np.float32)) for row in goemotions])
    known = np.isfinite(fine_rows).all(1)
    seven = _targets(goemotions)
    seven[known] = soften(seven[known], fine_rows[known])
    affect = [row for row in read_emobank(folder / EMOBANK_FILE) if clean(row.text)]
    calm = {
        TOPICAL_CHAT: [s for row in read_topical_chat(folder / TOPICAL_CHAT) for s in _sentences(row.text)],
        COMMANDS: [row.text for row in read_commands(folder / COMMANDS)],
    }
    pools, checked = {}, []
    for name, rows in calm.items():
        order = np.random.default_rng(7).permutation(len(rows))
        checked += [rows[i] for i in order[:500]]
        pools[name] = [rows[i] for i in order[500:] if clean(rows[i]) not in held_out]
    feelings = read_topical_chat_feelings(folder / TOPICAL_CHAT)
    feelings = [feelings[i] for i in np.random.default_rng(7).permutation(len(feelings))[:FELT_MESSAGES]]
    felt = [row.text for row in feelings]
    dev_texts, dev_fine = read_goemotions_28(folder / GOEMOTIONS_28_FOLDER, "dev")
    return Sources(
        fixed=join(
            [
                table([row.text for row in goemotions], seven, fine_rows).take(repeated(fine_rows, rare_copies)),
                table([row.text for row in xed], _targets(xed)),
                _affect([row for row in affect if row.split == "train"]),
            ]
        ),
        drawn={name: table(rows, calm_targets(len(rows))) for name, rows in pools.items()},
        quotable=[row.text for row in (*xed, *goemotions[:5000])],
        splits=splits,
        fine_validation=table(dev_texts, fine=dev_fine),
        affect_validation=_affect([row for row in affect if row.split == "dev"]),
        calm_validation=table(checked, calm_targets(len(checked))),
        message_validation=table(felt, _targets(feelings)) if feelings else table([]),
        hashes=_hashes(folder),
    )


def _targets(rows: Sequence[TextRow]) -> FloatArray:
    return np.stack([row.target() for row in rows])


def _affect(rows: Sequence[Affect]) -> Table:
    return table([row.text for row in rows], affect=np.array([[row.valence, row.arousal] for row in rows]))


def _sentences(message: str) -> list[str]:
    """A message as typed, and its first sentence if it has several: people say less at a time than they type."""
    parts = [part for part in _SENTENCE.split(message) if len(part.split()) > 2]
    return [message] if len(parts) < 2 else [message, parts[0]]


def _hashes(folder: Path) -> dict[str, str]:
    names = [
        *(f"{GOEMOTIONS_FOLDER}/{part}.tsv" for part in ("train", "dev", "test")),
        *(f"{GOEMOTIONS_28_FOLDER}/{part}.tsv" for part in ("train", "dev", "test")),
        f"{XED_FOLDER}/en-annotated.tsv",
        f"{XED_FOLDER}/neu_en.txt",
        EMOBANK_FILE,
        f"{COMMANDS}/clinc150.tsv",
        f"{COMMANDS}/hwu64_home_robot.tsv",
        *(f"{TOPICAL_CHAT}/{name}" for name in TOPICAL_CHAT_FILES),
    ]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
