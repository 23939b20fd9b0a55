"""Scores of the speech student on the held-out splits, beside TF-IDF + logistic regression peers.

Keys of a model's figures: ``goemotions_macro_f1``, ``xed_macro_f1`` (lines as they stand in the corpus), ``ece`` (the
worse of the two corpora), ``ms_per_utterance`` (median, one core, tokenising included), ``bytes``; then 95 % bootstrap
intervals, accuracy, ECE and class F1 of each corpus, and two readings of XED's typing leak
(:mod:`emo_face.evaluation.text.leak`): ``xed_macro_f1_leak_removed``, the figure to believe, and
``xed_macro_f1_leak_used``, to compare with models that see spelling.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_face.core.labels import basic7
from emo_face.core.types import FloatArray
from emo_face.datasets.text import GOEMOTIONS, XED, TextRow, TextSplits, read_splits
from emo_face.evaluation.metrics.calibration import ece
from emo_face.evaluation.metrics.intervals import Rows, bootstrap
from emo_face.evaluation.metrics.single_label import accuracy, f1_per_class, macro_f1
from emo_face.evaluation.text.leak import SpacingCue, retypeset
from emo_face.perception.nano.text import TextStudent

TIMED_UTTERANCES = 300

Predict = Callable[[Sequence[str], str], FloatArray]
"""(texts, corpus) -> (n, 7) probabilities. Only the peers, which have one model a corpus, look at the corpus."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model said about one test split: truth (n,), probabilities (n, 7)."""

    truth: NDArray[np.int64]
    probabilities: FloatArray


def evaluate_text(data: Path, model: Path | None = None, peers: bool = True) -> dict[str, Any]:
    """Score the speech student and its peers.

    Args:
        data: folder with ``goemotions_ekman/`` and ``xed/``.
        model: ONNX file of the student; None takes the store's.
        peers: also train and score the peers (about a minute; needs scikit-learn).

    Returns:
        ``{"text": figures, "peers": {name: figures}, "predictions": {"text"|name: {corpus: Predictions}}}``; all of
        it but ``predictions`` goes into JSON as it is.

    Raises:
        UserError: data are missing or damaged, or scikit-learn is not installed. ModelError: the student does not load.
    """
    splits = read_splits(data)
    student = TextStudent(model) if model else TextStudent.from_store()

    def ours(texts: Sequence[str], _: str) -> FloatArray:
        return student.probabilities(texts)

    said = predictions(splits, ours)
    result: dict[str, Any] = {"text": figures(said, splits, ours, student.path.stat().st_size)}
    result["peers"], result["predictions"] = {}, {"text": said}
    if peers:
        from emo_face.evaluation.text.peer import PEERS, TfidfPeer

        for name, pattern in PEERS.items():
            peer = TfidfPeer(splits.train, pattern)
            said = predictions(splits, peer.probabilities)
            result["peers"][name] = figures(said, splits, peer.probabilities, peer.bytes)
            result["predictions"][name] = said
    return result


def predictions(splits: TextSplits, predict: Predict) -> dict[str, Predictions]:
    """Run a model over both test splits."""
    return {source: _predict(rows, source, predict) for source, rows in splits.test.items()}


def figures(said: Mapping[str, Predictions], splits: TextSplits, predict: Predict, size: int) -> dict[str, Any]:
    """All figures of one model of ``size`` bytes."""
    out: dict[str, Any] = {}
    for source, part in said.items():
        out[f"{source}_macro_f1"] = _macro_f1(part)
    eces = {source: ece(part.truth, part.probabilities) for source, part in said.items()}
    out["ece"] = round(max(eces.values()), 4)
    out["ms_per_utterance"] = round(_milliseconds(splits, predict), 3)
    out["bytes"] = size
    out.update(_leak(said[XED], splits.test[XED], SpacingCue(splits.validation[XED]), predict))
    for source, part in said.items():
        interval = bootstrap(_macro_f1_of(part), len(part.truth))
        out[f"{source}_macro_f1_ci95"] = [round(interval.low, 4), round(interval.high, 4)]
        out[f"{source}_accuracy"] = round(accuracy(part.truth, part.probabilities), 4)
        out[f"{source}_ece"] = round(eces[source], 4)
        scores = f1_per_class(part.truth, part.probabilities)
        out[f"{source}_f1"] = {name: round(float(v), 3) for name, v in zip(basic7().labels, scores, strict=True)}
    return out


def _leak(part: Predictions, rows: Sequence[TextRow], cue: SpacingCue, predict: Predict) -> dict[str, float]:
    """XED macro-F1 with the typing leak removed from the lines, and with it given to the model."""
    removed = Predictions(part.truth, predict([retypeset(row.text) for row in rows], XED))
    used = Predictions(part.truth, cue([row.text for row in rows], part.probabilities))
    return {"xed_macro_f1_leak_removed": _macro_f1(removed), "xed_macro_f1_leak_used": _macro_f1(used)}


def _macro_f1_of(part: Predictions) -> Callable[[Rows], float]:
    return lambda rows: macro_f1(part.truth[rows], part.probabilities[rows])


def _macro_f1(part: Predictions) -> float:
    return round(macro_f1(part.truth, part.probabilities), 4)


def _predict(rows: Sequence[TextRow], source: str, predict: Predict) -> Predictions:
    truth = np.array([row.labels[0] for row in rows], dtype=np.int64)
    return Predictions(truth, predict([row.text for row in rows], source))


def _milliseconds(splits: TextSplits, predict: Predict) -> float:
    """Median milliseconds of one utterance over the first test rows of GoEmotions, one call each."""
    spent = []
    for row in splits.test[GOEMOTIONS][:TIMED_UTTERANCES]:
        start = time.perf_counter()
        predict([row.text], GOEMOTIONS)
        spent.append(time.perf_counter() - start)
    return float(np.median(spent)) * 1000
