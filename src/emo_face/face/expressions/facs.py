"""Emotions to action units to ARKit-52: the table of ``data/facs.yaml``, blended by probabilities."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.errors import ConfigError
from emo_face.core.paths import data_file
from emo_face.core.types import FloatArray

_UNIT = re.compile(r"([LR]?)(\d{1,2})")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class ActionUnit(_Strict):
    """One action unit: its FACS name and the ARKit activations of its full movement."""

    name: str
    arkit: dict[str, float]
    source: tuple[str, ...]


class Prototype(_Strict):
    """One full expression: action unit (``4``, ``R14``) -> FACS intensity letter."""

    units: dict[str, str]
    source: tuple[str, ...]


class Blending(_Strict):
    strength_exponent: float = Field(gt=0, le=2)


class Circumplex(_Strict):
    arousal_gain: float = Field(ge=0, le=5)
    min: float = Field(ge=0, le=1)
    max: float = Field(ge=1, le=3)


class FacsTable(_Strict):
    """The file as it is; see the comments in ``data/facs.yaml``."""

    sources: dict[str, str]
    levels: dict[str, float]
    action_units: dict[str, ActionUnit]
    expressions: dict[str, Prototype]
    labels: dict[str, dict[str, float]]
    blending: Blending
    circumplex: Circumplex


class Facs:
    """Blends expressions and turns them into ARKit activations.

    Attributes:
        expressions: names in the order of the rows of :attr:`prototypes`.
        prototypes: (e, 52) ARKit activations of each full expression, in [0, 1].
    """

    def __init__(self, table: FacsTable, origin: str) -> None:
        self.table = table
        self.origin = origin
        self._check_sources()
        self.expressions = tuple(table.expressions)
        self.prototypes = np.stack([self.arkit_of_units(self.units_of(name)) for name in self.expressions])
        for label, mixture in table.labels.items():
            for name in mixture:
                self._require(name, f"labels: {label}")

    def units_of(self, expression: str) -> dict[str, float]:
        """Action unit -> activation in [0, 1] of the full expression; for robots that map units to motors."""
        self._require(expression, "expressions")
        units = {}
        for unit, letter in self.table.expressions[expression].units.items():
            if letter not in self.table.levels:
                known = f"expected one of {', '.join(self.table.levels)}"
                raise ConfigError(f"{self.origin}: expressions: {expression}: {unit}: level {letter!r}, {known}")
            units[unit] = self.table.levels[letter]
        return units

    def arkit_of_units(self, units: Mapping[str, float]) -> FloatArray:
        """ARKit activations (52,) in [0, 1] of action units; contributions add up and saturate at 1.

        Raises:
            ConfigError: an unknown action unit or ARKit name; names it and the file.
        """
        result = np.zeros(52)
        for unit, activation in units.items():
            match = _UNIT.fullmatch(unit)
            if match is None or match[2] not in self.table.action_units:
                known = ", ".join(self.table.action_units)
                raise ConfigError(
                    f"{self.origin}: action unit {unit!r}, expected one of {known}, with or without L or R"
                )
            for name, share in self.table.action_units[match[2]].arkit.items():
                for index in self._indices(name, match[1]):
                    result[index] += share * activation
        return np.clip(result, 0.0, 1.0)

    def mixture_of_label(self, label: str) -> Mapping[str, float]:
        """Expression -> weight for a label of any label set.

        Raises:
            ConfigError: neither an expression nor a label of the file.
        """
        if label in self.table.expressions:
            return {label: 1.0}
        if label in self.table.labels:
            return self.table.labels[label]
        raise ConfigError(f"{self.origin}: no expression for label {label!r}; add a row to `labels` or `expressions`")

    def strengths(self, labels: Sequence[str], probabilities: FloatArray) -> dict[str, float]:
        """Expression -> strength in [0, 1] of a distribution over labels; strengths sum to at most 1.

        A flat distribution, and anything that is not finite, gives no strength. ``Neutral`` counts like any other.
        """
        values = np.nan_to_num(np.asarray(probabilities, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        if values.shape != (len(labels),):
            raise ValueError(f"{values.shape} probabilities for {len(labels)} labels")
        floor = 1.0 / max(len(labels), 2)
        excess = np.clip((np.clip(values, 0.0, 1.0) - floor) / (1.0 - floor), 0.0, 1.0)
        total = float(excess.sum())
        if total <= 0:
            return {}
        excess *= min(1.0, total) ** self.table.blending.strength_exponent / total
        result: dict[str, float] = {}
        for label, strength in zip(labels, excess, strict=True):
            if strength > 0:
                for name, share in self.mixture_of_label(label).items():
                    result[name] = result.get(name, 0.0) + share * float(strength)
        return result

    def arousal_scale(self, measured: float, implied: float) -> float:
        """Factor on the strength from the arousal measured beyond what the labels imply."""
        rule = self.table.circumplex
        if not np.isfinite(measured - implied):
            return 1.0
        return float(np.clip(1.0 + rule.arousal_gain * (measured - implied), rule.min, rule.max))

    def arkit(self, strengths: Mapping[str, float], intensity: float = 1.0) -> FloatArray:
        """ARKit activations (52,) in [0, 1] of a mixture of expressions, never falling as intensity rises.

        Args:
            strengths: expression -> strength >= 0.
            intensity: factor on all, >= 0; 0 gives exactly zero.
        """
        result = np.zeros(52)
        for name, strength in strengths.items():
            self._require(name, "strengths")
            result += strength * self.prototypes[self.expressions.index(name)]
        return np.clip(max(0.0, intensity) * result, 0.0, 1.0)

    def _indices(self, name: str, side: str) -> list[int]:
        if name in ARKIT_INDEX:
            return [ARKIT_INDEX[name]]
        wanted = {"": ("Left", "Right"), "L": ("Left",), "R": ("Right",)}[side]
        found = [ARKIT_INDEX[name + end] for end in wanted if name + end in ARKIT_INDEX]
        if not found:
            known = ", ".join(ARKIT_52)
            raise ConfigError(f"{self.origin}: {name!r} is no ARKit name, with or without a side; known: {known}")
        return found

    def _require(self, expression: str, where: str) -> None:
        if expression not in self.table.expressions:
            known = ", ".join(self.table.expressions)
            raise ConfigError(f"{self.origin}: {where}: unknown expression {expression!r}, expected one of {known}")

    def _check_sources(self) -> None:
        entries: dict[str, ActionUnit | Prototype] = {**self.table.action_units, **self.table.expressions}
        for name, entry in entries.items():
            for source in entry.source:
                if source not in self.table.sources:
                    raise ConfigError(f"{self.origin}: {name}: source {source!r} is not listed under sources")


def read_table(path: Path) -> Any:
    """Parse a YAML file. Raises ConfigError that names the file and the place."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from None


def explain(error: ValidationError) -> str:
    """The first problem of a pydantic error in one line: where, what was expected, what was found."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']} (got {str(first['input'])[:80]!r})"


def load_facs(path: Path) -> Facs:
    """Load a table. Raises ConfigError that names file, field, expected and got."""
    try:
        table = FacsTable.model_validate(read_table(path))
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error)}") from None
    return Facs(table, path.name)


@cache
def default_facs() -> Facs:
    """The packaged table."""
    return load_facs(data_file("facs.yaml"))
