"""People by YOLO11, exported to ONNX (``export/export_yolo.py``), without ultralytics at run time."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from emo_face.core.errors import ModelError
from emo_face.core.geometry import Letterbox
from emo_face.core.types import Box, FloatArray, ImageArray
from emo_face.runtime.backend import InferenceBackend

PERSON_ROW = 4  # rows 0..3 are cx, cy, w, h; then one row a COCO class, of which person is the first
PADDING_GREY = 114  # the letterbox colour YOLO was trained with
STRIDE = 32


@dataclass(frozen=True, slots=True)
class Body:
    """A detected person's box in pixels of the image, and the detector's confidence in [0, 1]."""

    box: Box
    score: float


class YoloPersonDetector:
    """Detects people with a YOLO11 network whose output is [n, 4 + classes, anchors]."""

    name = "yolo11n"

    def __init__(
        self,
        backend: InferenceBackend,
        imgsz: int = 320,
        confidence: float = 0.5,
        iou: float = 0.5,
        square: bool = False,
        max_people: int = 20,
    ) -> None:
        """Check the network's shape and keep the settings.

        Args:
            imgsz: longer side of the network input, pixels, rounded up to a multiple of 32.
            confidence: lowest person score, in [0, 1].
            iou: boxes that overlap more than this are one person, in [0, 1].
            square: pad to a square; False pads to the smallest rectangle and is faster.
            max_people: keep this many, best first.

        Raises:
            ModelError: the network's input or output is not YOLO's.
        """
        inputs, outputs = backend.inputs, backend.outputs
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or len(outputs) != 1 or len(outputs[0].shape) != 3:
            shapes = f"inputs {[i.shape for i in inputs]}, outputs {[o.shape for o in outputs]}"
            raise ModelError(
                f"{backend.name}: not a YOLO detector: expected one input [n,3,h,w] and one output "
                f"[n,4+classes,anchors], got {shapes}; export it by `python export/export_yolo.py`"
            )
        self._backend = backend
        self._input = inputs[0].name
        fixed = inputs[0].shape[2:]
        if fixed[0] is not None and fixed[1] is not None:  # exported without dynamic axes: obey the file
            imgsz, square = max(fixed[0], fixed[1]), True
        self.imgsz, self.confidence, self.iou = imgsz, confidence, iou
        self.square, self.max_people = square, max_people

    def warm_up(self, width: int = 640, height: int = 480) -> float:
        """Run on zeros for images of this size; returns seconds of the last run."""
        fit = Letterbox.fit(width, height, self.imgsz, STRIDE, self.square)
        return self._backend.warm_up({self._input: (1, 3, fit.height, fit.width)})

    def detect(self, frame: ImageArray) -> list[Body]:
        """People in ``frame`` (H x W x 3 BGR), best first. Raises ValueError for an image without pixels."""
        fit = Letterbox.fit(frame.shape[1], frame.shape[0], self.imgsz, STRIDE, self.square)
        output = self._backend.run({self._input: preprocess(frame, fit)})[0]
        return self._decode(output[0], fit)

    def _decode(self, raw: FloatArray, fit: Letterbox) -> list[Body]:
        scores = raw[PERSON_ROW]
        keep = np.flatnonzero(scores >= self.confidence)  # NaN compares false and is dropped
        if keep.size == 0:
            return []
        scores = scores[keep].astype(np.float64)
        boxes = fit.to_image(raw[:4, keep].T)
        order = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), self.confidence, self.iou)
        found = [Body(Box(*map(float, boxes[i])), float(scores[i])) for i in np.asarray(order, dtype=int).reshape(-1)]
        return found[: self.max_people]


def preprocess(frame: ImageArray, fit: Letterbox) -> FloatArray:
    """Scale, pad and convert a BGR frame to (1, 3, h, w) float32 RGB in [0, 1]."""
    inner = (fit.inner_width, fit.inner_height)
    scaled = frame if frame.shape[1::-1] == inner else cv2.resize(frame, inner, interpolation=cv2.INTER_LINEAR)
    if (fit.width, fit.height) != inner:
        canvas = np.full((fit.height, fit.width, 3), PADDING_GREY, dtype=np.uint8)
        canvas[fit.top : fit.top + fit.inner_height, fit.left : fit.left + fit.inner_width] = scaled
        scaled = canvas
    return np.asarray(cv2.dnn.blobFromImage(scaled, 1 / 255.0, swapRB=True))
