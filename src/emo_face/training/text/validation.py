"""The trained speech student on its validation rows: what it says, what quantisation changes, its calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.numeric import softmax
from emo_face.core.types import Array, FloatArray, IntArray
from emo_face.datasets.text import GOEMOTIONS, XED, retypeset
from emo_face.evaluation.metrics.calibration import ece
from emo_face.evaluation.metrics.single_label import macro_f1
from emo_face.perception.nano.wordpiece import WordPiece, clean
from emo_face.runtime.engines.ort import OrtEngine
from emo_face.training.text.calibration import (
    Part,
    Scaling,
    as_conversation,
    best_thresholds,
    fine_macro_f1,
    fit_affect,
    fit_confidence,
    fit_labels,
    fit_register,
    fit_seven,
)
from emo_face.training.text.examples import Sources
from emo_face.training.text.model import FINE, TextNet, pooled_of

CALM, MESSAGES = "calm", "messages"
"""Lines without feeling (commands, messages called neutral) and messages with one."""
CHECKED_ROWS = 1500
"""Of each corpus, where quantisation is checked and the finished file is judged."""
TALK_SHARE = 0.9
"""Of what a robot hears; the rest reads like comments, whoever says it."""
REGISTER_ROWS = 2000
"""Training lines of comments, and of talk, that tell the two apart."""


@dataclass(frozen=True)
class Outputs:
    """Outputs of one file on the validation rows.

    Attributes:
        seven: corpus -> logits (n, 7) and truth (n,). fine: (n, 28) logits. affect: (n, 2).
    """

    seven: dict[str, tuple[FloatArray, IntArray]]
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
        backend = OrtEngine(path, threads=threads)

        def run(texts: Sequence[str], output: int) -> FloatArray:
            ids = (np.asarray([tokens.encode(clean(text), max_length)], np.int64) for text in texts)
            return np.concatenate([backend.run({"ids": row})[output] for row in ids]).astype(np.float64)

        lines = {
            name: ([retypeset(row.text) if name == XED else row.text for row in rows], [row.labels[0] for row in rows])
            for name, rows in sources.splits.validation.items()
        }
        for name, part in ((CALM, sources.calm_validation), (MESSAGES, sources.message_validation)):
            if part.texts:
                lines[name] = (part.texts, part.seven.argmax(1).tolist())
        kept = slice(None if whole else CHECKED_ROWS)
        seven = {
            name: (np.log(np.maximum(run(texts[kept], 0), 1e-12)), np.array(truth[kept]))
            for name, (texts, truth) in lines.items()
        }
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
    thresholds: Array
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
    weight, bias = fit_register(*(pooled_of(net, tokens, texts, max_length) for texts in (comments, talk)))
    return weight, bias + float(np.log(TALK_SHARE / (1 - TALK_SHARE)))


def agreement(exact: Outputs, rough: Outputs) -> dict[str, Any]:
    """What quantisation changes on the validation rows."""
    same = {name: rough.seven[name][0][: len(truth)] for name, (_, truth) in exact.seven.items()}
    differ = [exact.seven[name][0].argmax(1) != said.argmax(1) for name, said in same.items()]
    losses = [
        _macro_f1(exact.seven[name]) - _macro_f1((same[name], exact.seven[name][1])) for name in (GOEMOTIONS, XED)
    ]
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
    talk = fit_talk(said)
    sure = float(talk.scale[0] / comments.scale[0])  # both as sure as strangers' talk allows
    comments = Scaling(comments.scale * sure, comments.bias * sure, comments.figures)
    fine = fit_labels(said.fine, sources.fine_validation.fine)
    probabilities = 1 / (1 + np.exp(-(said.fine * fine.scale + fine.bias)))
    thresholds = best_thresholds(probabilities, sources.fine_validation.fine)
    affect = fit_affect(said.affect, sources.affect_validation.affect.astype(np.float64))
    found = {
        "temperature": round(1 / float(talk.scale[0]), 4),
        "fine_macro_f1": round(fine_macro_f1(probabilities, sources.fine_validation.fine, thresholds), 4),
        **affect.figures,
    }
    parts = (comments, fine, affect)
    scale, bias = (np.concatenate([getattr(part, name) for part in parts]) for name in ("scale", "bias"))
    return Calibration(scale, bias, talk, thresholds, found)


def fit_talk(said: Outputs) -> Scaling:
    """Biases by XED and calm lines; how sure to be, by XED and strangers' messages.

    What a message's writer felt is often about its topic: such labels say little about which feeling a line has, but
    much about how far a student may be trusted that has learned from others.
    """

    def part(names: Sequence[str], total: float) -> Part:
        rows = [said.seven[name] for name in names if name in said.seven]
        truth = np.concatenate([truth for _, truth in rows])
        return Part(np.concatenate([logits for logits, _ in rows]), truth, as_conversation(truth, total))

    talk = fit_seven({"talk": part((XED, CALM), 1.0)})
    return fit_confidence(talk, (part((XED,), 0.5), part((CALM, MESSAGES), 0.5)))


def _macro_f1(part: tuple[FloatArray, IntArray]) -> float:
    return macro_f1(part[1], softmax(part[0]))
