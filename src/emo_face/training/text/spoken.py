"""Spoken lines that the corpora hardly have, from the patterns of ``data/spoken_patterns.yaml``.

Comments and subtitles seldom tell whose feeling a line is about. The kinds here come in pairs that differ in just that:
my own against somebody else's, felt against denied, said against quoted, ironic against sincere.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emo_face.core.labels import basic7
from emo_face.core.paths import data_table

_SLOT = re.compile(r"\{(\w+)\}")
_FEELINGS = ("Anger", "Disgust", "Fear", "Happy", "Sad", "Surprise")

KINDS: dict[str, tuple[float, dict[str, float] | None]] = {
    "others": (0.15, {"Neutral": 0.95}),
    "others_felt": (0.08, None),
    "own": (0.17, None),
    "not_own": (0.09, {"Neutral": 0.9}),
    "not_good": (0.04, {"Anger": 0.5, "Sad": 0.45}),
    "so_good": (0.03, {"Happy": 0.95}),
    "never_so": (0.04, None),
    "quoted": (0.12, {"Neutral": 0.95}),
    "quoted_felt": (0.06, None),
    "ironic": (0.11, {"Anger": 0.7, "Sad": 0.2}),
    "sincere": (0.05, {"Happy": 0.95}),
    "robot": (0.1, {"Neutral": 0.98}),
}
"""Kind -> share of the lines, and the target (the rest is spread evenly); None: the feeling that was drawn."""
_OWN = 0.95
_ENDS = (".", "!", ".", "", "")


@dataclass(frozen=True, slots=True)
class SpokenLine:
    """A made line. ``target``: (7,) distribution in the order of basic7, as nested tuples can be compared."""

    text: str
    target: tuple[float, ...]
    kind: str


def patterns() -> dict[str, Any]:
    """The pattern file."""
    return data_table("spoken_patterns.yaml")


def spoken_lines(count: int, corpus: Sequence[str], rng: np.random.Generator) -> list[SpokenLine]:
    """Draw ``count`` lines.

    Args:
        corpus: lines that may be quoted; all of them from training rows.
    """
    kinds = list(KINDS)
    shares = np.array([KINDS[kind][0] for kind in kinds])
    drawn = rng.choice(len(kinds), count, p=shares / shares.sum())
    out = []
    for index in drawn:
        kind = kinds[int(index)]
        feeling = str(rng.choice(_FEELINGS))
        text = _fill(_one(patterns()[kind], rng), feeling, corpus, rng)
        target = KINDS[kind][1] or {feeling: _OWN}
        if rng.random() < 0.1 and kind in ("own", "robot", "sincere"):
            label = max(target, key=lambda name: target[name])
            text = f"{text} {_one(patterns()['emoji'][label], rng)}"
        out.append(SpokenLine(text, _distribution(target), kind))
    return out


def emoji_lines(count: int, rng: np.random.Generator) -> list[SpokenLine]:
    """Emoji alone or behind a clause of the same feeling."""
    out = []
    for _ in range(count):
        label = str(rng.choice(basic7().labels))
        clause = _one(patterns()["clauses"][label], rng) if rng.random() < 0.5 else ""
        text = f"{clause} {_one(patterns()['emoji'][label], rng)}".strip()
        out.append(SpokenLine(text, _distribution({label: _OWN}), "emoji"))
    return out


def hesitate(text: str, rng: np.random.Generator) -> str:
    """Put one or two fillers between the words, as a recogniser writes them down."""
    words = text.split()
    for _ in range(int(rng.integers(1, 3))):
        words.insert(int(rng.integers(0, len(words) + 1)), _one(patterns()["fillers"], rng))
    return " ".join(words)


def mistype(text: str, rng: np.random.Generator) -> str:
    """Swap, drop or double a letter in about every fourth word of three letters or more."""
    out = []
    for word in text.split(" "):
        if len(word) > 2 and rng.random() < 0.25:
            at = int(rng.integers(0, len(word) - 1))
            change = rng.integers(0, 3)
            if change == 0:
                word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
            elif change == 1:
                word = word[:at] + word[at + 1 :]
            else:
                word = word[: at + 1] + word[at:]
        out.append(word)
    return " ".join(out)


def _fill(pattern: str, feeling: str, corpus: Sequence[str], rng: np.random.Generator) -> str:
    """Fill every slot with a draw of its own."""
    table = patterns()
    neutral_kind = "Neutral"

    def draw(found: re.Match[str]) -> str:
        makers: dict[str, Callable[[], str]] = {
            "person": lambda: _one(table["people"], rng),
            "topic": lambda: _one(table["topics"], rng),
            "feeling": lambda: _one(table["feelings"][feeling], rng),
            "other": lambda: _one(table["feelings"][str(rng.choice(_FEELINGS))], rng),
            "good_feeling": lambda: _one(table["feelings"]["Happy"], rng),
            "clause": lambda: _one(table["clauses"][feeling], rng),
            "verb": lambda: _one(table["verbs"].get(feeling, table["verbs"]["Surprise"]), rng),
            "line": lambda: str(corpus[int(rng.integers(len(corpus)))]) if corpus else neutral_kind,
            "calm": lambda: _one(table["calm"], rng),
            "place": lambda: _one(table["places"], rng),
            "thing": lambda: _one(table["things"], rng),
            "side": lambda: _one(table["sides"], rng),
            "good": lambda: _one(table["good"], rng),
            "bad": lambda: _one(table["bad"], rng),
            "bad_deed": lambda: _one(table["bad_deeds"], rng),
            "praise": lambda: _one(table["praise"], rng),
        }
        return makers[found.group(1)]()

    text = _SLOT.sub(draw, pattern)
    return text if text.endswith("?") else text + str(rng.choice(_ENDS))


def _one(choices: Sequence[str], rng: np.random.Generator) -> str:
    return str(choices[int(rng.integers(len(choices)))])


def _distribution(shares: dict[str, float]) -> tuple[float, ...]:
    """(7,) distribution; what ``shares`` leave is spread evenly over the other labels."""
    labels = basic7().labels
    rest = (1.0 - sum(shares.values())) / (len(labels) - len(shares))
    return tuple(shares.get(label, rest) for label in labels)
