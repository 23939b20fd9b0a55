"""How much of the emotion the words alone give away: contexts are made by a model that was told the label.

Three readers, none of which understands anything: the share of contexts that name their label, a reader that only looks
for such words, and a bag of words learned on the training contexts.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from emo_face.core.types import FloatArray
from emo_face.datasets.annotate.quality import LEAKS, leaks, named_labels
from emo_face.evaluation.contextface.metrics import emotion_scores
from emo_face.expression.contextface.prompts import words


def leaky(texts: Sequence[str], labels: Sequence[str]) -> dict[str, list[bool]]:
    """Kind of leak -> whether each text has it (``label_word``, ``synonym``)."""
    found = [leaks(text, label) for text, label in zip(texts, labels, strict=True)]
    return {kind: [kind in row for row in found] for kind in LEAKS}


def tokens(text: str) -> list[str]:
    """Lower-case words."""
    return re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)?", text.lower())


class BagOfWords:
    """Multinomial naive Bayes over words (Manning, Raghavan & Schuetze 2008, section 13.2), add-one smoothing."""

    def __init__(self, texts: Sequence[str], labels: Sequence[int], classes: int) -> None:
        counts = [Counter[str]() for _ in range(classes)]
        for text, label in zip(texts, labels, strict=True):
            counts[label].update(tokens(text))
        vocabulary = sorted(set().union(*counts))
        self._places = {word: place for place, word in enumerate(vocabulary)}
        table = np.array([[count[word] for word in vocabulary] for count in counts], float).reshape(classes, -1) + 1
        self._words: FloatArray = np.log(table / table.sum(1, keepdims=True))
        share = np.bincount(np.asarray(labels), minlength=classes) + 1.0
        self._prior: FloatArray = np.log(share / share.sum())

    def predict(self, text: str) -> int:
        """The likeliest class; unknown words say nothing."""
        known = [self._places[word] for word in tokens(text) if word in self._places]
        return int(np.argmax(self._prior + self._words[:, known].sum(1)))


def probe(
    texts: Sequence[str], labels: Sequence[str], train: tuple[Sequence[str], Sequence[str]] | None = None
) -> dict[str, Any]:
    """Shares of leaks and what the readers without understanding reach.

    Args:
        texts, labels: contexts and their emotion words. train: other contexts and words, for the bag of words.

    Returns:
        ``share`` of each kind of leak and of ``any`` (percent); ``word_list`` and ``bag_of_words`` scores.
    """
    names = words()
    kinds = leaky(texts, labels)
    either = np.any(list(kinds.values()), axis=0)
    share = {kind: 100 * float(np.mean(rows)) for kind, rows in kinds.items()} | {"any": 100 * float(np.mean(either))}
    truth = np.array([names.index(label) for label in labels])
    named = [list(named_labels(text)) for text in texts]
    guesses = np.array([names.index(one[0]) if len(one) == 1 else -1 for one in named])
    found: dict[str, Any] = {
        "n": len(texts),
        "share": share,
        "word_list": emotion_scores(truth, guesses, len(names)),
    }
    if train is not None and len(train[0]):
        reader = BagOfWords(train[0], [names.index(label) for label in train[1]], len(names))
        guess = np.array([reader.predict(text) for text in texts])
        found["bag_of_words"] = emotion_scores(truth, guess, len(names))
    return found
