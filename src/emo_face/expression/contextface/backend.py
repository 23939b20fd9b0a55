"""The full tier's expression backend: ContextFace on the live context window."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from emo_face.core.errors import ConfigError, UserError
from emo_face.core.labels import label_set
from emo_face.core.types import Emotion, ExpressionTarget, FloatArray
from emo_face.expression.contextface import prompts
from emo_face.expression.contextface.answer import DECISIONS, Answer, emotion_of, in_label_order
from emo_face.expression.contextface.conditions import condition_of, known, nearest
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.picture import HeldPicture, SeenPicture
from emo_face.expression.model import Context, ExpressionModel
from emo_face.expression.policy import Camera
from emo_face.expression.prototypes import PrototypeExpression, PrototypeSettings, gaze_at, held
from emo_face.expression.shown import shown_of
from emo_face.expression.timed import Onset, lasting, timed
from emo_face.expression.words import timing_of
from emo_face.face.expressions.basis import FaceCode, open_basis
from emo_face.face.motion.keyframes import ARKIT_BASIS

MAX_JAW = 0.6
"""rad: a head's jaw output is held to this angle (a jaw opens about 0.5 rad)."""


@dataclass(frozen=True)
class ContextFaceSettings:
    """How the robot uses ContextFace.

    Attributes:
        perspective: ``mirror`` shows what the person feels (the paper's task), ``listener`` what the other side feels.
        decision: ``map`` the most likely emotion's face, ``mean`` all weighted.
        image_period: seconds between two pictures; in between the scene's tokens are reused and only speech is new.
            0 takes every picture, a negative number none.
        intensity, valid_for, timed, camera: as for the prototypes.
    """

    perspective: str = "listener"
    decision: str = "mean"
    image_period: float = 2.0
    intensity: float = 0.8
    valid_for: float = 1.0
    timed: bool = False
    camera: Camera = field(default_factory=Camera)

    def __post_init__(self) -> None:
        if self.decision not in DECISIONS:
            raise ConfigError(f"contextface.decision: {self.decision!r}, expected one of {', '.join(DECISIONS)}")
        if not math.isfinite(self.image_period):
            raise ConfigError(f"contextface.image_period: {self.image_period} s, expected a finite number")


class ContextFaceExpression(ExpressionModel):
    """A ContextFace engine behind the expression node.

    Attributes:
        engine: a :class:`~emo_face.expression.contextface.engine.Engine`; free-form questions go to it directly.
        warning: why the last answer used less than it was given (a full GPU), or empty.
    """

    name = "contextface"

    def __init__(
        self, engine: Any, settings: ContextFaceSettings | None = None, rest: PrototypeExpression | None = None
    ) -> None:
        self.engine, self.settings = engine, settings or ContextFaceSettings()
        self.config: ContextFaceConfig = engine.config
        self.basis = self.config.basis
        self.hashes: Mapping[str, str] = engine.hashes
        self.warning = ""
        own = self.settings
        self._rest = rest or PrototypeExpression(
            PrototypeSettings(own.perspective, own.intensity, own.valid_for, camera=own.camera, timed=own.timed)
        )
        # the emotion is the robot's already: it is shown, not answered once more
        self._mouth = PrototypeExpression(PrototypeSettings("mirror", own.intensity, own.valid_for))
        self.look = HeldPicture()
        self._last: tuple[Any, Answer] | None = None
        self._onset = Onset()

    def express(self, context: Context, now: float) -> ExpressionTarget:
        """See :meth:`emo_face.expression.model.ExpressionModel.express`.

        Without anything that the model learned to answer the prototypes answer the emotion that was read from the
        person.

        Raises:
            ModelError: the model gave a number that is not finite; nothing may be shown then.
        """
        quote = prompts.safe(context.speech.text) if context.speech else ""
        look = self.look.of(context, self.settings.image_period if self._sees else -1.0)
        if not self._answers(quote, look):
            self.warning = self._untrained
            return self._rest.express(context, now)
        key = (quote, id(look), self._side)
        if self._last is not None and self._last[0] == key:
            answer = self._last[1]
        else:
            answer = self.ask(quote, look=look)
            self._last = (key, answer)
        target = self.target(answer, context, prompts.context_kind(quote, "", look is not None))
        if not self.settings.timed or context.speech is None:
            return target
        start = self._onset.of(context.speech, now)
        return replace(target, start=start, valid_for=lasting(start, target.keyframes, context.stamp, target.valid_for))

    def ask(
        self, quote: str = "", situation: str = "", look: SeenPicture | None = None, perspective: str = ""
    ) -> Answer:
        """One pass; also for services that bring their own words. ``perspective`` empty takes the settings'."""
        image, box = (look.image, look.box) if look is not None else (None, None)
        side = side_of(perspective or self.settings.perspective)
        answer: Answer = self.engine.answer(quote, situation, image, box, side)
        self.warning = self.engine.degraded
        return answer

    def target(
        self,
        answer: Answer,
        context: Context,
        source: str,
        emotion: str = "",
        intensity: float = 0.0,
        perspective: str = "",
    ) -> ExpressionTarget:
        """The expression of an answer.

        Args:
            emotion: a label to show whatever the model finds likely; empty for the model's decision.
            intensity: (0, 1]; 0 takes the settings'.

        Raises:
            UserError: no such emotion; lists them.
        """
        strength = intensity or self.settings.intensity
        probabilities = in_label_order(answer.words, answer.probabilities)
        side = perspective or self.settings.perspective
        if emotion:
            face, top = answer.faces[answer.words.index(_known(emotion))], prompts.label_of(emotion)
            shares = {top: 1.0}
        else:
            face = answer.face("map" if self.settings.decision == "map" else "mean")
            top = self._labels.top(probabilities)
            every = dict(zip(self._labels.labels, map(float, probabilities), strict=True))
            shares = {} if not top else {top: 1.0} if self.settings.decision == "map" else every
        strength = strength if shares else 0.0  # a flat answer has no face
        code = self._code(face, probabilities if not emotion else _one(self._labels.labels, top), strength)
        feels = self._feels(side, probabilities, context)
        wanted = self.settings.timed and context.speech is not None
        frames = timed(code, timing_of(shares)) if wanted else (held(code),)
        return ExpressionTarget(
            stamp=context.stamp,
            person_id=context.followed.person.person_id if context.followed else "",
            perspective=side,
            feels=feels,
            shown=shown_of(shares, strength),
            keyframes=frames,
            basis=self.basis,
            gaze=gaze_at(context, self.settings.camera),
            confidence=float(probabilities[self._labels.index(top)]) if top else 0.0,
            valid_for=self.settings.valid_for,
            source=self.name,
            words=context.speech,
            text=prompts.plain(prompts.branch_parts(source, top)[0]) + f" {prompts.word_of(top)}." if top else "",  # type: ignore[arg-type]
        )

    def _feels(self, perspective: str, probabilities: FloatArray, context: Context) -> Emotion | None:
        """What the person feels: as the model says of the speaker; a listener's answer says nothing of the speaker."""
        if side_of(perspective) == "listener":
            return context.followed.emotion if context.followed else None
        return emotion_of(probabilities)

    @property
    def _sees(self) -> bool:
        """Whether the model learned to use a picture for this side."""
        return any(c.picture and c.perspective == self._side for c in known(self.config.conditions))

    @property
    def _untrained(self) -> str:
        """What to say of a model that never learned to answer for this side, or an empty text."""
        if any(c.perspective == self._side for c in known(self.config.conditions)):
            return ""
        return (
            f"contextface.model was not trained for perspective {self.settings.perspective}: the prototypes answer; "
            "train with --perspectives speaker,listener, or set perspective"
        )

    def _answers(self, quote: str, look: SeenPicture | None) -> bool:
        """Whether the model learned to answer what is there; else the prototypes do."""
        if not quote and look is None:
            return False
        wanted = condition_of(quote, "", look is not None, self._side)
        return nearest(wanted, self.config.conditions) is not None

    @property
    def _labels(self) -> Any:
        return label_set(prompts.LABEL_SET)

    @property
    def _side(self) -> prompts.Perspective:
        return side_of(self.settings.perspective)

    def _code(self, face: FloatArray, probabilities: FloatArray, strength: float) -> FaceCode:
        """Coefficients from the head; jaw and lids too if it has them, else from the emotions' prototypes."""
        if self.basis == ARKIT_BASIS:
            return FaceCode(np.clip(strength * face, 0.0, 1.0), np.zeros(3), np.zeros(2), np.zeros(2))
        parts = {name: np.asarray(face[where]) for name, where in self.config.slices().items()}
        shown = open_basis().encode(self._mouth.arkit(emotion_of(probabilities))) if len(parts) < 3 else None
        jaw = strength * parts["jaw"] if "jaw" in parts else shown.jaw_pose if shown else np.zeros(3)
        lids = strength * parts["eyelids"] if "eyelids" in parts else shown.eyelids if shown else np.zeros(2)
        angle = float(np.linalg.norm(jaw))
        jaw = jaw * min(1.0, MAX_JAW / angle) if angle > 0 else jaw
        return FaceCode(strength * parts["expression"], jaw, np.clip(lids, 0.0, 1.0), np.zeros(2))


def side_of(perspective: str) -> prompts.Perspective:
    """Whose face: a mirror shows the speaker's, any listener the other side's."""
    return "speaker" if perspective in ("mirror", "speaker") else "listener"


def _known(emotion: str) -> str:
    try:
        return prompts.word_of(emotion)
    except ValueError as error:
        raise UserError(f"emotion: {error}") from None


def _one(labels: tuple[str, ...], top: str) -> FloatArray:
    return np.array([float(label == top) for label in labels])
