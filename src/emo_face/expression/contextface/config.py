"""Settings of a ContextFace model, saved with its weights. No torch here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emo_face.core.arkit import ARKIT_52
from emo_face.core.errors import ConfigError
from emo_face.core.numeric import softmax
from emo_face.core.types import FloatArray
from emo_face.expression.contextface.conditions import CONDITIONS, Condition, known
from emo_face.expression.contextface.prompts import PERSPECTIVES, STYLES, Style, words
from emo_face.face.expressions.basis import COEFFICIENTS, OPEN_BASIS
from emo_face.face.flame.model import VERSIONS
from emo_face.face.motion.keyframes import ARKIT_BASIS

GROUPS: Mapping[str, int] = {"expression": COEFFICIENTS, "jaw": 3, "eyelids": 2}
"""Groups of the face head and their sizes, in the order of its output."""
BASES = (*VERSIONS, OPEN_BASIS, ARKIT_BASIS)
"""What a head can speak: FLAME's coefficients, the open basis', or the 52 ARKit activations themselves."""

CALIBRATED = (*PERSPECTIVES, *CONDITIONS)
"""What a calibration can be of."""


def size_of(group: str, basis: str) -> int:
    """Numbers of a group; of ARKit's activations there are 52."""
    return len(ARKIT_52) if group == "expression" and basis == ARKIT_BASIS else GROUPS[group]


@dataclass(frozen=True)
class ContextFaceConfig:
    """What a saved model must share with the code that runs it.

    Attributes:
        hidden_offset: which state gives the face: 0 that of ``<FACE>`` itself (the paper, section 3.3), -1 that of the
            token before it, which predicts it (the released code). They are different vectors.
        groups: outputs of the head; expression alone cannot open the mouth (it does not turn the jaw).
        face_basis: ``flame2020``, ``flame2023``, ``open-ict-1`` or ``arkit-52``; ARKit's activations hold jaw and lids,
            so that basis has one group.
        lora_rank, lora_alpha, lora_dropout, lora_targets: adapter on the language model alone; defaults of the released
            code (its lines 34 and 68 to 70).
        lora_from: first layer with an adapter; no gradient goes below it, so with half of the layers a step costs two
            thirds, and ``<FACE>``'s row is then learned as an answer alone.
        chat: how turns are wrapped: ``auto`` by the checkpoint's own chat template, or a name in the prompt table.
        system: system prompt; empty for none. image_size: pixels per side; 0 takes the vision encoder's.
        max_tokens: longer prompts are refused, longer training dialogues cut at their end.
        temperatures: of the distribution over emotions, fitted on validation data; 1 if not named. This and the next
            two by the name of a form of the question, or of a perspective for its other forms.
        shifts: what is added to each word's log-probability before, against words that are likely whatever is said;
            fitted there too.
        least_emissions: the probability of the expected form of answer below which an answer says nothing: what was
            asked is unlike anything that was validated. 0 if not named.
        style: wording of the expression task (:data:`~emo_face.expression.contextface.prompts.STYLES`).
        conditions: forms of the question that it was trained on; a robot asks no other.
    """

    hidden_offset: int = 0
    groups: tuple[str, ...] = ("expression",)
    face_basis: str = "flame2020"
    lora_rank: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.05
    lora_targets: tuple[str, ...] = ("q_proj", "v_proj")
    lora_from: int = 0
    chat: str = "auto"
    system: str = ""
    image_size: int = 0
    max_tokens: int = 1536
    temperatures: Mapping[str, float] = field(default_factory=dict)
    least_emissions: Mapping[str, float] = field(default_factory=dict)
    shifts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    style: Style = "paper"
    conditions: tuple[str, ...] = tuple(CONDITIONS)

    def __post_init__(self) -> None:
        if self.hidden_offset not in (0, -1):
            raise ConfigError(f"hidden_offset: expected 0 (paper) or -1 (released code), got {self.hidden_offset}")
        wanted = tuple(name for name in GROUPS if name in self.groups)
        if "expression" not in self.groups or len(wanted) != len(self.groups) or wanted != tuple(self.groups):
            raise ConfigError(f"groups: expected expression and optionally jaw, eyelids, in order, got {self.groups}")
        for name, values in (("temperatures", self.temperatures), ("least_emissions", self.least_emissions)):
            for key, value in values.items():
                if key not in CALIBRATED or not (math.isfinite(value) and value >= 0):
                    raise ConfigError(f"{name}: {key}: expected a perspective or form and a number from 0, got {value}")
        if not all(value > 0 for value in self.temperatures.values()):
            raise ConfigError(f"temperatures: expected more than 0, got {dict(self.temperatures)}")
        for key, shift in self.shifts.items():
            if key not in CALIBRATED or set(shift) != set(words()) or not all(map(math.isfinite, shift.values())):
                raise ConfigError(
                    f"shifts: {key}: expected a perspective or form and a number for every word, got {shift}"
                )
        if self.style not in STYLES:
            raise ConfigError(f"style: expected one of {', '.join(STYLES)}, got {self.style!r}")
        try:
            known(self.conditions)
        except ValueError as error:
            raise ConfigError(f"conditions: {error}") from None
        if self.face_basis not in BASES:
            raise ConfigError(f"face_basis: expected one of {', '.join(BASES)}, got {self.face_basis!r}")
        if self.face_basis == ARKIT_BASIS and self.groups != ("expression",):
            raise ConfigError(f"groups: {ARKIT_BASIS} holds jaw and eyelids already, expected expression alone")

    def probabilities(self, log_probs: FloatArray, form: Condition) -> FloatArray:
        """(7,) calibrated, of log-probabilities (7,) of whole endings; flat if an answer of this kind is unlikely."""

        def of(values: Mapping[str, Any], otherwise: Any) -> Any:
            return values.get(form.name, values.get(form.perspective, otherwise))

        if min(1.0, float(np.exp(log_probs).sum())) < of(self.least_emissions, 0.0):
            return np.full(len(log_probs), 1.0 / len(log_probs))
        shift = of(self.shifts, dict.fromkeys(words(), 0.0))
        shifted = np.asarray(log_probs, np.float64) + [shift[word] for word in words()]
        return softmax(shifted / of(self.temperatures, 1.0))

    @property
    def basis(self) -> str:
        """Name of the basis that messages carry: FLAME 2023 Open has FLAME 2023's expressions."""
        return self.face_basis.removesuffix("_open")

    @property
    def outputs(self) -> int:
        """Numbers that the head gives: 52, or 100 to 105."""
        return sum(size_of(name, self.face_basis) for name in self.groups)

    def slices(self) -> dict[str, slice]:
        """Group -> its place in the head's output."""
        result, start = {}, 0
        for name in self.groups:
            result[name] = slice(start, start + size_of(name, self.face_basis))
            start = result[name].stop
        return result
