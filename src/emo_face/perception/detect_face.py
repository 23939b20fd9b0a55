"""Faces: YuNet, or OpenCV's bundled Haar cascade as the last resort."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from emo_face.core.errors import ModelError
from emo_face.core.types import Box, Face, FloatArray, ImageArray
from emo_face.perception.detectors.yunet import YuNetOnOrt, opencv_reads_yunet

MAX_FACES = 200
CASCADE = "haarcascade_frontalface_default.xml"
CASCADE_FOLDERS = tuple(map(Path, ("/usr/share/opencv4/haarcascades", "/usr/local/share/opencv4/haarcascades")))
"""Of the package ``opencv-data`` of Debian and Ubuntu, whose ``cv2`` has no files beside it; of an own build."""
HAAR_SCORE = 0.6  # the cascade gives no probability; a fixed, modest score lets every better detector win


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
        ...


class YuNetFaceDetector:
    """YuNet (Wu et al., 2023, "YuNet: A Tiny Millisecond-level Face Detector") through ``cv2.FaceDetectorYN``.

    With an OpenCV below 4.8 it runs in onnxruntime (:mod:`emo_face.perception.detectors.yunet`).
    """

    name = "yunet"

    def __init__(self, model: Path, size: int = 320, confidence: float = 0.6, iou: float = 0.3) -> None:
        """Load ``model``.

        Args:
            size: the frame's longer side is scaled down to this, pixels. Cost grows with its square; at 320 a face
                needs about 1/32 of the frame's width.
            confidence: lowest score, in [0, 1]. iou: overlap above which two boxes are one face, in [0, 1].

        Raises:
            ModelError: OpenCV cannot load the file; names it.
        """
        self.size, self._shape = size, (0, 0)
        self._ort = None if opencv_reads_yunet() else YuNetOnOrt(model, confidence, iou)
        if self._ort is not None:
            self.size = min(size, self._ort.width, self._ort.height)
            return
        try:
            self._net = cv2.FaceDetectorYN.create(str(model), "", (size, size), confidence, iou, 5000)
        except cv2.error as error:
            reason = str(error).strip().splitlines()[0][:200]
            message = f"{model} does not load as YuNet: {reason}; check it by `emo-face models verify`"
            raise ModelError(message) from None

    def detect(self, frame: ImageArray) -> list[Face]:
        """Faces with five landmarks each, best first."""
        height, width = frame.shape[:2]
        scale = min(1.0, self.size / max(height, width, 1))
        shape = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = frame if shape == (width, height) else cv2.resize(frame, shape, interpolation=cv2.INTER_LINEAR)
        found = self._find(np.asarray(small, np.uint8), shape)
        if found is None:
            return []
        rows = np.asarray(found, dtype=np.float64)
        rows = rows[np.isfinite(rows).all(axis=1) & (rows[:, 2:4] > 0).all(axis=1)]
        factor = np.array([width / shape[0], height / shape[1]])
        rows[:, :14] *= np.tile(factor, 7)
        rows = rows[np.argsort(-rows[:, 14], kind="stable")][:MAX_FACES]
        return [Face(Box(*map(float, row[:4])), float(min(row[14], 1.0)), row[4:14].reshape(5, 2)) for row in rows]

    def _find(self, picture: ImageArray, shape: tuple[int, int]) -> FloatArray | None:
        if self._ort is not None:
            return self._ort.detect(picture)
        if shape != self._shape:
            self._net.setInputSize(shape)
            self._shape = shape
        found = self._net.detect(picture)[1]
        return None if found is None else np.asarray(found, np.float64)


class HaarFaceDetector:
    """The frontal-face Haar cascade of OpenCV 4: frontal faces only. In its wheels, or the package ``opencv-data``."""

    name = "haar"

    def __init__(self, size: int = 320) -> None:
        """Load the cascade. ``size``: the frame's longer side is scaled down to this, pixels.

        Raises:
            ModelError: there are no cascades; says how to get them or YuNet.
        """
        path = cascade()
        if path is None:
            raise ModelError(
                f"no face detector: OpenCV {cv2.__version__} has no Haar cascades. Get YuNet, which needs no OpenCV of "
                "its own, by `emo-face models pull yunet`, or the cascades by `sudo apt-get install opencv-data`"
            )
        self.size = size
        self._cascade = cv2.CascadeClassifier(str(path))

    def detect(self, frame: ImageArray) -> list[Face]:
        """Frontal faces without landmarks; the score is a constant because the cascade has none."""
        height, width = frame.shape[:2]
        scale = min(1.0, self.size / max(height, width, 1))
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        if scale < 1.0:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        grey = cv2.equalizeHist(grey)
        boxes = self._cascade.detectMultiScale(grey, scaleFactor=1.15, minNeighbors=5, minSize=(20, 20))
        found = [Box(*(float(v) / scale for v in box)) for box in np.asarray(boxes).reshape(-1, 4)]
        return [Face(box, HAAR_SCORE) for box in sorted(found, key=lambda b: -b.area)]
