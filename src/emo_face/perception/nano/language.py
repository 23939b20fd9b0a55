"""Whether a line is English: hashed character n-grams and words, one linear layer; plain Python and NumPy.

The speech student knows English only, and a language that it does not know looks to it like a calm line. The method is
that of Cavnar & Trenkle, "N-gram-based text categorization", SDAIR 1994, with learned weights instead of ranks. The
weights are in the student's file (:mod:`emo_face.training.text.language` makes them).
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BUCKETS = 1 << 15
LONGEST = 4
READ_CHARACTERS = 400
"""A language shows in its first words."""
TAG_VOTE = 2.0
"""Log-odds that the recogniser's language tag adds: it decides about "no" and "hotel", not about a whole sentence."""
ENGLISH_VOTE = 1.5
"""Log-odds for English without a tag: the robot's people mostly speak what it was bought for."""
SURE, LOST = 0.7, 0.3
"""P(English) from which a line is read in full, and up to which it is not read at all."""


@dataclass(frozen=True, slots=True)
class LanguageDetector:
    """P(English) of a line.

    Attributes:
        weights: (BUCKETS,) int8. scale: of the weights. bias: log-odds of an empty line.
    """

    weights: NDArray[np.int8]
    scale: float
    bias: float

    def english(self, cleaned: str, vote: float = 0.0) -> float:
        """P(English) in [0, 1] of a cleaned line; ``vote``: log-odds by a language tag, 0 without one."""
        found = list(features(cleaned))
        score = self.bias + (vote or ENGLISH_VOTE)
        if found:
            score += self.scale * float(self.weights[found].astype(np.int64).sum()) / math.sqrt(len(found))
        return 1.0 / (1.0 + math.exp(-min(max(score, -30.0), 30.0)))

    def to_text(self) -> str:
        """For the metadata of a model file; :meth:`from_text` reads it."""
        return f"{self.scale!r} {self.bias!r} {base64.b64encode(zlib.compress(self.weights.tobytes(), 9)).decode()}"

    @classmethod
    def from_text(cls, text: str) -> LanguageDetector:
        """Raises ValueError if ``text`` is not what :meth:`to_text` wrote."""
        try:
            scale, bias, packed = text.split(" ")
            weights = np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.int8)
            detector = cls(weights, float(scale), float(bias))
        except (ValueError, zlib.error) as error:
            raise ValueError(f"language: {error}") from None
        if len(weights) != BUCKETS or not (math.isfinite(detector.scale) and math.isfinite(detector.bias)):
            raise ValueError(f"language: expected {BUCKETS} weights, got {len(weights)}")
        return detector


def share_known(english: float) -> float:
    """How far a line may be read, in [0, 1]: 0 if it is hardly English, 1 if it surely is."""
    return min(max((english - LOST) / (SURE - LOST), 0.0), 1.0)


def features(cleaned: str) -> Iterator[int]:
    """Buckets of a line's words and of their 1- to 4-grams, with word ends marked; letters only."""
    for word in _words(cleaned[:READ_CHARACTERS]):
        marked = f"<{word}>"
        yield _bucket(f"={word}")
        for size in range(1, LONGEST + 1):
            for start in range(len(marked) - size + 1):
                yield _bucket(marked[start : start + size])


def _words(text: str) -> Iterable[str]:
    return "".join(c if c.isalpha() else " " for c in text.replace("'", "").replace("’", "")).split()


def _bucket(gram: str) -> int:
    return zlib.crc32(gram.encode("utf-8", "replace")) % BUCKETS
