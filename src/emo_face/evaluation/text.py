"""Scores of the speech student on the held-out splits, beside a TF-IDF + logistic regression peer.

Keys of a model's figures: ``goemotions_macro_f1``, ``xed_macro_f1``, ``ece`` (the worse of the two corpora),
``ms_per_utterance`` (median, one core, tokenising included), ``bytes``; then, for people, 95 % bootstrap intervals,
each corpus's own ECE, accuracy, and ``xed_typeset_macro_f1`` (see :func:`retypeset`).
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
from emo_face.evaluation.text_metrics import bootstrap, calibration_error, class_f1, macro_f1
from emo_face.perception.nano.text import TextStudent

PEER = "tfidf_logistic_regression"
TIMED_UTTERANCES = 300

Predict = Callable[[Sequence[str], str], FloatArray]
"""(texts, corpus) -> (n, 7) probabilities. Only the peer, which has one model a corpus, looks at the corpus."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model said about one test split: truth (n,), probabilities (n, 7)."""

    truth: NDArray[np.int64]
    probabilities: FloatArray


def evaluate_text(data: Path, model: Path | None = None, peers: bool = True) -> dict[str, Any]:
    """Score the speech student and its peer.

    Args:
        data: folder with ``goemotions_ekman/`` and ``xed/``.
        model: ONNX file of the student; None takes the store's.
        peers: also train and score the peer (about 30 s; needs scikit-learn).

    Returns:
        ``{"text": figures, "peers": {name: figures}, "predictions": {"text"|name: {corpus: Predictions}}}``; all of
        it but ``predictions`` goes into JSON as it is.

    Raises:
        UserError: data are missing or damaged, or scikit-learn is not installed. ModelError: the student does not load.
    """
    splits = read_splits(data)
    student = TextStudent(model) if model else TextStudent.from_store()
    said = predictions(splits, lambda texts, _: student.probabilities(texts))
    result: dict[str, Any] = {"text": figures(said, splits, lambda texts, _: student.probabilities(texts))}
    result["text"]["bytes"] = student.path.stat().st_size
    result["peers"], result["predictions"] = {}, {"text": said}
    if peers:
        from emo_face.evaluation.text_peer import TfidfPeer

        peer = TfidfPeer(splits.train)
        said = predictions(splits, peer.probabilities)
        result["peers"][PEER] = {**figures(said, splits, peer.probabilities), "bytes": peer.bytes}
        result["predictions"][PEER] = said
    return result


def predictions(splits: TextSplits, predict: Predict) -> dict[str, Predictions]:
    """Run a model over both test splits."""
    return {source: _predict(rows, source, predict) for source, rows in splits.test.items()}


def figures(said: Mapping[str, Predictions], splits: TextSplits, predict: Predict) -> dict[str, Any]:
    """All figures of one model but its size."""
    out: dict[str, Any] = {}
    for source, part in said.items():
        out[f"{source}_macro_f1"] = round(macro_f1(part.truth, part.probabilities.argmax(1)), 4)
    eces = {source: calibration_error(part.truth, part.probabilities) for source, part in said.items()}
    out["ece"] = round(max(eces.values()), 4)
    out["ms_per_utterance"] = round(_milliseconds(splits, predict), 3)
    for source, part in said.items():
        top = part.probabilities.argmax(1)
        out[f"{source}_macro_f1_ci95"] = [round(x, 4) for x in bootstrap(part.truth, top, macro_f1)]
        out[f"{source}_accuracy"] = round(float((top == part.truth).mean()), 4)
        out[f"{source}_ece"] = round(eces[source], 4)
        scores = class_f1(part.truth, top)
        out[f"{source}_f1"] = {name: round(float(v), 3) for name, v in zip(basic7().labels, scores, strict=True)}
    plain = _predict([_retyped(row) for row in splits.test[XED]], XED, predict)
    out["xed_typeset_macro_f1"] = round(macro_f1(plain.truth, plain.probabilities.argmax(1)), 4)
    return out


def retypeset(text: str) -> str:
    """An XED line without what only tells its two files apart.

    The emotional file has commas, masks such as ``[PERSON]`` and a space before every mark; the neutral file has
    none of them. A model that looks at spelling gains from that here, and nowhere else.
    """
    for mask, word in (("[PERSON]", "Alex"), ("[LOCATION]", "Paris")):
        text = text.replace(mask, word)
    for mark in ".!?;:":
        text = text.replace(f" {mark}", mark)
    return " ".join(text.replace(",", " ").split())


def side_by_side(result: Mapping[str, Any]) -> str:
    """A plain table: one row a figure, one column a model."""
    columns = {"ours": result["text"], **result["peers"]}
    keys = [key for key, value in result["text"].items() if not isinstance(value, dict)]
    lines = [f"{'':26}" + "".join(f"{name:>28}" for name in columns)]
    lines += [f"{key:26}" + "".join(f"{column.get(key)!s:>28}" for column in columns.values()) for key in keys]
    return "\n".join(lines)


def _retyped(row: TextRow) -> TextRow:
    return TextRow(retypeset(row.text), row.labels, row.source, row.single)


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
