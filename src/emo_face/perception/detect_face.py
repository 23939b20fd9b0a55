"""Faces: YuNet, or OpenCV's bundled Haar cascade as the last resort."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from emo_face.core.errors import ModelError
from emo_face.core.types import Box, Face, ImageArray

MAX_FACES = 200
HAAR_SCORE = 0.6  # the cascade gives no probability; a fixed, modest score lets every better detector win


class FaceDetector(Protocol):
    """Finds faces; ``name`` goes into the messages and diagnostics."""

    name: str

    def detect(self, frame: ImageArray) -> list[Face]:
        """Faces in ``frame`` (H x W x 3 BGR), best first, in pixels of the frame."""
        ...


class YuNetFaceDetector:
    """YuNet (Wu et al., 2023, "YuNet: A Tiny Millisecond-level Face Detector") through ``cv2.FaceDetectorYN``."""

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
        if shape != self._shape:
            self._net.setInputSize(shape)
            self._shape = shape
        found = self._net.detect(small)[1]
        if found is None:
            return []
        rows = np.asarray(found, dtype=np.float64)
        rows = rows[np.isfinite(rows).all(axis=1) & (rows[:, 2:4] > 0).all(axis=1)]
        factor = np.array([width / shape[0], height / shape[1]])
        rows[:, :14] *= np.tile(factor, 7)
        rows = rows[np.argsort(-rows[:, 14], kind="stable")][:MAX_FACES]
        return [Face(Box(*map(float, row[:4])), float(min(row[14], 1.0)), row[4:14].reshape(5, 2)) for row in rows]


class HaarFaceDetector:
    """The frontal-face Haar cascade that ships inside OpenCV 4: no file needed, frontal faces only."""

    name = "haar"

    def __init__(self, size: int = 320) -> None:
        """Load the cascade. ``size``: the frame's longer side is scaled down to this, pixels.

        Raises:
            ModelError: this OpenCV has no cascades (version 5 dropped them).
        """
        bundled = getattr(cv2, "data", None)  # OpenCV 5 dropped it
        path = Path(getattr(bundled, "haarcascades", "")) / "haarcascade_frontalface_default.xml"
        if not path.is_file() or not hasattr(cv2, "CascadeClassifier"):
            raise ModelError(
                f"OpenCV {cv2.__version__} bundles no Haar cascade: install one below 5 by "
                '`pip install "opencv-python-headless<5"`, or get YuNet by `emo-face models pull yunet`'
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
