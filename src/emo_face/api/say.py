"""Say a sentence: which emotions its words carry, and the face that goes with them."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from emo_face.api.look import nano_model
from emo_face.api.reading import Reading
from emo_face.core.arkit import ARKIT_52
from emo_face.core.errors import UserError
from emo_face.core.types import Array, Emotion, ImageArray, Person, Speech
from emo_face.expression.prototypes import PrototypeExpression, PrototypeSettings


@dataclass(frozen=True, slots=True)
class SayResult(Reading):
    """One sentence and its face.

    Attributes:
        text: the sentence. emotion: probabilities as arrays. arkit: (52,) in [0, 1], order of ``ARKIT_52``.
    """

    text: str
    emotion: Emotion
    arkit: Array

    @property
    def blendshapes(self) -> dict[str, float]:
        """ARKit name -> value in [0, 1] of the channels that move, strongest first."""
        order = np.argsort(-self.arkit, kind="stable")
        return {ARKIT_52[i]: float(self.arkit[i]) for i in order if self.arkit[i] > 0}

    def drawn(self, theme: str = "human", size: tuple[int, int] = (480, 480)) -> ImageArray:
        """The face as a picture; ``theme`` is ``robot``, ``eyes`` or ``human``, ``size`` width and height in pixels."""
        from emo_face.face.pictures.sketch import draw_face

        return draw_face(self.arkit, size, theme)


def say(text: str, perspective: Literal["speaker", "listener"] = "speaker", intensity: float = 0.8) -> SayResult:
    """Read a sentence with the nano tier's speech student and find the face that goes with it.

    Args:
        text: English; other scripts are not read (quality 0).
        perspective: ``speaker``, who shows what the words say, or ``listener``, who answers them.
        intensity: [0, 1], of the face.

    Raises:
        UserError: no string, an unknown perspective, or an intensity outside [0, 1].
        ModelError: the speech student is missing or damaged.
    """
    if not isinstance(text, str):
        raise UserError(f"text: expected a string, got {type(text).__name__}")
    if perspective not in ("speaker", "listener"):
        raise UserError(f"perspective: {perspective!r}, expected speaker or listener")
    face = _prototypes("mirror" if perspective == "speaker" else "listener", intensity)
    nobody = Person("p00000", 1.0)
    blank = np.zeros((1, 1, 3), np.uint8)
    (emotion,) = nano_model().estimate(blank, [nobody], {nobody.person_id: Speech(text, 0.0)}, 0.0)
    return SayResult(text, emotion, np.asarray(face.arkit(emotion, spoken=emotion.quality > 0), np.float64))


@cache
def _prototypes(perspective: str, intensity: float) -> PrototypeExpression:
    return PrototypeExpression(PrototypeSettings(perspective, intensity))
