"""From one frame to the people in it and their emotions: detect, associate, track, read, smooth."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from emo_face.core.geometry import clip
from emo_face.core.labels import label_set
from emo_face.core.types import Box, Detection, Emotion, Face, ImageArray, Person, Speech
from emo_face.perception.associate import associate, body_from_face
from emo_face.perception.closer import look_closer
from emo_face.perception.detect_face import FaceDetector
from emo_face.perception.detect_yolo import Body
from emo_face.perception.detectors.cadence import AdaptiveCadence
from emo_face.perception.detectors.far import FarFaces
from emo_face.perception.emotion import EmotionModel
from emo_face.perception.nano.speaker import MouthMotion
from emo_face.perception.nano.upright import Upright
from emo_face.perception.smooth import EmotionSmoother
from emo_face.perception.track import PersonTracker


class BodyDetector(Protocol):
    """Finds people's bodies; ``name`` goes into the messages and diagnostics."""

    name: str

    def detect(self, frame: ImageArray) -> list[Body]:
        """Bodies in ``frame`` (H x W x 3 BGR), best first."""


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What is known after one frame.

    Attributes:
        people: tracked people seen in this frame. emotions: one per person, in the same order.
        timings: stage -> seconds (``bodies``, ``faces``, ``closer``, ``track``, ``emotion``, ``total``); two overlap.
            Without ``bodies`` they were not looked for.
        detector: the detectors in use, for example ``yolo11n+yunet``.
        warnings: degradations in force, each with its fix; the node turns them into a diagnostic.
        room: what words say that nobody in view said; None if there are none.
    """

    people: tuple[Person, ...]
    emotions: tuple[Emotion, ...]
    timings: Mapping[str, float]
    detector: str
    warnings: tuple[str, ...] = ()
    room: Emotion | None = None


class PerceptionPipeline:
    """One camera's perception; every part is injected, see :mod:`emo_face.perception.build`."""

    def __init__(
        self,
        bodies: BodyDetector | None,
        faces: FaceDetector,
        emotion: EmotionModel,
        tracker: PersonTracker | None = None,
        smoothing: float = 0.15,
        warnings: tuple[str, ...] = (),
        closer_look: int = 320,
        cadence: AdaptiveCadence | None = None,
        far: FarFaces | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            bodies: None if no person detector is installed; bodies are then extrapolated from faces.
            smoothing: time constant of the emotions, seconds; 0 is off.
            warnings: degradations known since the parts were chosen; repeated in every result.
            closer_look: side of the second look's picture at people without a face, pixels; 0 does without.
            cadence: decides which frames bodies are looked for in; None: in every one.
            far: searches for small faces if no bodies are looked for; None does without.
        """
        self.cadence = cadence if bodies is not None else None
        self.closer_look, self.far = closer_look, far
        self.bodies, self.faces, self.emotion = bodies, faces, emotion
        self.tracker = tracker or PersonTracker()
        self.mouths, self.upright = MouthMotion(), Upright(faces.detect)
        labels = label_set(emotion.label_set)
        self.smoother = EmotionSmoother(labels, smoothing, thresholds=emotion.thresholds, own_affect=emotion.own_affect)
        self.detector = f"{bodies.name}+{faces.name}" if bodies is not None else faces.name
        # Both detectors run in native code without the interpreter's lock: on two cores the faces cost no time.
        self._second = ThreadPoolExecutor(1, thread_name_prefix="faces")
        self.warnings = (*warnings, *emotion.warnings)

    def reset(self) -> None:
        """Forget everybody: after activation, or when the clock jumped back."""
        self.tracker.reset()
        if self.cadence is not None:
            self.cadence.reset()
        if self.far is not None:
            self.far.reset()
        self.mouths.reset()
        self.upright.reset()
        self.smoother.reset()
        self.emotion.reset()

    def warm_up(self, width: int = 640, height: int = 480) -> float:
        """Run every stage once on a grey image, leaving no trace; returns the seconds it took."""
        start = time.perf_counter()
        frame = np.full((height, width, 3), 127, dtype=np.uint8)
        self.detect(frame)
        box = Box(width * 0.4, height * 0.3, width * 0.2, height * 0.3)
        nobody = Person("warm_up", 0.0, box, Face(box, 0.0))
        self.emotion.estimate(frame, [nobody], {nobody.person_id: Speech("hello", 0.0)}, 0.0)
        self.reset()
        return time.perf_counter() - start

    def detect(self, frame: ImageArray, timings: dict[str, float] | None = None) -> list[Detection]:
        """People in one picture, without memory; adds the stages' seconds to ``timings``."""
        timings = {} if timings is None else timings
        start = time.perf_counter()
        pending = self._second.submit(_timed, self.faces.detect, frame)
        found = self.bodies.detect(frame) if self.bodies is not None else []
        timings["bodies"] = time.perf_counter() - start
        faces, timings["faces"] = pending.result()
        if self.bodies is None:
            height, width = frame.shape[:2]
            found = [Body(clip(body_from_face(face.box), width, height), face.score) for face in faces]
            return [Detection(b.score, b.box, face) for b, face in zip(found, faces, strict=True)]
        return self._closer(frame, associate(found, faces), timings)

    def detect_still(self, picture: ImageArray) -> list[Detection]:
        """As :meth:`detect` if no other frame follows: small faces are searched for everywhere at once."""
        people = self.detect(picture)
        return people if self.far is None else self.far.everywhere(picture, people)

    def _closer(self, frame: ImageArray, people: list[Detection], timings: dict[str, float]) -> list[Detection]:
        if not self.closer_look:
            return people
        start = time.perf_counter()
        people = look_closer(frame, people, self.faces, self.closer_look)
        timings["closer"] = time.perf_counter() - start
        return people

    def _follow(
        self, frame: ImageArray, now: float, cadence: AdaptiveCadence, timings: dict[str, float]
    ) -> list[Detection]:
        """People in the next frame: carried on by their faces if nobody is in doubt, else looked for."""
        if cadence.due(frame, now):
            people = self.detect(frame, timings)
        else:
            faces, timings["faces"] = _timed(self.faces.detect, frame)
            carried = cadence.carry(faces, lambda people: self._closer(frame, people, timings))
            if carried is not None:
                return carried
            assert self.bodies is not None
            start = time.perf_counter()
            found = self.bodies.detect(frame)
            timings["bodies"] = time.perf_counter() - start
            people = self._closer(frame, associate(found, faces), timings)
        cadence.looked(frame, people, now)
        return people

    def process(
        self,
        frame: ImageArray,
        now: float,
        speech: Mapping[str, Speech] | None = None,
        room: Speech | None = None,
    ) -> FrameResult:
        """Read one frame.

        Args:
            frame: H x W x 3 BGR uint8.
            now: seconds, the frame's stamp.
            speech: person id -> what that person said lately. room: what was said lately by nobody in view.

        Raises:
            ValueError: the frame is not H x W x 3 uint8 with pixels in it, or ``now`` is not finite.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or frame.size == 0:
            raise ValueError(f"expected an H x W x 3 uint8 image, got shape {frame.shape} of {frame.dtype}")
        timings: dict[str, float] = {}
        start = time.perf_counter()
        cadence = self.cadence
        detections = self.detect(frame, timings) if cadence is None else self._follow(frame, now, cadence, timings)
        if self.far is not None:
            looked = time.perf_counter()
            detections = self.far.look(frame, detections, now)
            timings["closer"] = time.perf_counter() - looked
        tracking = time.perf_counter()
        people = self.tracker.update(detections, now)
        self.mouths.update(frame, people, now)
        self.upright.update(frame, people, now)
        reading = time.perf_counter()
        raw = self.emotion.estimate(frame, people, speech or {}, now) if people else []
        emotions = self.smoother.update([person.person_id for person in people], raw, now)
        end = time.perf_counter()
        timings.update(track=reading - tracking, emotion=end - reading, total=end - start)
        warnings = (*self.warnings, self.upright.warning) if self.upright.turn else self.warnings
        heard = self.emotion.hear(room, now) if room is not None else None
        return FrameResult(tuple(people), tuple(emotions), timings, self.detector, warnings, heard)


def _timed(detect: Callable[[ImageArray], list[Face]], frame: ImageArray) -> tuple[list[Face], float]:
    start = time.perf_counter()
    return detect(frame), time.perf_counter() - start
