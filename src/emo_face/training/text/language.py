"""Learn to tell a student's languages from others in Latin letters, from lines that are there anyway (SciPy alone).

XED's projections (Öhman et al., COLING 2020, CC-BY-4.0): film subtitles in 14 languages with Latin letters; and the
training rows of the student.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from emo_face.core.errors import UserError
from emo_face.datasets.text import lines
from emo_face.perception.nano.language import BUCKETS, LanguageDetector, features
from emo_face.perception.nano.wordpiece import clean, readable_shares
from emo_face.training.common.loglinear import logistic

PROJECTIONS = "xed_projections"
CODES = {"br": "pt", "cn": "zh"}
"""ISO 639 codes of the projections' files that are named otherwise."""
ROWS_PER_LANGUAGE = 3000
RIDGE = 3e-6


def read_projections(folder: Path) -> dict[str, list[str]]:
    """Name of the file -> lines, languages in Latin letters only. Raises UserError if there are none."""
    found = {}
    for path in sorted(folder.glob("*.tsv")):
        rows = [line.split("\t")[0] for line in lines(path)]
        latin = [text for text in rows if readable_shares(clean(text))[0] > 0.9]
        if len(latin) > len(rows) / 2:
            found[path.stem] = latin
    if not found:
        raise UserError(f"{folder}: expected <language>.tsv of XED's Projections/ (Helsinki-NLP/XED), got none")
    return found


def fit(known: Sequence[str], others: Sequence[str]) -> LanguageDetector:
    """Ridge-penalised logistic regression on cleaned lines; both sides weigh the same."""
    truth = np.r_[np.ones(len(known)), np.zeros(len(others))]
    weight, bias = logistic(_matrix([*known, *others]), truth, RIDGE, rounds=120)
    scale = float(np.abs(weight).max() / 127)
    return LanguageDetector(np.round(weight / scale).astype(np.int8), scale, bias)


def train(data: Path, rows: Mapping[str, Sequence[str]], languages: Collection[str], seed: int) -> LanguageDetector:
    """Fit on as many lines of every other language, and as many lines of the known ones as of all others together.

    Args:
        data: holds ``xed_projections/``. rows: further lines by their ISO 639 code. languages: codes of the known ones.
    """
    rng = np.random.default_rng((seed, 17))
    known: list[str] = []
    others: list[str] = []
    for name, found in (*read_projections(data / PROJECTIONS).items(), *rows.items()):
        if CODES.get(name, name) in languages:
            known += found
        else:
            others += [clean(found[i]) for i in rng.permutation(len(found))[:ROWS_PER_LANGUAGE]]
    return fit([clean(known[i]) for i in rng.permutation(len(known))[: len(others)]], others)


def _matrix(texts: Sequence[str]) -> csr_matrix:
    """(n, BUCKETS) counts divided by the root of their number, as the detector does."""
    indices, values, ends = [], [], [0]
    for text in texts:
        found = list(features(text))
        indices += found
        values += [1 / max(len(found), 1) ** 0.5] * len(found)
        ends.append(len(indices))
    return csr_matrix((values, indices, ends), shape=(len(texts), BUCKETS))
