"""The nano emotion model: what the face shows and what was said, pooled into one distribution per person.

Sources, by their names in ``evidence`` and in ``models/nano_fusion.yaml``: ``face`` (the face student), ``speech`` (the
speech student) and, where MediaPipe and its file are installed, ``blendshapes`` (the second opinion on the same face).
"""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from emo_face.core.labels import basic7
from emo_face.core.paths import share_dir
from emo_face.core.types import Array, Emotion, Face, FloatArray, ImageArray, Person, Speech
from emo_face.perception.emotion import EmotionModel
from emo_face.perception.fusion import FusionParameters, Opinion, fuse, read_fusion, speech_reliability
from emo_face.runtime.engines.select import Engines
from emo_face.runtime.store import ModelStore, fix, sha256_of

FUSION_FILE = "nano_fusion.yaml"
REMEMBERED_UTTERANCES = 64
FINE_LABELS = "goemotions28"


class Reading(Protocol):
    """(7,) probabilities in the order of basic7, and quality in [0, 1]; at 0 nothing could be read."""

    @property
    def probabilities(self) -> FloatArray: ...

    @property
    def quality(self) -> float: ...


class FaceReader(Protocol):
    """Reads all faces of a frame in one call; :class:`emo_face.perception.nano.face.FaceStudent` fills it."""

    hashes: Mapping[str, str]

    def read(self, frame: ImageArray, faces: Sequence[Face]) -> Sequence[Reading]: ...


class WordReading(Reading, Protocol):
    """And (28,) probabilities of the set ``goemotions28``, valence and arousal in [-1, 1]."""

    @property
    def emotions(self) -> FloatArray: ...

    @property
    def valence(self) -> float: ...

    @property
    def arousal(self) -> float: ...


class TextReader(Protocol):
    """Reads one utterance; :class:`emo_face.perception.nano.readers.TextReaders` fills it."""

    @property
    def hashes(self) -> Mapping[str, str]: ...

    @property
    def languages(self) -> tuple[str, ...]: ...

    def read(self, text: str, locale: str = "") -> WordReading: ...


class ShapeOpinion(Protocol):
    """What one face's blendshapes say: ``BlendshapeOpinion`` of :mod:`emo_face.perception.nano.blendshapes`."""

    @property
    def probabilities(self) -> FloatArray: ...

    @property
    def expression(self) -> FloatArray: ...

    @property
    def settled(self) -> float: ...


class ShapeReader(Protocol):
    """Blendshapes of the people of a frame, person id -> opinion."""

    def estimate(self, frame: ImageArray, people: Sequence[Person], now: float) -> Mapping[str, ShapeOpinion]: ...

    def forget(self, person_id: str | None = None) -> None: ...


class NanoEmotion(EmotionModel):
    """Pools the face student and the speech student.

    Attributes:
        thresholds: (7,) probability from which a label is active.
        warnings: sources that are missing, each with its fix.
    """

    name = "nano"
    label_set = "basic7"

    def __init__(
        self,
        face: FaceReader | None,
        text: TextReader | None,
        fusion: FusionParameters,
        speech_ttl: float = 8.0,
        warnings: tuple[str, ...] = (),
        hashes: Mapping[str, str] | None = None,
        shapes: ShapeReader | None = None,
    ) -> None:
        """Put the parts together; a source that is None is left out of the pool.

        Args:
            speech_ttl: seconds over which the weight of an utterance falls to zero.
        """
        self._face, self._text, self._shapes, self._fusion = face, text, shapes, fusion
        self.speech_ttl, self.warnings = speech_ttl, warnings
        self.thresholds: Array = fusion.threshold_array()
        self.hashes: Mapping[str, str] = {
            **(hashes or {}),
            **(face.hashes if face is not None else {}),
            **(text.hashes if text is not None else {}),
        }
        self.languages = None if text is None else text.languages
        self._heard: OrderedDict[tuple[str, str], WordReading] = OrderedDict()

    def reset(self) -> None:
        """Forget everybody's resting face and what was said (the clock jumped back, the node was activated again)."""
        self._heard.clear()
        if self._shapes is not None:
            self._shapes.forget()

    def estimate(
        self, frame: ImageArray, people: Sequence[Person], speech: Mapping[str, Speech], now: float
    ) -> list[Emotion]:
        """One emotion per person; all faces of the frame go through the student in one batch.

        A person of whom neither source knows anything gets the flat distribution with quality 0. If blendshapes
        were read, ``arkit`` holds the person's own above the resting face.
        """
        shown = self._read_faces(frame, people)
        shapes = self._shapes.estimate(frame, people, now) if self._shapes is not None and people else {}
        out = []
        for person in people:
            key = person.person_id
            said: dict[str, tuple[FloatArray, float]] = {}
            if (reading := shown.get(key)) is not None:
                said["face"] = (reading.probabilities, reading.quality)
            if (shape := shapes.get(key)) is not None:
                # The second opinion sees the same pixels: it is as good as they are, and worth less until it knows
                # the person's own resting face.
                seen = reading.quality if reading is not None else 1.0
                said["blendshapes"] = (shape.probabilities, seen * (1 + shape.settled) / 2)
            words = speech.get(key)
            heard, trust = self._listen(words, now)
            if heard is not None and words is not None:
                said["speech"] = (heard.probabilities, heard.quality * trust * words.attribution)
            emotion = self._fuse(said, shape.expression if shape is not None else None)
            if heard is not None and words is not None and heard.quality > 0:
                emotion = self._with_words(emotion, words, heard, trust)
            out.append(emotion)
        return out

    def hear(self, speech: Speech, now: float) -> Emotion | None:
        """What words of nobody in view say: the speech student alone, fading as for a person."""
        heard, trust = self._listen(speech, now)
        if heard is None or not heard.quality * trust > 0:
            return None
        emotion = self._fuse({"speech": (heard.probabilities, heard.quality * trust)}, None)
        return self._with_words(emotion, speech, heard, trust)

    def _with_words(self, emotion: Emotion, speech: Speech, heard: WordReading, trust: float) -> Emotion:
        """With the words, and their 28 emotions as long as the words count."""
        return replace(emotion, fine_label_set=FINE_LABELS, fine_probabilities=trust * heard.emotions, words=speech)

    def _fuse(self, said: Mapping[str, tuple[FloatArray, float]], arkit: FloatArray | None) -> Emotion:
        """Pool source -> (probabilities, quality)."""
        opinions = {
            name: Opinion(p, self._fusion.source(name).reliability(quality)) for name, (p, quality) in said.items()
        }
        fused = fuse(opinions, self._fusion)
        doubt = math.prod(1.0 - min(max(q, 0.0), 1.0) for _, q in said.values() if math.isfinite(q))
        p = fused.probabilities
        valence, arousal = basic7().circumplex(p)
        active, evidence = p >= self.thresholds, dict(fused.evidence)
        return Emotion(self.label_set, p, active, valence, arousal, evidence, 1.0 - doubt, arkit)

    def _read_faces(self, frame: ImageArray, people: Sequence[Person]) -> dict[str, Reading]:
        seen = [(person.person_id, person.face) for person in people if person.face is not None]
        if self._face is None or not seen:
            return {}
        readings = self._face.read(frame, [face for _, face in seen])
        return {person_id: reading for (person_id, _), reading in zip(seen, readings, strict=True)}

    def _listen(self, speech: Speech | None, now: float) -> tuple[WordReading | None, float]:
        """What an utterance says, and how far to trust it now: words are read once, only their weight fades."""
        if speech is None:
            return None, 0.0
        trust = speech_reliability(now - speech.stamp, speech.confidence, self.speech_ttl)
        if self._text is None or trust == 0.0:
            return None, 0.0
        said = (speech.text, speech.locale)
        reading = self._heard.get(said)
        if reading is None:
            reading = self._heard[said] = self._text.read(*said)
            if len(self._heard) > REMEMBERED_UTTERANCES:
                self._heard.popitem(last=False)
        return reading, trust


def build_nano(
    store: ModelStore,
    speech_ttl: float = 8.0,
    engines: Engines | None = None,
    fusion: Path | None = None,
    face: str = "nano_face",
) -> NanoEmotion:
    """Load the nano models that the store has.

    Args:
        engines: chooses what they run on; None takes one thread of the CPU.
        fusion: parameter file; None takes the packaged one. face: name of the face student in the store.

    Raises:
        ModelError: a student's file has a wrong hash or is damaged. ConfigError: the fusion file is wrong.
    """
    path = fusion or share_dir() / "models" / FUSION_FILE
    warnings: list[str] = []
    reader: FaceReader | None = None
    text: TextReader | None = None
    if found := _find(store, face, "faces are not read", warnings):
        from emo_face.perception.nano.face import FaceStudent

        reader = FaceStudent(found, engines)
    if _find(store, "nano_text", "speech is not read", warnings):
        from emo_face.perception.nano.readers import open_readers

        text, unread = open_readers(store, engines)
        warnings += unread
    from emo_face.perception.nano.blendshapes import build_blendshapes

    shapes = build_blendshapes(store, warnings)
    hashes = {path.name: sha256_of(path)} if path.is_file() else {}
    return NanoEmotion(reader, text, read_fusion(path), speech_ttl, tuple(warnings), hashes, shapes)


def _find(store: ModelStore, name: str, loss: str, warnings: list[str]) -> Path | None:
    found = store.find(name) if name in store.entries else None
    if found is None:
        get = fix(store.entries[name]) if name in store.entries else "`emo-face models list` says what is there"
        warnings.append(f"no {name}: {loss}. {get}")
        return None
    return found.path
