"""The nano backend: FACS prototypes blended by the probabilities of the person the robot follows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.errors import ConfigError
from emo_face.core.labels import basic7, label_set
from emo_face.core.types import Emotion, ExpressionTarget, FloatArray
from emo_face.expression.model import Context, ExpressionModel, SeenPerson
from emo_face.expression.policy import Camera, Perspective, eyes_of, load_perspectives
from emo_face.face.expressions.basis import Basis, open_basis
from emo_face.face.expressions.facs import Facs, default_facs, load_facs

GAZE_SHAPES = np.array([ARKIT_INDEX[name] for name in ARKIT_52 if name.startswith("eyeLook")])
USABLE_QUALITY = 0.3
"""From this quality of the observation on the expression has its full strength; below it fades to nothing."""


@dataclass(frozen=True, slots=True)
class PrototypeSettings:
    """How strong, how long and from whose side.

    Attributes:
        perspective: a perspective of the table, ``mirror`` or ``listener`` in the packaged one.
        intensity: [0, 1] factor on every expression; 0 keeps the face at rest.
        valid_for: seconds after the stamp for which a driver may show the target.
        mirror_person: copy the person's own ARKit activations in ``mirror`` where they are measured.
        camera: for the gaze towards the person.
        facs_file, perspectives_file: the user's own tables; the packaged ones where empty.
    """

    perspective: str = "listener"
    intensity: float = 0.8
    valid_for: float = 1.0
    mirror_person: bool = True
    camera: Camera = field(default_factory=Camera)
    facs_file: str = ""
    perspectives_file: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.intensity <= 1:
            raise ConfigError(f"intensity: {self.intensity}, expected a number from 0 to 1")
        if not (math.isfinite(self.valid_for) and self.valid_for > 0):
            raise ConfigError(f"valid_for: {self.valid_for} s, expected more than 0")


class PrototypeExpression(ExpressionModel):
    """FACS prototypes blended by the probabilities, without any network.

    Raises:
        ConfigError: the perspective of the settings is not in the table.
    """

    name = "prototypes"

    def __init__(
        self,
        settings: PrototypeSettings | None = None,
        facs: Facs | None = None,
        perspectives: Mapping[str, Perspective] | None = None,
        basis: Basis | None = None,
    ) -> None:
        self.settings = settings or PrototypeSettings()
        self._facs = facs or _facs_of(self.settings.facs_file)
        table = perspectives if perspectives is not None else _perspectives_of(self.settings, self._facs)
        if self.settings.perspective not in table:
            raise ConfigError(f"perspective: {self.settings.perspective!r}, expected one of {', '.join(table)}")
        self._answers = table[self.settings.perspective]
        self._basis = basis or open_basis()
        self.basis = self._basis.name
        self.hashes: Mapping[str, str] = self._basis.hashes

    def express(self, context: Context, now: float) -> ExpressionTarget:
        """See :meth:`emo_face.expression.model.ExpressionModel.express`."""
        if context.followed is None:
            return self._rest(context)
        return self._answer(context, context.followed)

    def arkit(self, emotion: Emotion, spoken: bool = False, own: FloatArray | None = None) -> FloatArray:
        """ARKit activations (52,) in [0, 1] that answer one person's emotion; the eyes look straight ahead.

        Args:
            emotion: of any label set that the FACS table covers.
            spoken: the person's words are fresh.
            own: (52,) the person's own activations; a mirror copies them when they are finite.
        """
        strength = self.settings.intensity * self._trust(emotion)
        if own is not None and self._copies(own):
            result: FloatArray = strength * np.clip(np.asarray(own, dtype=np.float64), 0.0, 1.0)
        else:
            labels = label_set(emotion.label_set)
            seen = self._facs.strengths(labels.labels, emotion.probabilities)
            implied = labels.circumplex(_usable(emotion.probabilities))[1]
            scale = self._facs.arousal_scale(emotion.arousal, implied)
            result = self._facs.arkit(self._answers.answer(seen, spoken), strength * scale)
        result[GAZE_SHAPES] = 0.0
        return result

    def _copies(self, own: FloatArray) -> bool:
        mirrors = self.settings.perspective == "mirror" and self.settings.mirror_person
        return mirrors and np.shape(own) == (52,) and bool(np.isfinite(own).all())

    def _trust(self, emotion: Emotion) -> float:
        quality = emotion.quality if math.isfinite(emotion.quality) else 0.0
        return float(np.clip(quality / USABLE_QUALITY, 0.0, 1.0))

    def _answer(self, context: Context, seen: SeenPerson) -> ExpressionTarget:
        emotion = seen.emotion
        labels = label_set(emotion.label_set)
        code = self._basis.encode(self.arkit(emotion, context.speech is not None, seen.arkit))
        probabilities = _usable(emotion.probabilities)
        top = int(np.argmax(probabilities))
        return ExpressionTarget(
            stamp=context.stamp, person_id=seen.person.person_id, perspective=self.settings.perspective,
            emotion=labels.labels[top], label_set=labels.name, probabilities=probabilities,
            coefficients=code.coefficients, basis=self.basis, jaw_pose=code.jaw_pose, eyelids=code.eyelids,
            gaze=self._gaze(context, seen), intensity=self.settings.intensity * self._trust(emotion),
            confidence=float(np.clip(probabilities[top], 0.0, 1.0)) * self._trust(emotion),
            valid_for=self.settings.valid_for, source=self.name,
        )  # fmt: skip

    def _gaze(self, context: Context, seen: SeenPerson) -> FloatArray:
        eyes = eyes_of(seen.person)
        if eyes is None or context.scene is None:
            return np.zeros(2)
        return self.settings.camera.gaze(eyes, context.scene.width, context.scene.height)

    def _rest(self, context: Context) -> ExpressionTarget:
        """A face at rest that looks ahead; nobody is there."""
        labels = basic7()
        probabilities = np.zeros(len(labels))
        probabilities[labels.index("Neutral")] = 1.0
        code = self._basis.encode(np.zeros(52))
        return ExpressionTarget(
            stamp=context.stamp, person_id="", perspective=self.settings.perspective, emotion="Neutral",
            label_set=labels.name, probabilities=probabilities, coefficients=code.coefficients, basis=self.basis,
            jaw_pose=code.jaw_pose, eyelids=code.eyelids, gaze=code.gaze, intensity=0.0, confidence=0.0,
            valid_for=self.settings.valid_for, source=self.name,
        )  # fmt: skip


def _usable(probabilities: FloatArray) -> FloatArray:
    """Probabilities in [0, 1]; what is not finite counts as 0."""
    finite = np.nan_to_num(np.asarray(probabilities, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(np.clip(finite, 0.0, 1.0))


def _facs_of(file: str) -> Facs:
    return load_facs(Path(file).expanduser()) if file else default_facs()


def _perspectives_of(settings: PrototypeSettings, facs: Facs) -> Mapping[str, Perspective]:
    file = settings.perspectives_file
    return load_perspectives(facs, Path(file).expanduser() if file else None)
