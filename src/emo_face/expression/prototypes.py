"""The nano backend: FACS prototypes blended by the probabilities of the person the robot follows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.errors import ConfigError
from emo_face.core.labels import fine_top_of, label_set, top_of
from emo_face.core.types import Emotion, ExpressionTarget, FloatArray, Keyframe
from emo_face.expression.model import Context, ExpressionModel
from emo_face.expression.policy import Camera, Perspective, eyes_of, load_perspectives
from emo_face.expression.shown import shown_of
from emo_face.expression.timed import Onset, lasting, timed
from emo_face.expression.words import BASIC_OF, FINE, felt, grave_news, strength_of, timing_of
from emo_face.face.expressions.basis import Basis, FaceCode, open_basis
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
        mirror_person: copy the person's own ARKit activations in ``mirror`` if they are measured.
        timed: words are answered by a face that comes, stays and goes.
        camera: for the gaze towards the person.
        facs_file, perspectives_file: the user's own tables; the packaged ones if empty.
    """

    perspective: str = "listener"
    intensity: float = 0.8
    valid_for: float = 1.0
    mirror_person: bool = True
    camera: Camera = field(default_factory=Camera)
    facs_file: str = ""
    perspectives_file: str = ""
    timed: bool = False

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
        self._onset = Onset()

    def express(self, context: Context, now: float) -> ExpressionTarget:
        """See :meth:`emo_face.expression.model.ExpressionModel.express`.

        If nobody is followed, words that nobody in view said are answered; without any the face rests.
        """
        seen, room = context.followed, context.scene.room if context.scene is not None else None
        feels = seen.emotion if seen is not None else room
        mixture = self._mixture(feels, context.speech is not None)
        shown = shown_of(mixture, self.settings.intensity)
        code = self._basis.encode(self._face(mixture, feels, seen.arkit if seen is not None else None))
        frames: tuple[Keyframe, ...] = (held(code),)
        start, valid_for = None, self.settings.valid_for
        if self.settings.timed and context.speech is not None:
            frames, start = timed(code, timing_of(mixture)), self._onset.of(context.speech, now)
            valid_for = lasting(start, frames, context.stamp, valid_for)
        return ExpressionTarget(
            stamp=context.stamp,
            person_id=seen.person.person_id if seen is not None else "",
            perspective=self.settings.perspective,
            feels=feels,
            shown=shown,
            keyframes=frames,
            basis=self.basis,
            gaze=gaze_at(context, self.settings.camera),
            confidence=self._confidence(feels),
            valid_for=valid_for,
            source=self.name,
            words=context.speech,
            start=start,
        )

    def arkit(self, emotion: Emotion, spoken: bool = False, own: FloatArray | None = None) -> FloatArray:
        """ARKit activations (52,) in [0, 1] that answer one person's emotion; the eyes look straight ahead.

        Args:
            emotion: of any label set that the FACS table covers.
            spoken: the person's words are fresh.
            own: (52,) the person's own activations; a mirror copies them when they are finite.
        """
        return self._face(self._mixture(emotion, spoken), emotion, own)

    def _mixture(self, feels: Emotion | None, spoken: bool) -> dict[str, float]:
        """Expression -> strength of the answer; what was read counts as far as it can be trusted."""
        answer = self._answers.answer({}, spoken)
        if feels is None:
            return answer
        labels, said = label_set(feels.label_set), _usable(feels.probabilities)
        seen = self._facs.strengths(labels.labels, said) if top_of(feels) else {}
        if (spoken_of := self._words(feels)) is not None:
            seen = spoken_of
        scale = self._trust(feels) * self._facs.arousal_scale(feels.arousal, labels.circumplex(said)[1])
        for name, strength in self._answers.answer(seen, False).items():
            answer[name] = answer.get(name, 0.0) + scale * strength
        return answer

    def _words(self, feels: Emotion) -> dict[str, float] | None:
        """What words say finer than the basic label, and how strongly; None if they do not speak for that label.

        Neutral words that nothing is seen beside move nothing, however much is left for the other labels. Bad news
        said with a smile speak for themselves (``grave`` of the perspective): nobody smiles back at them.
        """
        words, fine = feels.words, feels.fine_probabilities
        if words is None or fine is None or feels.fine_label_set != FINE or feels.label_set != "basic7":
            return None
        top, label = top_of(feels), fine_top_of(feels)
        if top == "Neutral" and feels.evidence.keys() <= {"speech"}:
            return {}
        mixture: dict[str, float] = {}
        if top == "Happy":
            mixture = grave_news(self._facs, fine, self._answers.grave)
        if top and not mixture and BASIC_OF.get(label) == top:
            mixture = felt(self._facs, fine, feels.probabilities)
        return {name: strength_of(words.text, 0.0) * share for name, share in mixture.items()} or None

    def _face(self, mixture: Mapping[str, float], feels: Emotion | None, own: FloatArray | None) -> FloatArray:
        strength = self.settings.intensity
        if own is not None and feels is not None and self._copies(own):
            result: FloatArray = strength * self._trust(feels) * np.clip(np.asarray(own, dtype=np.float64), 0.0, 1.0)
        else:
            result = self._facs.arkit(mixture, strength)
        result[GAZE_SHAPES] = 0.0
        return result

    def _copies(self, own: FloatArray) -> bool:
        mirrors = self.settings.perspective == "mirror" and self.settings.mirror_person
        return mirrors and np.shape(own) == (52,) and bool(np.isfinite(own).all())

    def _trust(self, emotion: Emotion) -> float:
        quality = emotion.quality if math.isfinite(emotion.quality) else 0.0
        return float(np.clip(quality / USABLE_QUALITY, 0.0, 1.0))

    def _confidence(self, feels: Emotion | None) -> float:
        if feels is None or not top_of(feels):
            return 0.0
        return float(_usable(feels.probabilities).max()) * self._trust(feels)


def gaze_at(context: Context, camera: Camera) -> FloatArray:
    """(2,) rad, yaw and pitch towards the eyes of the person who is followed; ahead if nobody is."""
    seen, scene = context.followed, context.scene
    eyes = eyes_of(seen.person) if seen is not None else None
    return np.zeros(2) if eyes is None or scene is None else camera.gaze(eyes, scene.width, scene.height)


def held(code: FaceCode) -> Keyframe:
    """One keyframe that is held."""
    return Keyframe(0.0, code.coefficients, code.jaw_pose, code.eyelids)


def _usable(probabilities: FloatArray) -> FloatArray:
    """Probabilities in [0, 1]; what is not finite counts as 0."""
    finite = np.nan_to_num(np.asarray(probabilities, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(np.clip(finite, 0.0, 1.0))


def _facs_of(file: str) -> Facs:
    return load_facs(Path(file).expanduser()) if file else default_facs()


def _perspectives_of(settings: PrototypeSettings, facs: Facs) -> Mapping[str, Perspective]:
    file = settings.perspectives_file
    return load_perspectives(facs, Path(file).expanduser() if file else None)
