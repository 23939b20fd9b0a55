"""Look at one picture: who is in it, and which emotions their faces and words show."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from emo_face.api.reading import Reading
from emo_face.core.errors import UserError
from emo_face.core.geometry import apparent_size
from emo_face.core.labels import label_set
from emo_face.core.types import Box, Emotion, Face, ImageArray, Person, Speech
from emo_face.perception.build import build_pipeline
from emo_face.perception.nano.model import NanoEmotion, build_nano
from emo_face.perception.pipeline import PerceptionPipeline
from emo_face.runtime.store import open_store

_READING = threading.Lock()  # OpenCV's detectors keep state


@dataclass(frozen=True, slots=True)
class PersonReading(Reading):
    """One person of a picture.

    Attributes:
        person: id, boxes and landmarks in pixels of the picture. emotion: probabilities as arrays.
    """

    person: Person
    emotion: Emotion

    @property
    def evidence(self) -> Mapping[str, float]:
        """Source (``face``, ``speech``) -> signed share in the top label; absolute values sum to at most 1."""
        return self.emotion.evidence

    @property
    def body(self) -> Box | None:
        """Pixels; extrapolated from the face if no person detector is installed."""
        return self.person.body

    @property
    def face(self) -> Face | None:
        """Box, score and landmarks, or None if only a body was seen."""
        return self.person.face


@dataclass(frozen=True, slots=True)
class LookResult:
    """What one picture shows.

    Attributes:
        image: H x W x 3 BGR uint8, as it was read. people: nearest first.
        detector: the detectors in use. warnings: what is missing on this machine, each with its fix.
    """

    image: ImageArray
    people: tuple[PersonReading, ...]
    detector: str
    warnings: tuple[str, ...] = ()

    def drawn(self) -> ImageArray:
        """A copy of the picture with boxes, probabilities and evidence; a small one gets a margin for them."""
        import cv2

        from emo_face.perception.debug import draw

        rows, columns = self.image.shape[:2]
        below, beside = max(0, 120 - rows), 180 if columns < 360 else 0
        image = np.asarray(cv2.copyMakeBorder(self.image, 0, below, 0, beside, cv2.BORDER_CONSTANT), np.uint8)
        people, emotions = [p.person for p in self.people], [p.emotion for p in self.people]
        return draw(image, people, emotions, label_set(emotions[0].label_set if emotions else "basic7"))


def look(image: str | os.PathLike[str] | ImageArray, said: str = "") -> LookResult:
    """Find the people of a picture and read their emotions with the nano tier's models.

    The first call loads the models (about a second), later ones reuse them. Safe to call from several threads, which
    take turns.

    Args:
        image: a file that OpenCV reads, or H x W x 3 BGR uint8.
        said: what the nearest person just said; it counts beside their face.

    Raises:
        UserError: the file is missing or no picture, or the array has another shape or type.
        ModelError: a model is damaged.
    """
    return look_with(nano_pipeline(), read_image(image), said)


def look_with(pipeline: PerceptionPipeline, pixels: ImageArray, said: str = "") -> LookResult:
    """As :func:`look`, with any emotion model. ``pixels``: H x W x 3 BGR uint8."""
    with _READING:
        found = pipeline.detect_still(pixels)
        order = sorted((Person("", d.score, d.body, d.face) for d in found), key=lambda person: -apparent_size(person))
        people = [Person(f"p{i:05d}", p.score, p.body, p.face) for i, p in enumerate(order)]
        speech = {people[0].person_id: Speech(said, 0.0)} if people and said.strip() else {}
        emotions = pipeline.emotion.estimate(pixels, people, speech, 0.0)
        pipeline.reset()
    read = tuple(PersonReading(person, emotion) for person, emotion in zip(people, emotions, strict=True))
    return LookResult(pixels, read, pipeline.detector, pipeline.warnings)


def read_image(image: str | os.PathLike[str] | ImageArray) -> ImageArray:
    """The pixels of a file, or the array itself if it is a picture; H x W x 3 BGR uint8.

    Raises:
        UserError: names the file, or the shape and type that were given.
    """
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise UserError(f"image: expected H x W x 3 uint8 in BGR, got shape {image.shape} of {image.dtype}")
        return image
    from emo_face.runtime.stills import read_picture

    return read_picture(Path(image).expanduser())


@cache
def nano_model() -> NanoEmotion:
    """The nano tier's emotion model, loaded once per process."""
    return build_nano(open_store())


@cache
def nano_pipeline() -> PerceptionPipeline:
    """The nano tier's detectors and emotion model, loaded once per process."""
    return build_pipeline(open_store(), nano_model(), smoothing=0.0)[0]
