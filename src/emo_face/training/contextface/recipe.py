"""What a ContextFace is asked in training, and how often: the packaged recipe or the user's own."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emo_face.core.errors import ConfigError
from emo_face.datasets.contexts.tasks import kind_of
from emo_face.expression.contextface.conditions import CONDITIONS, PICTURES, WORDS, select
from emo_face.expression.contextface.prompts import PERSPECTIVES, TASKS


@dataclass(frozen=True)
class TaskRecipe:
    """The product of forms, and shares of micro-batches.

    Attributes:
        perspectives, words, pictures: what the questions are about, see
            :mod:`emo_face.expression.contextface.conditions`.
        ratios: share of each of the paper's tasks, 0 or more.
        weights: of one task's form beside its siblings, by the name that :func:`emo_face.datasets.contexts.tasks.build`
            gives it; 1 if it is not named.
    """

    perspectives: tuple[str, ...] = PERSPECTIVES
    words: tuple[str, ...] = WORDS
    pictures: tuple[str, ...] = PICTURES
    ratios: Mapping[str, float] = field(default_factory=lambda: {"situation": 0.3, "expression": 0.4, "vqa": 0.3})
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            select(self.perspectives, self.words, self.pictures)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        for name, values, names in (
            ("ratios", self.ratios, TASKS),
            ("weights", self.weights, (*(f"expression/{c}" for c in CONDITIONS), *SITUATIONS)),
        ):
            for key, value in values.items():
                if key not in names:
                    raise ConfigError(f"{name}: {key!r}, expected one of {', '.join(names)}")
                if not (math.isfinite(value) and value >= 0):
                    raise ConfigError(f"{name}: {key}: expected a number from 0 on, got {value!r}")

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the forms."""
        return select(self.perspectives, self.words, self.pictures)

    def shares(self, tasks: Mapping[str, Sequence[Any]]) -> dict[str, float]:
        """The share of each task that has examples; a kind's ratio is divided among its forms by weight."""
        weight = {name: float(self.weights.get(name, 1.0)) for name in tasks}
        total: dict[str, float] = {}
        for name, value in weight.items():
            total[kind_of(name)] = total.get(kind_of(name), 0.0) + value
        return {
            name: self.ratios.get(kind_of(name), 0.0) * value / (total[kind_of(name)] or 1.0)
            for name, value in weight.items()
        }


SITUATIONS = ("situation/image+quote", "situation/quote")
"""The situation task's forms."""
