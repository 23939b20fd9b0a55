"""The data that passes between packages: frozen, typed, NumPy only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FloatArray = NDArray[np.floating]
"""Of any precision; what a network gives is float32."""
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
UInt8Array = NDArray[np.uint8]
ImageArray = UInt8Array
"""H x W x 3, uint8, BGR (OpenCV's order)."""
MAX_PIXELS = 64_000_000
"""Largest picture that is read from outside: 8K (7680x4320) is 33 million; guards against decompression bombs."""


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box in pixels of the source image; origin top left, may leave the image."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def area(self) -> float:
        return max(0.0, self.width) * max(0.0, self.height)

    @property
    def center(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True, slots=True)
class Face:
    """A detected face.

    Attributes:
        box: pixels of the source image.
        score: detector confidence in [0, 1].
        landmarks: (5, 2) pixels: right eye, left eye, nose tip, right and left mouth corner (of the
            person; YuNet's order), or None if the detector has none.
    """

    box: Box
    score: float
    landmarks: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Detection:
    """One person in one frame, before tracking. At least one of body and face is set."""

    score: float
    body: Box | None = None
    face: Face | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """One tracked person in one frame.

    Attributes:
        person_id: letter first, valid in a topic name, for example ``p00012``.
        first_seen: seconds, in the clock of the frames.
    """

    person_id: str
    score: float
    body: Box | None = None
    face: Face | None = None
    first_seen: float = 0.0


@dataclass(frozen=True, slots=True)
class Speech:
    """A final utterance.

    Attributes:
        stamp: seconds. confidence: in [0, 1], of the recogniser.
        speaker: a person id, or empty if unknown. locale: BCP 47 tag, or empty.
        attribution: in [0, 1], how sure it is that the speaker said it.
    """

    text: str
    stamp: float
    confidence: float = 1.0
    speaker: str = ""
    locale: str = ""
    attribution: float = 1.0


@dataclass(frozen=True, slots=True)
class Emotion:
    """Calibrated emotion probabilities of one person.

    Attributes:
        label_set: name of the label set (see :mod:`emo_face.core.labels`).
        probabilities: (n,) in [0, 1]; sums to 1 for single-label sets.
        active: (n,) bool, probability over the label's own threshold.
        valence, arousal: in [-1, 1].
        evidence: signed share of each source (``face``, ``body``, ``scene``, ``speech``) in the top label;
            absolute values sum to at most 1.
        quality: [0, 1]; 0 means nothing usable was seen and the distribution is flat.
        arkit: (52,) the person's own ARKit activations above their resting face, where something measures them.
        fine_label_set, fine_probabilities: a finer set of emotions and its (m,) probabilities, where something reads
            them; empty and None else.
        words: what was said and counts here, where it is published with the scores.
    """

    label_set: str
    probabilities: FloatArray
    active: NDArray[np.bool_]
    valence: float
    arousal: float
    evidence: Mapping[str, float] = field(default_factory=dict)
    quality: float = 0.0
    arkit: FloatArray | None = None
    fine_label_set: str = ""
    fine_probabilities: FloatArray | None = None
    words: Speech | None = None


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A face to be reached at a time.

    Attributes:
        offset: seconds after the expression's start, >= 0.
        coefficients: (n,) in the expression's basis: 100 unit standard deviations each, 52 activations for ARKit's own.
        jaw_pose: (3,) rad, axis-angle. eyelids: (2,) left, right in [0, 1], 1 = closed.
    """

    offset: float
    coefficients: FloatArray
    jaw_pose: FloatArray
    eyelids: FloatArray


@dataclass(frozen=True, slots=True)
class Shown:
    """What a face shows, in words and numbers.

    Attributes:
        name: the strongest expression in it, ``Neutral`` at rest.
        strength: [0, 1], of that one alone. intensity: [0, 1], of the whole face; 0 at rest.
        valence, arousal: in [-1, 1].
    """

    name: str = "Neutral"
    strength: float = 0.0
    intensity: float = 0.0
    valence: float = 0.0
    arousal: float = 0.0


@dataclass(frozen=True, slots=True)
class ExpressionTarget:
    """A facial expression for the robot, and what it answers.

    Attributes:
        stamp: seconds; stamp of the newest input used.
        person_id: who is answered; empty for nobody in view.
        feels: what that person feels; of words that nobody in view said if ``person_id`` is empty; None: not known.
        shown: what the face shows.
        keyframes: at least one, offsets rising; one is held.
        basis: ``open-ict-1``, ``flame2020``, ``flame2023`` or ``arkit-52``.
        gaze: (2,) rad, yaw (left +), pitch (up +).
        confidence: in [0, 1], how far to trust ``feels``. valid_for: seconds after ``stamp``.
        source: backend that made it. text: situation or reason, may be empty.
        words: what is answered. start: seconds, when the keyframes' clock starts; None: at ``stamp``.
    """

    stamp: float
    person_id: str
    perspective: str
    feels: Emotion | None
    shown: Shown
    keyframes: tuple[Keyframe, ...]
    basis: str
    gaze: FloatArray
    confidence: float
    valid_for: float
    source: str
    text: str = ""
    words: Speech | None = None
    start: float | None = None
