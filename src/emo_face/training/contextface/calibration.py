"""A trained ContextFace's words calibrated: temperature and least emission of each side, fitted on validation data."""

from __future__ import annotations

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
from emo_face.evaluation.metrics.single_label import Labels
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.onepass import OnePass
from emo_face.expression.contextface.prompts import PERSPECTIVES, Example, Perspective, Source, word_of, words

FEWEST = 20
"""Answers of a side from which anything is fitted."""
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
    for example in wrap([e for e in examples if e.task == "expression"]):
        prompt, branches = onepass.endings(example.turns[0].question, _source(example))
        picture = None
        if example.image is not None:
            picture = onepass.eyes.fitted(read_image(Path(), str(example.image)), example.box)
        answer = onepass.run(prompt, branches, words(), picture, example.perspective)
        rows[example.perspective].append((answer.log_probs, words().index(word_of(example.label))))
    return [
        Heard(side, np.stack([logs for logs, _ in found]), np.array([truth for _, truth in found]))
        for side, found in rows.items()
        if found
    ]


def fitted(config: ContextFaceConfig, heard: Sequence[Heard]) -> tuple[ContextFaceConfig, dict[str, Any]]:
    """The config with what fits, and what was found by side: answers, ECE before and after on the same answers."""
    temperatures, least = dict(config.temperatures), dict(config.least_emissions)
    report: dict[str, Any] = {}
    for part in heard:
        if len(part.truth) < FEWEST:
            report[part.side] = {"n": len(part.truth), "fitted": False}
            continue
        warmth = temperature_of_logits(part.truth, part.log_probs)
        temperatures[part.side] = warmth
        least[part.side] = float(MARGIN * np.quantile(part.emissions, OUTLIERS))
        report[part.side] = {
            "n": len(part.truth),
            "fitted": True,
            "temperature": warmth,
            "least_emission": least[part.side],
            "ece_before": ece(part.truth, softmax(part.log_probs)),
            "ece_after": ece(part.truth, softmax(part.log_probs / warmth)),
        }
    return replace(config, temperatures=temperatures, least_emissions=least), report


def _source(example: Example) -> Source:
    """What the example's answer says it considered."""
    said = example.turns[0].answer[1].text if len(example.turns[0].answer) > 1 else ""
    return "situation" if said == "situation" else "quote" if said == "quote" else "image"
