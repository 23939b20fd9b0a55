"""A trained ContextFace's words calibrated on validation data: by form of the question, or by side for rare forms."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from emo_face.core.numeric import log_softmax, softmax
from emo_face.core.types import FloatArray
from emo_face.datasets.records import read_image
from emo_face.evaluation.metrics.calibration import ece
from emo_face.evaluation.metrics.single_label import Labels, macro_f1
from emo_face.expression.contextface.answer import Answer
from emo_face.expression.contextface.conditions import CONDITIONS
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.onepass import Asked, OnePass
from emo_face.expression.contextface.prompts import PERSPECTIVES, Example, word_of, words

TOGETHER = 8
"""Questions that are asked in one pass."""
FEWEST, ENOUGH = 20, 100
"""Answers of a side, and of one of its forms, from which anything is fitted; and groups from which a shift is.

Answers about seven events tell how sure a model is, not which words it says too often: a shift learns the events."""
PULL = 0.01
"""Weight of a pull of the shift towards 0 beside the mean log-loss, which alone would give rare emotions away."""
OUTLIERS, MARGIN = 0.01, 0.1
"""The least emission is a tenth of what all but one in a hundred validated answers have."""


@dataclass(frozen=True)
class Heard:
    """What a model answered to examples with known emotions.

    Attributes:
        name: of their form of the question, or of a perspective. log_probs: (n, 7) of whole endings. truth: (n,) index
            of the emotion. groups: (n,) names of what they are about; answers about the same are not independent.
    """

    name: str
    log_probs: FloatArray
    truth: Labels
    groups: NDArray[np.str_]

    @property
    def independent(self) -> int:
        """How many groups there are."""
        return len(np.unique(self.groups))

    @property
    def emissions(self) -> FloatArray:
        """(n,) probability of the expected form, in [0, 1]."""
        return np.asarray(np.minimum(1.0, np.exp(self.log_probs).sum(1)))


def listen(onepass: OnePass, examples: Iterable[Example], wrap: Callable[[Any], Any] = iter) -> list[Heard]:
    """Ask a model its training's questions; only examples of the expression task. ``wrap``: for a bar."""
    rows: dict[str, list[tuple[FloatArray, int, str]]] = {name: [] for name in CONDITIONS}
    every = [e for e in examples if e.task == "expression"]
    for start in wrap(range(0, len(every), TOGETHER)):
        group = every[start : start + TOGETHER]
        for example, answer in zip(group, _answers(onepass, group), strict=True):
            emotion = words().index(word_of(example.label))
            rows[example.form].append((answer.log_probs, emotion, example.group or example.id))
    return [Heard(name, *map(np.array, zip(*found, strict=True))) for name, found in rows.items() if found]


def _answers(onepass: OnePass, group: Sequence[Example]) -> list[Answer]:
    """Answers to a few questions."""
    asked = []
    for example in group:
        picture, form = None, CONDITIONS[example.form]
        if example.image is not None:
            picture = onepass.eyes.fitted(read_image(Path(), str(example.image)), example.box)
        asked.append(Asked(*onepass.endings(example.turns[0].question, form.source), picture, form))
    return list(onepass.several(asked))


def fitted(config: ContextFaceConfig, heard: Sequence[Heard]) -> tuple[ContextFaceConfig, dict[str, Any]]:
    """The config with what fits, and what was found by side and form: ECE before and after on the same answers.

    A form with too few answers is left to its side.
    """
    temperatures: dict[str, float] = {}
    least: dict[str, float] = {}
    shifts: dict[str, dict[str, float]] = {}
    report: dict[str, Any] = {}
    for part in (*sides(heard), *heard):
        if len(part.truth) < (FEWEST if part.name in PERSPECTIVES else ENOUGH):
            report[part.name] = {"n": len(part.truth), "fitted": False}
            continue
        temperatures[part.name], shift = scaled(part)
        shifts[part.name] = dict(zip(words(), map(float, shift), strict=True))
        before, after = softmax(part.log_probs), softmax((part.log_probs + shift) / temperatures[part.name])
        least[part.name] = float(MARGIN * np.quantile(part.emissions, OUTLIERS))
        report[part.name] = {
            "n": len(part.truth),
            "groups": part.independent,
            "fitted": True,
            "macro_f1_before": macro_f1(part.truth, before),
            "macro_f1_after": macro_f1(part.truth, after),
            "temperature": temperatures[part.name],
            "least_emission": least[part.name],
            "ece_before": ece(part.truth, before),
            "ece_after": ece(part.truth, after),
        }
    return replace(config, temperatures=temperatures, least_emissions=least, shifts=shifts), report


def sides(heard: Sequence[Heard]) -> Iterator[Heard]:
    """The answers of each perspective to all of its forms."""
    for side in PERSPECTIVES:
        if own := [part for part in heard if CONDITIONS[part.name].perspective == side]:
            parts = ((part.log_probs, part.truth, part.groups) for part in own)
            yield Heard(side, *map(np.concatenate, zip(*parts, strict=True)))


def scaled(heard: Heard) -> tuple[float, FloatArray]:
    """The temperature and the shift (7,) with the least log-loss: softmax((log_probs + shift) / temperature)."""
    rows, sure = np.arange(len(heard.truth)), heard.independent
    free = np.r_[1.0, np.full(len(words()), float(sure >= ENOUGH))]

    def loss(x: FloatArray) -> float:
        x = x * free
        said = log_softmax((heard.log_probs + x[1:]) / np.exp(x[0]))[rows, heard.truth]
        doubt = x[0] ** 2 / sure  # a prior on the temperature: without it a hundred right answers make it 0
        return float(PULL * (x[1:] ** 2).sum() + doubt - said.mean())

    best = free * minimize(loss, np.zeros_like(free), method="L-BFGS-B").x
    return float(np.exp(best[0])), np.asarray(best[1:])
