"""A trained ContextFace's words calibrated: shift, temperature and least emission of each side, on validation data."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.numeric import softmax
from emo_face.core.types import FloatArray
from emo_face.datasets.views import read_image
from emo_face.evaluation.metrics.calibration import ece
from emo_face.evaluation.metrics.scaling import temperature_of_logits
from emo_face.evaluation.metrics.single_label import Labels, macro_f1
from emo_face.expression.contextface.answer import Answer
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.onepass import OnePass
from emo_face.expression.contextface.prompts import PERSPECTIVES, Example, Perspective, Source, word_of, words

TOGETHER = 8
"""Questions that are asked in one pass."""
FEWEST = 20
"""Answers of a side from which anything is fitted."""
SHARES = tuple(np.linspace(0.0, 1.0, 11))
"""How much of the model's own leaning is taken off its words: the share with the best macro-F1 on validation. A fit by
log-loss would give rare emotions away."""
OUTLIERS, MARGIN = 0.01, 0.1
"""The least emission is a tenth of what all but one in a hundred validated answers have."""


@dataclass(frozen=True)
class Heard:
    """What a model answered to examples with known emotions.

    Attributes:
        log_probs: (n, 7) of whole endings. truth: (n,) index of the emotion. side: of all of them.
    """

    side: Perspective
    log_probs: FloatArray
    truth: Labels

    @property
    def emissions(self) -> FloatArray:
        """(n,) probability of the expected form, in [0, 1]."""
        return np.asarray(np.minimum(1.0, np.exp(self.log_probs).sum(1)))


def listen(onepass: OnePass, examples: Iterable[Example], wrap: Callable[[Any], Any] = iter) -> list[Heard]:
    """Ask a model its training's questions; only examples of the expression task. ``wrap``: for a bar."""
    rows: dict[Perspective, list[tuple[FloatArray, int]]] = {side: [] for side in PERSPECTIVES}
    every = [e for e in examples if e.task == "expression"]
    for start in wrap(range(0, len(every), TOGETHER)):
        group = every[start : start + TOGETHER]
        for example, answer in zip(group, _answers(onepass, group), strict=True):
            rows[example.perspective].append((answer.log_probs, words().index(word_of(example.label))))
    return [
        Heard(side, np.stack([logs for logs, _ in found]), np.array([truth for _, truth in found]))
        for side, found in rows.items()
        if found
    ]


def _answers(onepass: OnePass, group: Sequence[Example]) -> list[Answer]:
    """Answers to a few questions."""
    pictures = [
        None if e.image is None else onepass.eyes.fitted(read_image(Path(), str(e.image)), e.box) for e in group
    ]
    asked = [
        (*onepass.endings(example.turns[0].question, _source(example)), picture)
        for example, picture in zip(group, pictures, strict=True)
    ]
    return list(onepass.several(asked, words()))


def fitted(config: ContextFaceConfig, heard: Sequence[Heard]) -> tuple[ContextFaceConfig, dict[str, Any]]:
    """The config with what fits, and what was found by side: answers, ECE before and after on the same answers."""
    temperatures, least, shifts = dict(config.temperatures), dict(config.least_emissions), dict(config.shifts)
    report: dict[str, Any] = {}
    for part in heard:
        if len(part.truth) < FEWEST:
            report[part.side] = {"n": len(part.truth), "fitted": False}
            continue
        share, shift = unleaning(part)
        shifts[part.side] = dict(zip(words(), map(float, shift), strict=True))
        shifted = part.log_probs + shift
        warmth = temperature_of_logits(part.truth, shifted)
        temperatures[part.side] = warmth
        least[part.side] = float(MARGIN * np.quantile(part.emissions, OUTLIERS))
        report[part.side] = {
            "n": len(part.truth),
            "fitted": True,
            "shift_share": share,
            "macro_f1_before": macro_f1(part.truth, softmax(part.log_probs)),
            "macro_f1_after": macro_f1(part.truth, softmax(shifted)),
            "temperature": warmth,
            "least_emission": least[part.side],
            "ece_before": ece(part.truth, softmax(part.log_probs)),
            "ece_after": ece(part.truth, softmax(shifted / warmth)),
        }
    return replace(config, temperatures=temperatures, least_emissions=least, shifts=shifts), report


def unleaning(heard: Heard) -> tuple[float, FloatArray]:
    """The share of :data:`SHARES` with the best macro-F1, the least of equals, and the shift (7,) that it makes."""
    leaning = np.log(softmax(heard.log_probs).mean(0))
    scores = [macro_f1(heard.truth, softmax(heard.log_probs - share * leaning)) for share in SHARES]
    share = SHARES[int(np.argmax(scores))]
    return float(share), np.asarray(-share * leaning)


def _source(example: Example) -> Source:
    """What the example's answer says it considered."""
    said = example.turns[0].answer[1].text if len(example.turns[0].answer) > 1 else ""
    return "situation" if said == "situation" else "quote" if said == "quote" else "image"
