"""The trained speech student on its validation rows: what it says, what quantisation changes, its calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_face.core.numeric import softmax
from emo_face.core.types import FloatArray
from emo_face.datasets.text import GOEMOTIONS, XED
from emo_face.evaluation.metrics.calibration import ece
from emo_face.evaluation.metrics.single_label import macro_f1
from emo_face.evaluation.text.leak import retypeset
from emo_face.perception.nano.wordpiece import WordPiece, clean
from emo_face.training.text.calibration import (
    Part,
    Scaling,
    as_conversation,
    best_thresholds,
    fine_macro_f1,
    fit_affect,
    fit_labels,
    fit_register,
    fit_seven,
)
from emo_face.training.text.examples import Sources
from emo_face.training.text.model import FINE, TextNet, pooled_of

MESSAGES = "messages"
"""Typed conversation and commands, beside XED's subtitles the other half of dialogue."""
CHECKED_ROWS = 1500
"""Of each corpus, where quantisation is checked and the finished file is judged."""
REGISTER_ROWS = 2000
"""Training lines of comments, and of talk, that tell the two apart."""


@dataclass(frozen=True)
class Outputs:
    """Outputs of one file on the validation rows.

    Attributes:
        seven: corpus -> logits (n, 7) and truth (n,). fine: (n, 28) logits. affect: (n, 2).
    """

    seven: dict[str, tuple[FloatArray, NDArray[np.int64]]]
    fine: FloatArray
    affect: FloatArray

    @classmethod
    def of(
        cls, path: Path, tokens: WordPiece, sources: Sources, max_length: int, threads: int, whole: bool = False
    ) -> Outputs:
        """Run the file over the validation rows, one at a time as at run time; XED's without its typing.

        Args:
            whole: all rows, also those of the 28 labels and of valence and arousal; else the first of each corpus.
        """
        from emo_face.runtime.engines.ort import OrtEngine

        backend = OrtEngine(path, threads=threads)

        def run(texts: Sequence[str], output: int) -> FloatArray:
            ids = (np.asarray([tokens.encode(clean(text), max_length)], np.int64) for text in texts)
            return np.concatenate([backend.run({"ids": row})[output] for row in ids]).astype(np.float64)

        lines = {
            name: ([retypeset(row.text) if name == XED else row.text for row in rows], [row.labels[0] for row in rows])
            for name, rows in sources.splits.validation.items()
        }
        messages = sources.message_validation
        if messages.texts:
            lines[MESSAGES] = (messages.texts, messages.seven.argmax(1).tolist())
        seven = {}
        for name, (texts, truth) in lines.items():
            count = len(texts) if whole else CHECKED_ROWS
            seven[name] = (np.log(np.maximum(run(texts[:count], 0), 1e-12)), np.array(truth[:count]))
        if not whole:
            return cls(seven, np.zeros((0, FINE)), np.zeros((0, 2)))
        said = np.clip(run(sources.fine_validation.texts, 1), 1e-9, 1 - 1e-9)
        return cls(seven, np.log(said / (1 - said)), run(sources.affect_validation.texts, 2))


@dataclass(frozen=True)
class Calibration:
    """Scale and bias (37,) of all outputs for comments, those of the seven (7,) for talk, thresholds of the 28."""

    scale: FloatArray
    bias: FloatArray
    talk: Scaling
    thresholds: NDArray[np.float64]
    figures: dict[str, float]


def register_of(
    net: TextNet, tokens: WordPiece, sources: Sources, seed: int, max_length: int
) -> tuple[FloatArray, float]:
    """Weights and bias that tell talk from comments by the pooled vector, from training rows of both."""
    rng = np.random.default_rng((seed, 23))

    def some(texts: Sequence[str], count: int) -> list[str]:
        return [texts[i] for i in rng.permutation(len(texts))[:count]]

    by_source = {name: [row.text for row in sources.splits.train if row.source == name] for name in (GOEMOTIONS, XED)}
    talk = [retypeset(text) for text in some(by_source[XED], REGISTER_ROWS // 2)]
    for pool in sources.drawn.values():
        talk += some(pool.texts, REGISTER_ROWS // 2 // len(sources.drawn))
    comments = some(by_source[GOEMOTIONS], REGISTER_ROWS)
    return fit_register(*(pooled_of(net, tokens, texts, max_length) for texts in (comments, talk)))


def agreement(exact: Outputs, rough: Outputs) -> dict[str, Any]:
    """What quantisation changes on the validation rows."""
    same = {name: tuple(part[: len(exact.seven[name][1])] for part in rough.seven[name]) for name in exact.seven}
    differ = [exact.seven[k][0].argmax(1) != same[k][0].argmax(1) for k in exact.seven]
    losses = [_macro_f1(exact.seven[k]) - _macro_f1((same[k][0], same[k][1])) for k in exact.seven if k != MESSAGES]
    return {"changed_by_quantisation": float(np.concatenate(differ).mean()), "macro_f1_loss": float(max(losses))}


def figures(said: Outputs) -> dict[str, dict[str, float]]:
    """Macro-F1, accuracy and ECE of the finished file on the validation rows of each corpus."""
    return {
        name: {
            "macro_f1": round(_macro_f1((logits, truth)), 4),
            "accuracy": round(float((logits.argmax(1) == truth).mean()), 4),
            "ece": round(ece(truth, softmax(logits)), 4),
        }
        for name, (logits, truth) in said.seven.items()
    }


def calibrate(said: Outputs, sources: Sources) -> Calibration:
    """Fit all of it on the uncalibrated outputs."""
    logits, truth = said.seven[GOEMOTIONS]
    comments = fit_seven({"comments": Part(logits, truth, np.full(len(truth), 1 / len(truth)))})
    dialogue = {name: part for name, part in said.seven.items() if name != GOEMOTIONS}
    talk = fit_seven(
        {name: Part(*part, as_conversation(part[1], 1 / len(dialogue))) for name, part in dialogue.items()}
    )
    fine = fit_labels(said.fine, sources.fine_validation.fine)
    probabilities = 1 / (1 + np.exp(-(said.fine * fine.scale + fine.bias)))
    thresholds = best_thresholds(probabilities, sources.fine_validation.fine)
    affect = fit_affect(said.affect, sources.affect_validation.affect.astype(np.float64))
    found = {
        "temperature_comments": comments.figures["temperature"],
        "temperature_talk": talk.figures["temperature"],
        "fine_macro_f1": round(fine_macro_f1(probabilities, sources.fine_validation.fine, thresholds), 4),
        **affect.figures,
    }
    parts = (comments, fine, affect)
    scale, bias = (np.concatenate([getattr(part, name) for part in parts]) for name in ("scale", "bias"))
    return Calibration(scale, bias, talk, thresholds, found)


def _macro_f1(part: tuple[FloatArray, NDArray[np.int64]]) -> float:
    return macro_f1(part[1], softmax(part[0]))
