"""Training examples of the speech student: augmented spelling, noise rows, length-bucketed batches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from emo_face.core.labels import basic7
from emo_face.core.types import FloatArray
from emo_face.datasets.text import TextRow, targets
from emo_face.perception.nano.wordpiece import WordPiece, clean

NAMES = [
    "alex",
    "anna",
    "ben",
    "carl",
    "chris",
    "dan",
    "david",
    "emma",
    "eric",
    "frank",
    "george",
    "harry",
    "helen",
    "jack",
    "james",
    "jane",
    "jim",
    "joe",
    "john",
    "karen",
    "kate",
    "kevin",
    "laura",
    "lee",
    "lisa",
    "lucy",
    "maria",
    "mark",
    "mary",
    "mike",
    "nick",
    "oliver",
    "paul",
    "peter",
    "robert",
    "rose",
    "sam",
    "sara",
    "steve",
    "susan",
    "tom",
    "will",
]
PLACES = ["paris", "london", "boston", "texas", "berlin", "rome", "canada", "china", "chicago", "moscow"]

_NAME = re.compile(r"\[(?:NAME|PERSON)\]")
_PLACE = re.compile(r"\[LOCATION\]")
_MARKS = re.compile(r"[.!?;:…]+(?=\s|$)")


@dataclass(frozen=True)
class TextBatch:
    """ids, mask: (n, t) int64; target: (n, 7) float32."""

    ids: np.ndarray
    mask: np.ndarray
    target: FloatArray


def augment(text: str, generator: np.random.Generator) -> str:
    """Spell one row as another writer would: a name for a mask; half lose their commas, a quarter all sentence marks.

    Masks become random names because they stand only in some files of the corpora: a fixed word would tell the file
    apart, not the feeling (XED's neutral file has neither masks nor commas). Recognisers often write no marks at all.
    """
    text = _NAME.sub(lambda _: str(generator.choice(NAMES)), text)
    text = _PLACE.sub(lambda _: str(generator.choice(PLACES)), text)
    chance = generator.random()
    if chance < 0.5:
        text = text.replace(",", " ")
    return _MARKS.sub(" ", text) if chance < 0.25 else text


def noise_texts(count: int, generator: np.random.Generator) -> list[str]:
    """Strings that mean nothing (random letters, digits, marks); their target is the flat distribution."""
    alphabets = ("abcdefghijklmnopqrstuvwxyz", "0123456789", "!?.;:#@%&*+=/", "abcdefghijklmnopqrstuvwxyz0123456789")
    texts = []
    for _ in range(count):
        letters = list(alphabets[generator.integers(len(alphabets))])
        count_words = generator.integers(1, 12)
        words = ["".join(generator.choice(letters, generator.integers(1, 11))) for _ in range(count_words)]
        texts.append(" ".join(words))
    return texts


def encode_epoch(
    rows: Sequence[TextRow], tokens: WordPiece, max_length: int, noise: int, generator: np.random.Generator
) -> tuple[list[list[int]], FloatArray]:
    """Augmented ids and targets of one epoch, noise rows at the end."""
    texts = [augment(row.text, generator) for row in rows] + noise_texts(noise, generator)
    flat = np.full((noise, len(basic7())), 1.0 / len(basic7()), np.float32)
    ids = [tokens.encode(clean(text), max_length) for text in texts]
    return ids, np.concatenate([targets(rows), flat])


def pad(ids: Sequence[Sequence[int]], fill: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, t) int64 ids and mask, padded to the longest."""
    width = max(len(row) for row in ids)
    out = np.full((len(ids), width), fill, np.int64)
    mask = np.zeros((len(ids), width), np.int64)
    for index, row in enumerate(ids):
        out[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return out, mask


def batches(
    ids: Sequence[Sequence[int]], target: FloatArray, size: int, fill: int, generator: np.random.Generator
) -> Iterator[TextBatch]:
    """Shuffled batches of rows of like length: pools of 50 batches are sorted by length, then the batches shuffled."""
    order = generator.permutation(len(ids))
    groups: list[np.ndarray] = []
    pool = size * 50
    for start in range(0, len(order), pool):
        part = sorted(order[start : start + pool], key=lambda index: len(ids[index]))
        groups += [np.asarray(part[i : i + size]) for i in range(0, len(part), size)]
    for index in generator.permutation(len(groups)):
        chosen = groups[index]
        rows, mask = pad([ids[i] for i in chosen], fill)
        yield TextBatch(rows, mask, target[chosen])
