"""Learn to tell English from other languages in Latin letters, from lines that the project has anyway (SciPy alone).

English: the training rows of the student. Others: XED's projections (Öhman et al., COLING 2020, CC-BY-4.0), film
subtitles in 14 languages with Latin letters.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit

from emo_face.core.errors import UserError
from emo_face.datasets.text import lines
from emo_face.perception.nano.language import BUCKETS, LanguageDetector, features
from emo_face.perception.nano.wordpiece import clean, latin_share

PROJECTIONS = "xed_projections"
ROWS_PER_LANGUAGE = 3000
RIDGE = 3e-6


def read_projections(folder: Path) -> dict[str, list[str]]:
    """Language -> lines, languages in Latin letters only. Raises UserError if there are none."""
    found = {}
    for path in sorted(folder.glob("*.tsv")):
        rows = [line.split("\t")[0] for line in lines(path)]
        latin = [text for text in rows if latin_share(clean(text)) > 0.9]
        if len(latin) > len(rows) / 2:
            found[path.stem] = latin
    if not found:
        raise UserError(f"{folder}: expected <language>.tsv of XED's Projections/ (Helsinki-NLP/XED), got none")
    return found


def fit(english: Sequence[str], others: Sequence[str]) -> LanguageDetector:
    """Ridge-penalised logistic regression; both sides weigh the same."""
    texts = [*english, *others]
    truth = np.r_[np.ones(len(english)), np.zeros(len(others))]
    share = np.where(truth == 1, 0.5 / len(english), 0.5 / len(others))
    matrix = _matrix(texts)

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        score = matrix @ x[:-1] + x[-1]
        signed = np.where(truth == 1, score, -score)
        slope = share * (expit(score) - truth)
        value = float((share * np.logaddexp(0, -signed)).sum() + RIDGE / 2 * (x[:-1] ** 2).sum())
        return value, np.r_[matrix.T @ slope + RIDGE * x[:-1], slope.sum()]

    found = minimize(loss, np.zeros(BUCKETS + 1), jac=True, method="L-BFGS-B", options={"maxiter": 120})
    scale = float(np.abs(found.x[:-1]).max() / 127)
    return LanguageDetector(np.round(found.x[:-1] / scale).astype(np.int8), scale, float(found.x[-1]))


def train(data: Path, english: Sequence[str], seed: int) -> LanguageDetector:
    """Fit on as many rows of every language, and as many English ones as of all others together."""
    rng = np.random.default_rng((seed, 17))
    others = []
    for rows in read_projections(data / PROJECTIONS).values():
        others += [clean(rows[i]) for i in rng.permutation(len(rows))[:ROWS_PER_LANGUAGE]]
    picked = rng.permutation(len(english))[: len(others)]
    return fit([clean(english[i]) for i in picked], others)


def _matrix(texts: Sequence[str]) -> csr_matrix:
    """(n, BUCKETS) counts divided by the root of their number, as the detector does."""
    indices, values, ends = [], [], [0]
    for text in texts:
        found = list(features(text))
        indices += found
        values += [1 / max(len(found), 1) ** 0.5] * len(found)
        ends.append(len(indices))
    return csr_matrix((values, indices, ends), shape=(len(texts), BUCKETS))
