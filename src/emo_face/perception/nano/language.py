"""Whether a line is in a language that a student knows: hashed character n-grams and words, one linear layer.

Plain Python and NumPy. A language that a speech student does not know looks to it like a calm line. The method is
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

from emo_face.perception.nano.wordpiece import is_latin

BUCKETS = 1 << 15
LONGEST = 4
READ_CHARACTERS = 400
"""A language shows in its first words."""
TAG_VOTE = 2.0
"""Log-odds that the recogniser's language tag adds: it decides about "no" and "hotel", not about a whole sentence."""
PRIOR = 1.5
"""Log-odds for the student's language without a tag: the robot's people mostly speak what it was bought for."""
SURE, LOST = 0.7, 0.3
"""P(known) from which a line is read in full, and up to which it is not read at all."""


@dataclass(frozen=True, slots=True)
class LanguageDetector:
    """P(the line is in a known language).

    Attributes:
        weights: (BUCKETS,) int8. scale: of the weights. bias: log-odds of an empty line.
    """

    weights: NDArray[np.int8]
    scale: float
    bias: float

    def known(self, cleaned: str, vote: float = 0.0) -> float:
        """P(known) in [0, 1] of a cleaned line; ``vote``: log-odds by a language tag or without one."""
        found = list(features(cleaned))
        score = self.bias + vote
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


def share_known(known: float) -> float:
    """How far a line may be read, in [0, 1]: 0 if it is hardly in a known language, 1 if it surely is."""
    return min(max((known - LOST) / (SURE - LOST), 0.0), 1.0)


def features(cleaned: str) -> Iterator[int]:
    """Buckets of a line's words and of their 1- to 4-grams, with word ends marked; Latin letters only."""
    for word in _words(cleaned[:READ_CHARACTERS]):
        marked = f"<{word}>"
        yield _bucket(f"={word}")
        for size in range(1, LONGEST + 1):
            for start in range(len(marked) - size + 1):
                yield _bucket(marked[start : start + size])


def _words(text: str) -> Iterable[str]:
    return "".join(c if c.isalpha() and is_latin(c) else " " for c in text.replace("'", "").replace("’", "")).split()


def _bucket(gram: str) -> int:
    return zlib.crc32(gram.encode("utf-8", "replace")) % BUCKETS
