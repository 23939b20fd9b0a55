"""An epoch of the speech student: rows drawn, made and spelled anew, in batches of like length."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from emo_face.core.labels import basic7
from emo_face.core.types import FloatArray
from emo_face.perception.nano.wordpiece import WordPiece, clean
from emo_face.training.text.examples import CONVERSATION_ROWS, Sources, Table, join, table
from emo_face.training.text.spoken import emoji_lines, hesitate, mistype, spoken_lines

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


SPOKEN_ROWS, EMOJI_ROWS, LONG_ROWS = 7000, 700, 1500
"""Rows made anew in every epoch: by pattern, with emoji, and one line of feeling among neutral ones."""
LONG_FEELING = 0.85
MARKS_DROPPED, FILLERS_ADDED, MISTYPED = 0.35, 0.08, 0.07


@dataclass(frozen=True)
class TextBatch:
    """ids, mask: (n, t) int64; seven (n, 7), fine (n, 28), affect (n, 2): float32, NaN where not known."""

    ids: np.ndarray
    mask: np.ndarray
    seven: FloatArray
    fine: FloatArray
    affect: FloatArray


def augment(text: str, generator: np.random.Generator) -> str:
    """Spell one row as another writer would.

    Masks become random names because they stand only in some files of the corpora: a fixed word would tell the file
    apart, not the feeling (XED's neutral file has neither masks nor commas). Recognisers often write no marks at all
    and keep the fillers; people mistype.
    """
    text = _NAME.sub(lambda _: str(generator.choice(NAMES)), text)
    text = _PLACE.sub(lambda _: str(generator.choice(PLACES)), text)
    comma, marks, fillers, typos = generator.random(4)
    if comma < 0.5:
        text = text.replace(",", " ")
    if fillers < FILLERS_ADDED:
        text = hesitate(text, generator)
    if typos < MISTYPED:
        text = mistype(text, generator)
    return _MARKS.sub(" ", text) if marks < MARKS_DROPPED else text


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


def draw_epoch(sources: Sources, noise: int, generator: np.random.Generator) -> Table:
    """The rows of one epoch: the labelled corpora whole, neutral lines drawn, spoken and long lines made, noise."""
    parts = [sources.fixed]
    for name, pool in sources.drawn.items():
        count = min(CONVERSATION_ROWS[name], len(pool))
        parts.append(pool.take(generator.permutation(len(pool))[:count]))
    share = min(1.0, len(sources.fixed) / 40_000)  # a small corpus gets as small a share of made lines
    made = spoken_lines(int(SPOKEN_ROWS * share), sources.quotable, generator)
    made += emoji_lines(int(EMOJI_ROWS * share), generator)
    parts.append(table([line.text for line in made], np.array([line.target for line in made]).reshape(-1, 7)))
    parts.append(long_lines(sources, int(LONG_ROWS * share), generator))
    parts.append(table(noise_texts(noise, generator), np.full((noise, len(basic7())), 1 / len(basic7()))))
    return join(parts)


def long_lines(sources: Sources, count: int, generator: np.random.Generator) -> Table:
    """One row of the corpora among two to five neutral lines, at any place: its feeling is the whole line's."""
    neutral = basic7().index("Neutral")
    rows = np.flatnonzero(np.isfinite(sources.fixed.seven).all(1))
    calm = [text for pool in sources.drawn.values() for text in pool.texts]
    texts, targets = [], []
    for row in generator.choice(rows, count) if len(rows) and calm else ():
        around = [calm[int(i)] for i in generator.integers(0, len(calm), int(generator.integers(2, 6)))]
        around.insert(int(generator.integers(0, len(around) + 1)), sources.fixed.texts[row])
        texts.append(" ".join(around))
        target = sources.fixed.seven[row] * LONG_FEELING
        target[neutral] += 1 - LONG_FEELING
        targets.append(target)
    return table(texts, np.array(targets).reshape(-1, len(basic7())))


def encode(rows: Table, tokens: WordPiece, max_length: int, generator: np.random.Generator) -> list[list[int]]:
    """Augmented ids of every row."""
    return [tokens.encode(clean(augment(text, generator)), max_length) for text in rows.texts]


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
    ids: Sequence[Sequence[int]], rows: Table, size: int, fill: int, generator: np.random.Generator
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
        padded, mask = pad([ids[i] for i in chosen], fill)
        yield TextBatch(padded, mask, rows.seven[chosen], rows.fine[chosen], rows.affect[chosen])
