"""What one pass of ContextFace gives, whatever it ran on. No torch here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from emo_face.core.errors import ModelError
from emo_face.core.labels import label_set, winner
from emo_face.core.types import Emotion, FloatArray
from emo_face.expression.contextface.conditions import Condition
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.prompts import LABEL_SET, label_of, words

Decision = Literal["map", "mean"]
DECISIONS: tuple[Decision, ...] = ("map", "mean")


@dataclass(frozen=True)
class Answer:
    """What one pass gives.

    Attributes:
        words: emotion words, in the order of the arrays. log_probs: (k,) of each whole ending, natural logarithm.
        probabilities: (k,) given that the answer has this form, calibrated; sums to 1. Flat if the form is unlikely.
        faces: (k, outputs) true values of each branch.
        tokens: run through the model. reused: taken from the prefix cache.
    """

    words: tuple[str, ...]
    log_probs: FloatArray
    probabilities: FloatArray
    faces: FloatArray
    tokens: int
    reused: int

    @property
    def emission(self) -> float:
        """The probability that the model answers in this form at all, in [0, 1]."""
        return float(min(1.0, np.exp(self.log_probs).sum()))

    @property
    def word(self) -> str:
        """The most likely emotion; empty if none stands out."""
        best = winner(self.probabilities)
        return "" if best is None else self.words[best]

    def face(self, decision: Decision = "map") -> FloatArray:
        """(outputs,) the most likely branch's face, or the mean of all, weighted (the one of least squared error).

        If no branch stands out there is the mean alone.
        """
        if decision not in DECISIONS:
            raise ValueError(f"decision: {decision!r}, expected one of {', '.join(DECISIONS)}")
        best = winner(self.probabilities)
        if decision == "map" and best is not None:
            return np.asarray(self.faces[best])
        return np.asarray(self.probabilities @ self.faces)


def answer_of(
    config: ContextFaceConfig,
    form: Condition,
    log_probs: FloatArray,
    faces: FloatArray,
    tokens: int,
    reused: int = 0,
) -> Answer:
    """A calibrated answer to a question of ``form``, from the log-probabilities (7,) and faces (7, outputs) of a pass.

    Raises:
        ModelError: a number is not finite.
    """
    if not (np.isfinite(log_probs).all() and np.isfinite(faces).all()):
        raise ModelError("ContextFace gave a number that is not finite; check the checkpoint and its precision")
    return Answer(words(), log_probs, config.probabilities(log_probs, form), faces, tokens, reused)


def in_label_order(names: Sequence[str], values: FloatArray) -> FloatArray:
    """Values of words (k,) in the order of the label set; 0 for a label without a word."""
    by_label = {label_of(word): value for word, value in zip(names, values, strict=True)}
    return np.array([by_label.get(label, 0.0) for label in label_set(LABEL_SET).labels], np.float64)


def emotion_of(probabilities: FloatArray) -> Emotion:
    """The emotion of a person by probabilities in the order of the label set, in full quality."""
    labels = label_set(LABEL_SET)
    top = labels.top(probabilities)
    active = np.array([label == top for label in labels.labels])
    return Emotion(labels.name, probabilities, active, *labels.circumplex(probabilities), {}, 1.0)
