"""The peers that the speech student has to beat: TF-IDF of words and pairs, logistic regression (scikit-learn)."""

from collections.abc import Sequence

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.types import FloatArray
from emo_face.datasets.text import TextRow

PEERS = {"tfidf_words": r"(?u)\w+|[^\w\s]", "tfidf_sees_spacing": r"(?u)\S+"}
"""Token patterns. The first reads words and marks; the second splits at spaces only, so "." and "end." differ, which
tells XED's files apart (see :mod:`emo_face.evaluation.text.leak`)."""


class TfidfPeer:
    """One model a corpus, which favours it: the student has one for both and is not told the corpus."""

    def __init__(self, rows: Sequence[TextRow], token_pattern: str, balanced: bool = True) -> None:
        """Train on the single-label rows of ``rows``; ``balanced``: classes weigh alike.

        Raises UserError if scikit-learn is not installed."""
        try:
            from sklearn.feature_extraction.text import TfidfVectorizer
            from sklearn.linear_model import LogisticRegression
            from sklearn.pipeline import make_pipeline
        except ImportError:
            raise UserError("the peer needs scikit-learn: pip install scikit-learn, or leave peers out") from None
        self._models = {}
        for source in sorted({row.source for row in rows}):
            chosen = [row for row in rows if row.source == source and row.single]
            model = make_pipeline(
                TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=token_pattern),
                LogisticRegression(C=4.0, max_iter=300, class_weight="balanced" if balanced else None),
            )
            self._models[source] = model.fit([row.text for row in chosen], [row.labels[0] for row in chosen])
        self.bytes = sum(_bytes(model) for model in self._models.values())

    def probabilities(self, texts: Sequence[str], source: str) -> FloatArray:
        """(n, 7) probabilities of ``texts`` by the model of ``source``."""
        model = self._models[source]
        out = np.zeros((len(texts), 7))
        out[:, model.classes_] = model.predict_proba(texts)
        return out


def _bytes(model) -> int:  # type: ignore[no-untyped-def]  # scikit-learn pipelines have no stubs
    """Bytes of weights (float32), document frequencies and words."""
    words, classifier = model[0], model[-1]
    return int(classifier.coef_.size * 4 + words.idf_.size * 4 + sum(len(w.encode()) for w in words.vocabulary_))
