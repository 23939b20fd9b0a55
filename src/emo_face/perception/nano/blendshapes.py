"""The second opinion: MediaPipe's 52 blendshapes against each person's own resting face.

Optional: needs ``face_landmarker.task`` in the model store and ``scripts/setup.sh mediapipe``. The classifier is
log-linear in the difference from rest, log p(e) = a_e + w_e . d + constant. Its weights, ``nano_blendshapes.json``,
were fitted on MediaPipe's answers to renders of FACS prototypes (``emo-face train blendshapes``), so that each shape
counts as much as MediaPipe really sees of it. The difference is also what ``perspective: mirror`` shows.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.errors import ModelError, UserError
from emo_face.core.install import how_to_install
from emo_face.core.labels import basic7
from emo_face.core.numeric import softmax
from emo_face.core.paths import share_dir
from emo_face.core.types import Face, FloatArray, Person, UInt8Array
from emo_face.core.versions import known_version
from emo_face.perception.nano.facecrop import face_frame, usable
from emo_face.runtime.store import ModelStore

NAME = "face_landmarker"
TASK = "face_landmarker.task"
WEIGHTS = "nano_blendshapes.json"
SPREAD = 1.6  # side of the picture MediaPipe sees over the student's crop: its detector wants some margin
SIDE = 192
PRIOR_SECONDS = 3.0  # how long a person must be seen at rest until their own baseline outweighs the average one
FORGET_SECONDS = 120.0
MEMORY_SECONDS = 600.0
LONGEST_STEP = 0.5  # a gap between two frames counts at most this long, seconds


class FaceReader(Protocol):
    """What :class:`BlendshapeReader` offers; another source of ARKit shapes can take its place."""

    def read(self, frame: UInt8Array, faces: Sequence[Face]) -> list[FloatArray | None]: ...


@dataclass(frozen=True, slots=True)
class BlendshapeOpinion:
    """What one person's blendshapes say.

    Attributes:
        probabilities: (7,) in the order of basic7.
        arkit: (52,) activations in [0, 1] as measured. expression: (52,) the same above the person's resting face.
        settled: [0, 1]; how much of the baseline is the person's own.
    """

    probabilities: FloatArray
    arkit: FloatArray
    expression: FloatArray
    settled: float


@dataclass(frozen=True)
class BlendshapeWeights:
    """The log-linear classifier: bias (7,), weight (7, 52), and the average resting face (52,)."""

    bias: FloatArray
    weight: FloatArray
    rest: FloatArray


@dataclass(slots=True)
class _Person:
    baseline: FloatArray
    seconds: float
    seen: float


def read_weights(path: Path) -> BlendshapeWeights:
    """Read the classifier. Raises ModelError naming the file and the field."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        known_version(1)(body.get("version", 1))
        labels, shapes = tuple(body["labels"]), tuple(body["shapes"])
        if labels != basic7().labels or shapes != ARKIT_52:
            raise ModelError(f"{path}: fields labels and shapes: expected basic7 and the 52 ARKit names, got others")
        found = BlendshapeWeights(*(np.asarray(body[key], dtype=np.float64) for key in ("bias", "weight", "rest")))
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(f"{path}: not a blendshape classifier: {error!r}; reinstall emo_face") from None
    for key, shape in (("bias", (7,)), ("weight", (7, 52)), ("rest", (52,))):
        value = getattr(found, key)
        if value.shape != shape or not np.isfinite(value).all():
            raise ModelError(
                f"{path}: field {key}: expected {shape} finite numbers, got {value.shape}; reinstall emo_face"
            )
    return found


class SecondOpinion:
    """Classifies blendshapes against a resting face that is learned for each person while watching.

    Only frames that look neutral move the baseline, by how much they do, so somebody who smiles for a minute is not
    taken to rest smiling.
    """

    def __init__(self, weights: BlendshapeWeights, temperature: float = 1.0) -> None:
        """Start with nobody."""
        self._weights, self._temperature = weights, temperature
        self._people: dict[str, _Person] = {}

    def observe(self, person_id: str, blendshapes: FloatArray, now: float) -> BlendshapeOpinion:
        """Take one frame of one person.

        Args:
            blendshapes: (52,) ARKit activations in [0, 1]; numbers that are not finite count as 0.
            now: seconds, the frame's stamp; a clock that jumps back keeps the baseline.

        Raises:
            ValueError: not 52 numbers.
        """
        values = np.asarray(blendshapes, dtype=np.float64)
        if values.shape != (len(ARKIT_52),):
            raise ValueError(f"expected {len(ARKIT_52)} blendshapes, got shape {values.shape}")
        arkit = np.clip(np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
        self._people = {k: p for k, p in self._people.items() if now - p.seen <= MEMORY_SECONDS}
        person = self._people.setdefault(person_id, _Person(self._weights.rest.copy(), 0.0, now))
        probabilities = self._classify(arkit - person.baseline)
        neutral = basic7().index("Neutral")
        self._learn(person, arkit, float(probabilities[neutral]) if probabilities.argmax() == neutral else 0.0, now)
        settled = person.seconds / (person.seconds + PRIOR_SECONDS)
        return BlendshapeOpinion(probabilities, arkit, np.clip(arkit - person.baseline, 0.0, 1.0), settled)

    def forget(self, person_id: str | None = None) -> None:
        """Forget one person, or everybody."""
        if person_id is None:
            self._people.clear()
        else:
            self._people.pop(person_id, None)

    def _classify(self, difference: FloatArray) -> FloatArray:
        return softmax((self._weights.bias + self._weights.weight @ difference) / self._temperature)

    @staticmethod
    def _learn(person: _Person, arkit: FloatArray, neutral: float, now: float) -> None:
        step = min(max(now - person.seen, 0.0), LONGEST_STEP) * neutral
        person.seen = now
        if step <= 0.0:
            return
        person.seconds = person.seconds * math.exp(-step / FORGET_SECONDS) + step
        person.baseline = person.baseline + step / (person.seconds + PRIOR_SECONDS) * (arkit - person.baseline)


class BlendshapeReader:
    """MediaPipe's face landmarker on the faces our detector found."""

    def __init__(self, task: Path) -> None:
        """Load ``face_landmarker.task``.

        Raises:
            UserError: the extra ``mediapipe`` is not installed. ModelError: the file is missing or damaged; names it.
        """
        try:
            import mediapipe as mp
            from mediapipe.tasks.python import BaseOptions, vision
        except ImportError:
            raise UserError(f"blendshapes need MediaPipe: {how_to_install('mediapipe')}") from None
        self._image: Any = mp.Image
        self._format: Any = mp.ImageFormat.SRGB
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(task)), output_face_blendshapes=True, num_faces=1
        )
        try:
            self._net: Any = vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise ModelError(f"{task} does not load as a face landmarker: {reason}; `emo-face models verify`") from None

    def read(self, frame: UInt8Array, faces: Sequence[Face]) -> list[FloatArray | None]:
        """(52,) ARKit activations per face, or None if MediaPipe sees none. ``frame``: (h, w, 3) BGR uint8."""
        return [self._one(frame, face) if usable(face) else None for face in faces]

    def close(self) -> None:
        """Release MediaPipe's graph; the reader cannot be used afterwards."""
        self._net.close()

    def _one(self, frame: UInt8Array, face: Face) -> FloatArray | None:
        x, y, side, tilt = face_frame(face)
        scale = SIDE / (side * SPREAD)
        cosine, sine = scale * math.cos(tilt), scale * math.sin(tilt)
        matrix = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0]])
        matrix[:, 2] = SIDE / 2 - matrix[:, :2] @ np.array([x, y])
        crop = cv2.warpAffine(frame, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        rgb = np.ascontiguousarray(crop[..., ::-1])
        found = self._net.detect(self._image(image_format=self._format, data=rgb)).face_blendshapes
        if not found:
            return None
        values = np.zeros(len(ARKIT_52))
        for shape in found[0]:
            if shape.category_name in ARKIT_INDEX:
                values[ARKIT_INDEX[shape.category_name]] = float(shape.score)
        return values


class BlendshapeSource:
    """Reader and second opinion for the people of a frame."""

    def __init__(self, reader: FaceReader, opinion: SecondOpinion) -> None:
        """Put the parts together."""
        self._reader, self._opinion = reader, opinion

    def estimate(self, frame: UInt8Array, people: Sequence[Person], now: float) -> dict[str, BlendshapeOpinion]:
        """Person id -> opinion, for the people whose face MediaPipe sees.

        Args:
            frame: (h, w, 3) BGR uint8. now: seconds, the frame's stamp.
        """
        seen = [(p.person_id, p.face) for p in people if p.face is not None]
        read = self._reader.read(frame, [face for _, face in seen])
        return {
            person_id: self._opinion.observe(person_id, values, now)
            for (person_id, _), values in zip(seen, read, strict=True)
            if values is not None
        }

    def forget(self, person_id: str | None = None) -> None:
        """Forget one person's resting face, or everybody's (a clock that jumped, a node activated again)."""
        self._opinion.forget(person_id)


def build_blendshapes(store: ModelStore, warnings: list[str]) -> BlendshapeSource | None:
    """The second opinion if task file and MediaPipe are available, else None.

    Args:
        warnings: gets a line with the fix if the file is there and MediaPipe is not; a missing file is no warning,
            since the part is optional.

    Raises:
        ModelError: the task file has a wrong hash or is damaged, or the packaged weights are.
    """
    found = store.find(NAME) if NAME in store.entries else None
    if found is None:
        return None
    weights = read_weights(share_dir() / "models" / WEIGHTS)
    try:
        return BlendshapeSource(BlendshapeReader(found.path), SecondOpinion(weights))
    except ModelError:
        raise
    except UserError as error:
        warnings.append(str(error))
        return None
