"""Faces: YuNet, or OpenCV's bundled Haar cascade as the last resort."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from emo_face.core.errors import ModelError
from emo_face.core.types import Box, Face, FloatArray, ImageArray
from emo_face.runtime.engines.base import Engine
from emo_face.runtime.engines.plan import Plan, Range
from emo_face.runtime.engines.select import Engines

MAX_FACES = 200
CANDIDATES = 5000  # OpenCV's default
STRIDES = (8, 16, 32)
STRIDE = STRIDES[-1]
CASCADE = "haarcascade_frontalface_default.xml"
CASCADE_FOLDERS = tuple(map(Path, ("/usr/share/opencv4/haarcascades", "/usr/local/share/opencv4/haarcascades")))
"""Of the package ``opencv-data`` of Debian and Ubuntu, whose ``cv2`` has no files beside it; of an own build."""
HAAR_SCORE = 0.6  # the cascade gives no probability; a fixed, modest score lets every better detector win
HAAR_SIZE = 288  # pixels of the longer side; more does not keep 30 frames/s on one core
HAAR_SMALLEST = 22  # pixels there
WEAK = 0.5
"""Share of a face's weight in the cascade below which another one at its body is a pattern of its clothes."""


def cascade() -> Path | None:
    """The frontal-face cascade: in OpenCV's wheels, or where distributions put it; None if there is none.

    OpenCV 5 dropped the class and the files.
    """
    if not hasattr(cv2, "CascadeClassifier"):
        return None
    bundled = getattr(getattr(cv2, "data", None), "haarcascades", "")
    folders = [Path(bundled)] if bundled else []
    found = (folder / CASCADE for folder in [*folders, *CASCADE_FOLDERS])
    return next((path for path in found if path.is_file()), None)


class FaceDetector(Protocol):
    """Finds faces; ``name`` goes into the messages and diagnostics."""

    name: str

    def detect(self, frame: ImageArray) -> list[Face]:
        """Faces in ``frame`` (H x W x 3 BGR), best first, in pixels of the frame."""


def plan(size: int) -> Plan:
    """Shapes that a camera's picture has once its longer side is ``size`` pixels; 4:3 is the usual one."""
    side = _up(size)
    usual = (1, 3, _up(size * 3 // 4), side)
    return Plan("yunet", {"input": Range((1, 3, STRIDE, STRIDE), usual, (1, 3, side, side))}, free_sides=True)


class YuNetFaceDetector:
    """YuNet (Wu et al., 2023, "YuNet: A Tiny Millisecond-level Face Detector"), decoded as OpenCV's reader does.

    The numbers are ``cv2.FaceDetectorYN``'s to rounding (``face_detect.cpp``, ``postProcess``), at less than
    half of its processor time, and any OpenCV 4 is sufficient: its own reader takes this file from 4.8 on.
    """

    name = "yunet"

    def __init__(self, engine: Engine | Path, size: int = 320, confidence: float = 0.6, iou: float = 0.3) -> None:
        """Check the network and keep the settings.

        Args:
            engine: with the network loaded; or its file, which is then loaded on one thread of the CPU.
            size: the frame's longer side is scaled down to this, pixels. Cost grows with its square; at 320 a face
                needs about 1/32 of the frame's width.
            confidence: lowest score, in [0, 1]. iou: overlap above which two boxes are one face, in [0, 1].

        Raises:
            ModelError: this is another network; names the file.
        """
        if isinstance(engine, Path):
            engine = Engines("cpu").load(engine, plan(size))
        self.size, self.confidence, self.iou, self._engine = size, confidence, iou, engine
        self._names = [spec.name for spec in engine.outputs]
        if set(self._names) != {f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES}:
            raise ModelError(
                f"{engine.path}: not YuNet: expected outputs cls, obj, bbox and kps of strides 8, 16 and 32, got "
                f"{', '.join(self._names)}; check it by `emo-face models verify`"
            )

    def detect(self, frame: ImageArray) -> list[Face]:
        """Faces with five landmarks each, best first."""
        height, width = frame.shape[:2]
        scale = min(1.0, self.size / max(height, width, 1))
        shape = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = frame if shape == (width, height) else cv2.resize(frame, shape, interpolation=cv2.INTER_LINEAR)
        below, right = _up(shape[1]) - shape[1], _up(shape[0]) - shape[0]
        padded = cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_CONSTANT, value=0)
        found = self._engine.run({self._engine.inputs[0].name: cv2.dnn.blobFromImage(padded)})
        rows = self._decode(dict(zip(self._names, found, strict=True)), padded.shape[1])
        if not len(rows):
            return []
        rows = rows[np.isfinite(rows).all(axis=1) & (rows[:, 2:4] > 0).all(axis=1)]
        kept = cv2.dnn.NMSBoxes(rows[:, :4].tolist(), rows[:, 14].tolist(), self.confidence, self.iou, top_k=CANDIDATES)
        rows = rows[np.asarray(kept, dtype=int).reshape(-1)]
        factor = np.array([width / shape[0], height / shape[1]])
        rows[:, :14] *= np.tile(factor, 7)
        rows = rows[np.argsort(-rows[:, 14], kind="stable")][:MAX_FACES]
        return [Face(Box(*map(float, row[:4])), float(min(row[14], 1.0)), row[4:14].reshape(5, 2)) for row in rows]

    def _decode(self, raw: dict[str, FloatArray], width: int) -> FloatArray:
        """(k, 15) corner, size, five landmarks and score of each candidate, in pixels of the network's input."""
        rows = []
        for stride in STRIDES:
            chance, is_face = (np.clip(raw[f"{kind}_{stride}"][0, :, 0], 0, 1) for kind in ("cls", "obj"))
            score = np.sqrt(chance * is_face, dtype=np.float64)
            keep = np.flatnonzero(score >= self.confidence)
            place = np.stack([keep % (width // stride), keep // (width // stride)], 1).astype(np.float64)
            box = raw[f"bbox_{stride}"][0, keep].astype(np.float64)
            size = np.exp(box[:, 2:]) * stride
            corner = (place + box[:, :2]) * stride - size / 2
            marks = (place[:, None] + raw[f"kps_{stride}"][0, keep].reshape(-1, 5, 2)) * stride
            rows.append(np.concatenate([corner, size, marks.reshape(-1, 10), score[keep, None]], 1))
        return np.concatenate(rows)


def _up(pixels: int) -> int:
    """The next multiple of the network's coarsest stride."""
    return -(-pixels // STRIDE) * STRIDE


class HaarFaceDetector:
    """The frontal-face Haar cascade of OpenCV 4: frontal faces only. In its wheels, or the package ``opencv-data``."""

    name = "haar"

    def __init__(self, size: int = 320) -> None:
        """Load the cascade. ``size``: the frame's longer side is scaled down to this, pixels, and to :data:`HAAR_SIZE`.

        Raises:
            ModelError: there are no cascades; says how to get them or YuNet.
        """
        path = cascade()
        if path is None:
            raise ModelError(
                f"no face detector: OpenCV {cv2.__version__} has no Haar cascades. Get YuNet, which needs no OpenCV of "
                "its own, by `emo-face models pull yunet`, or the cascades by `sudo apt-get install opencv-data`"
            )
        self.size = min(size, HAAR_SIZE)
        self._cascade = cv2.CascadeClassifier(str(path))

    def detect(self, frame: ImageArray) -> list[Face]:
        """Frontal faces without landmarks; the score is a constant because the cascade has none."""
        height, width = frame.shape[:2]
        scale = min(1.0, self.size / max(height, width, 1))
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        if scale < 1.0:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        grey = cv2.equalizeHist(grey)
        least = (HAAR_SMALLEST, HAAR_SMALLEST)
        boxes, _, weights = self._cascade.detectMultiScale3(
            grey, scaleFactor=1.2, minNeighbors=5, minSize=least, outputRejectLevels=True
        )
        found = [Box(*(float(v) / scale for v in box)) for box in np.asarray(boxes).reshape(-1, 4)]
        weighed = zip(found, np.asarray(weights, dtype=np.float64).reshape(-1), strict=True)
        return [Face(box, HAAR_SCORE) for box in sorted(one_each(list(weighed)), key=lambda b: -b.area)]


def one_each(found: Sequence[tuple[Box, float]]) -> list[Box]:
    """The boxes without the second "faces" that a cascade sees in or beside a better one, on collars and shirts.

    Args:
        found: boxes with the weight that the cascade gives them.
    """
    kept: list[tuple[Box, float]] = []
    for box, weight in sorted(found, key=lambda pair: -pair[1]):
        if not any(weight < WEAK * better and _at_body(box, face) for face, better in kept):
            kept.append((box, weight))
    return [box for box, _ in kept]


def _at_body(box: Box, face: Box) -> bool:
    """Whether a box's middle is on the body that belongs to ``face``: two heads wide at each side, four down."""
    x, y = box.center
    return abs(x - face.center[0]) <= 2 * face.width and face.y <= y <= face.y + 4 * face.height
