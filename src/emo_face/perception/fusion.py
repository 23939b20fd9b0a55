"""One distribution from several opinions: a log-linear opinion pool with learned weights.

Source of the method: Genest & Zidek, "Combining probability distributions", Statistical Science 1 (1986), section 3
(logarithmic pools); temperatures: Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2.

Each source s says a distribution p_s with a reliability r_s in [0, 1] (image quality, age of the speech). The pool is

    log p = sum_s  r_s * e_s * log(l_s)  + constant,        e_s = 1 + (w_s - 1) * c_s,
    c_s = 1 - prod over other sources j of (1 - r_j * i_j),         i_j = 1 - entropy(p_j) / log n,
    l_s(x) = max(p_s(x), m_s * a_s * p_s(Neutral)) for every emotion x,     l_s(Neutral) = p_s(Neutral),
    a_s = 1 - prod over j of (1 - r_j * f_j),   f_j = (the largest p_j of an emotion - 1/n) / (1 - 1/n), at least 0.

p_s is calibrated beforehand by its own temperature. w_s is the source's learned weight beside others: because c_s is
how much the others really have to say, a source that is missing, stale, worthless (r = 0) or knows nothing (uniform)
changes nothing at all.

m_s is the source's miss rate: how often a feeling does not show there. People who speak of their fear often keep a
still face, and people who smile say ordinary things. So a feeling is as likely as it shows, or as likely as that it
does not show though it is there (a leak, as in noisy-OR models: Pearl, "Probabilistic Reasoning in Intelligent
Systems", 1988); however sure a source is of Neutral, it speaks no more than 1 / m_s to 1 against a feeling that another
one plainly reports. The larger of the two, not their sum: what a source does show stays as plain, and sources that
agree make each other surer. a_s, how much feeling the others report, leaves neutral with neutral as it is; its f_j asks
how plain the feeling is and not how little else there is: a smile of 0.8 is no half-feeling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from emo_face.core.errors import ConfigError
from emo_face.core.labels import label_set
from emo_face.core.numeric import log_softmax
from emo_face.core.types import Array, FloatArray
from emo_face.core.versions import known_version
from emo_face.core.yaml_files import BoundedLoader

NEUTRAL = "Neutral"
FLOOR = 1e-4
"""Lowest probability believed from a source: no source may veto a label."""
HELD = 0.5
"""Share of its time to live in which an utterance counts in full."""

Positive = Annotated[float, Field(gt=0, le=20, allow_inf_nan=False)]
Unit = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class SourceParameters(BaseModel):
    """Temperature of a source on its own, its weight beside others, how often a feeling that another source reports
    does not show in it, and the quality from which it counts in full."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 1.0
    miss_rate: Unit = 0.0
    temperature: Positive = 1.0
    trusted: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0

    def reliability(self, quality: float) -> float:
        """How far to trust what was read at this quality: in proportion, up to ``trusted``, then fully; in [0, 1]."""
        return min(max(quality, 0.0) / self.trusted, 1.0) if math.isfinite(quality) else 0.0


class FusionParameters(BaseModel):
    """``models/nano_fusion.yaml``; written by ``emo-face train fusion``.

    Attributes:
        label_set: name of the label set of every source.
        sources: source name -> parameters.
        thresholds: label -> probability from which it is active; 0.5 if absent.
        trained: how the numbers came about, for people.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[int, BeforeValidator(known_version(1))] = 1
    label_set: str
    sources: dict[str, SourceParameters]
    thresholds: dict[str, Unit] = Field(default_factory=dict)
    trained: dict[str, object] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _labels_known(self) -> FusionParameters:
        known = label_set(self.label_set)
        for label in self.thresholds:
            known.index(label)
        return self

    def source(self, name: str) -> SourceParameters:
        """Parameters of a source; one that the file does not know counts as it is."""
        return self.sources.get(name, SourceParameters())

    def threshold_array(self) -> Array:
        """(n,) thresholds in label order."""
        return np.array([self.thresholds.get(label, 0.5) for label in label_set(self.label_set).labels])


def read_fusion(path: Path) -> FusionParameters:
    """Read and validate a fusion file. Raises ConfigError naming the file and the field."""
    try:
        return FusionParameters.model_validate(yaml.load(path.read_text(encoding="utf-8"), Loader=BoundedLoader) or {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "(whole file)"
        message = f"{path}: field {where}: {first['msg']}; write it anew by `emo-face train fusion`"
        raise ConfigError(message) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError) as error:
        message = f"{path}: cannot be read: {error}; write it anew by `emo-face train fusion`"
        raise ConfigError(message) from None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one source says: (n,) probabilities, and how far to trust them here and now, in [0, 1]."""

    probabilities: FloatArray
    reliability: float = 1.0


@dataclass(frozen=True, slots=True)
class Fused:
    """The pool's result.

    Attributes:
        probabilities: (n,) summing to 1. reliability: in [0, 1], of all sources together.
        evidence: source -> signed share in the top label; absolute values sum to at most 1.
    """

    probabilities: Array
    evidence: dict[str, float]
    reliability: float


def fuse(opinions: Mapping[str, Opinion], parameters: FusionParameters) -> Fused:
    """Pool the opinions about one person.

    Args:
        opinions: source name -> opinion; a source unknown to ``parameters`` counts with weight and temperature 1.
            Probabilities that are not finite, or not of the right length, count as missing.

    Returns:
        The uniform distribution with reliability 0 if nobody has anything to say. Evidence is the change of the
        top label's log-probability when the source is left out, divided by the larger of log n and the sum of all
        changes: 1 means that this source alone is fully certain of the label, negative that it speaks against it.
    """
    n = len(label_set(parameters.label_set))
    usable = {name: o for name, o in opinions.items() if _usable(o, n)}
    log_p = _pool(usable, parameters)
    top = int(np.argmax(log_p))
    change = {
        name: float(log_p[top] - _pool({k: o for k, o in usable.items() if k != name}, parameters)[top])
        for name in usable
    }
    total = max(math.log(n), sum(abs(value) for value in change.values()))
    doubt = math.prod(1.0 - min(o.reliability, 1.0) for o in usable.values())
    return Fused(np.exp(log_p), {name: value / total for name, value in change.items()}, 1.0 - doubt)


def speech_reliability(age: float, confidence: float, ttl: float) -> float:
    """How far to trust an utterance: its recogniser's confidence, whole for a while, then falling smoothly to 0.

    A feeling does not end with the words: episodes last from seconds to hours and fade (Verduyn, Delvaux, Van Coillie,
    Tuerlinckx & Van Mechelen, "Predicting the duration of emotional experience", Emotion 9, 2009). So the words of
    ``ttl`` seconds count in full for :data:`HELD` of them, and fade by half a cosine over the rest.
    """
    if not (math.isfinite(age) and math.isfinite(confidence)) or ttl <= 0:
        return 0.0
    faded = min(max((age / ttl - HELD) / (1.0 - HELD), 0.0), 1.0)
    return min(max(confidence, 0.0), 1.0) * (1.0 + math.cos(math.pi * faded)) / 2.0


def _usable(opinion: Opinion, n: int) -> bool:
    p = np.asarray(opinion.probabilities, dtype=np.float64)
    good = p.shape == (n,) and bool(np.isfinite(p).all()) and bool((p >= 0).all()) and p.sum() > 0
    return good and math.isfinite(opinion.reliability) and opinion.reliability > 0


def pool_log(
    probabilities: Mapping[str, FloatArray], reliability: Mapping[str, float], parameters: FusionParameters
) -> Array:
    """The formula of the module for many people at once.

    Args:
        probabilities: source -> (..., n), finite and not negative. reliability: source -> [0, 1].

    Returns:
        (..., n) normalised log-probabilities.
    """
    labels = label_set(parameters.label_set).labels
    n, neutral = len(labels), np.array([label == NEUTRAL for label in labels])
    calibrated, said, felt = {}, {}, {}
    for name, values in probabilities.items():
        p = np.clip(np.asarray(values, dtype=np.float64), FLOOR, None)
        log_p = log_softmax(np.log(p / p.sum(-1, keepdims=True)) / parameters.source(name).temperature)
        p, trust = np.exp(log_p), min(reliability[name], 1.0)
        information = 1.0 + (p * log_p).sum(-1, keepdims=True) / math.log(n)
        plain = np.where(neutral, 0.0, p).max(-1, keepdims=True)
        calibrated[name] = p
        said[name] = trust * np.clip(information, 0.0, 1.0)
        felt[name] = trust * np.clip((plain - 1 / n) / (1 - 1 / n), 0.0, 1.0)
    logits = np.zeros(n)
    for name, p in calibrated.items():
        source = parameters.source(name)
        missed = source.miss_rate * _others(felt, name)
        silent = (p * neutral).sum(-1, keepdims=True)  # 0 in a label set without Neutral
        likely = np.where(neutral, p, np.maximum(p, missed * silent))
        exponent = 1.0 + (source.weight - 1.0) * _others(said, name)
        logits = logits + min(reliability[name], 1.0) * exponent * np.log(likely)
    return np.asarray(log_softmax(logits), np.float64)


def _others(shares: Mapping[str, Array], name: str) -> Array | float:
    """What all sources but ``name`` have together: 1 - prod (1 - share); 0 if there is no other."""
    rest = [1.0 - value for other, value in shares.items() if other != name]
    return 1.0 - math.prod(rest[1:], start=rest[0]) if rest else 0.0


def _pool(opinions: Mapping[str, Opinion], parameters: FusionParameters) -> Array:
    said = {name: opinion.probabilities for name, opinion in opinions.items()}
    return pool_log(said, {name: opinion.reliability for name, opinion in opinions.items()}, parameters)
