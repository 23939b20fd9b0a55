"""YuNet without OpenCV's class for it: the same file in onnxruntime, decoded as OpenCV 4.8 does.

``cv2.FaceDetectorYN`` reads the released file (2023mar) from OpenCV 4.8 on (opencv/opencv_zoo#172); Ubuntu 22.04 and
24.04 and Debian 12 package 4.5 and 4.6. The file's input is fixed at 640 x 640, so this costs about four times as much.
Decoding: ``modules/objdetect/src/face_detect.cpp``, ``FaceDetectorYNImpl::postProcess``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from emo_face.core.errors import ModelError
from emo_face.core.types import FloatArray, ImageArray
from emo_face.runtime.engines.ort import OrtEngine

NEEDED = (4, 8)
STRIDES = (8, 16, 32)


def opencv_version() -> tuple[int, int]:
    """(major, minor) of the OpenCV in use."""
    major, minor = cv2.__version__.split(".")[:2]
    return int(major), int(minor)


def opencv_reads_yunet() -> bool:
    """Whether ``cv2.FaceDetectorYN`` can load YuNet 2023mar."""
    return opencv_version() >= NEEDED and hasattr(cv2, "FaceDetectorYN")


def old_opencv() -> str:
    """What is wrong with an OpenCV that does not read YuNet, and the command that mends it."""
    wanted = ".".join(map(str, NEEDED))
    return f'OpenCV {cv2.__version__} is older than {wanted}; pip install "opencv-python-headless>={wanted},<5"'


class YuNetOnOrt:
    """YuNet in onnxruntime, with the answers of ``cv2.FaceDetectorYN``."""

    def __init__(self, model: Path, confidence: float, iou: float) -> None:
        """Load ``model``; thresholds as :class:`emo_face.perception.detect_face.YuNetFaceDetector`.

        Raises:
            ModelError: the file does not load, or its tensors are not YuNet's; names it.
        """
        self._engine = OrtEngine(model)
        self._confidence, self._iou = confidence, iou
        wanted = {f"{name}_{stride}" for name in ("cls", "obj", "bbox", "kps") for stride in STRIDES}
        names = [output.name for output in self._engine.outputs]
        shape = self._engine.inputs[0].shape
        if not wanted <= set(names) or len(shape) != 4 or None in shape[2:]:
            raise ModelError(
                f"{model}: not YuNet: expected outputs {', '.join(sorted(wanted))}, got {', '.join(names)}"
            )
        self._names = names
        self.height, self.width = int(shape[2] or 0), int(shape[3] or 0)

    def detect(self, picture: ImageArray) -> FloatArray:
        """(n, 15) of a picture that fits into the input: x, y, width, height, five landmarks x, y, and the score."""
        canvas = np.zeros((1, 3, self.height, self.width), np.float32)
        canvas[0, :, : picture.shape[0], : picture.shape[1]] = picture.transpose(2, 0, 1)
        raw = self._engine.run({self._engine.inputs[0].name: canvas})
        said = {name: np.asarray(values[0], np.float64) for name, values in zip(self._names, raw, strict=True)}
        rows = np.concatenate([self._rows(said, stride) for stride in STRIDES])
        rows = rows[rows[:, 14] >= self._confidence]
        if not len(rows):
            return rows
        keep = cv2.dnn.NMSBoxes(rows[:, :4].tolist(), rows[:, 14].tolist(), self._confidence, self._iou)
        return np.asarray(rows[np.asarray(keep, dtype=int).reshape(-1)])

    def _rows(self, said: Mapping[str, FloatArray], stride: int) -> FloatArray:
        down, across = np.divmod(np.arange((self.height // stride) * (self.width // stride)), self.width // stride)
        at = np.stack([across, down], axis=1)
        box, points = said[f"bbox_{stride}"], said[f"kps_{stride}"]
        size = np.exp(np.minimum(box[:, 2:], 10.0)) * stride
        corner = (at + box[:, :2]) * stride - size / 2
        marks = ((points.reshape(-1, 5, 2) + at[:, None]) * stride).reshape(-1, 10)
        score = np.sqrt(np.clip(said[f"cls_{stride}"], 0, 1) * np.clip(said[f"obj_{stride}"], 0, 1))
        return np.concatenate([corner, size, marks, score.reshape(-1, 1)], axis=1)
