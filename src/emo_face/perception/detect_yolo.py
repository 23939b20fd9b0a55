"""People by YOLO11 or later, exported to ONNX (``emo-face export yolo``), without ultralytics at run time."""

from dataclasses import dataclass

import cv2
import numpy as np

from emo_face.core.geometry import Letterbox, clip
from emo_face.core.types import Box, FloatArray, ImageArray
from emo_face.perception.detectors.yolo_head import GREY, ROUNDING, understand
from emo_face.runtime.engines.base import Engine, warm_up
from emo_face.runtime.engines.plan import Plan, Range

STRIDE = 32


def plan(imgsz: int, name: str = "yolo11n") -> Plan:
    """Shapes that a camera's picture has once its longer side is ``imgsz`` pixels; 4:3 is the usual one."""
    side = -(-imgsz // STRIDE) * STRIDE
    usual = -(-side * 3 // 4 // STRIDE) * STRIDE
    return Plan(name, {"images": Range((1, 3, STRIDE, STRIDE), (1, 3, usual, side), (1, 3, side, side))})


@dataclass(frozen=True, slots=True)
class Body:
    """A detected person's box in pixels of the image, and the detector's confidence in [0, 1]."""

    box: Box
    score: float


class YoloPersonDetector:
    """Detects people with any of the files that :mod:`emo_face.perception.detectors.yolo_head` understands."""

    def __init__(
        self,
        engine: Engine,
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
            square: pad to a square; False pads to the smallest rectangle and is faster. A file whose input is
                fixed sets both.
            max_people: keep this many, best first.

        Raises:
            ModelError: the file is no YOLO detector of people, or its numbers are no boxes and scores.
        """
        self.head = understand(engine, imgsz)
        self.name = self.head.name
        self._engine = engine
        self._input = engine.inputs[0].name
        self._output = next(i for i, output in enumerate(engine.outputs) if len(output.shape) == 3)
        self.imgsz = max(self.head.size) if self.head.size else imgsz
        self.confidence, self.iou = confidence, iou
        self.square, self.max_people = square, max_people

    def _fit(self, width: int, height: int) -> Letterbox:
        if self.head.size:
            return Letterbox.into(width, height, self.head.size)
        return Letterbox.fit(width, height, self.imgsz, self.head.stride, self.square)

    def _infer(self, frame: ImageArray, fit: Letterbox) -> tuple[FloatArray, FloatArray]:
        picture = preprocess(frame, fit).astype(self.head.dtype, copy=False)
        return self.head.read(self._engine.run({self._input: picture})[self._output][0])

    def warm_up(self, width: int = 640, height: int = 480) -> float:
        """Run on zeros for images of this size; returns seconds of the last run."""
        fit = self._fit(width, height)
        return warm_up(self._engine, {self._input: (1, 3, fit.height, fit.width)})

    def detect(self, frame: ImageArray) -> list[Body]:
        """People in ``frame`` (H x W x 3 BGR), best first, with boxes inside the frame and scores in [0, 1].

        Raises ValueError for an image without pixels.
        """
        height, width = frame.shape[:2]
        fit = self._fit(width, height)
        boxes, scores = self._infer(frame, fit)
        # NaN compares false and is dropped, as is what can be no score
        keep = (scores >= self.confidence) & (scores <= 1 + ROUNDING) & np.isfinite(boxes).all(axis=1)
        boxes, scores = fit.to_image(boxes[keep]), np.minimum(scores[keep], 1.0)
        order = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), self.confidence, self.iou) if scores.size else ()
        found = []
        for i in np.asarray(order, dtype=int).reshape(-1):
            box = clip(Box(*map(float, boxes[i])), width, height)
            if box.width >= 1 and box.height >= 1:
                found.append(Body(box, float(scores[i])))
        return found[: self.max_people]


def preprocess(frame: ImageArray, fit: Letterbox) -> FloatArray:
    """Scale, pad and convert a BGR frame to (1, 3, h, w) float32 RGB in [0, 1]."""
    inner = (fit.inner_width, fit.inner_height)
    scaled = frame if frame.shape[1::-1] == inner else cv2.resize(frame, inner, interpolation=cv2.INTER_LINEAR)
    if (fit.width, fit.height) != inner:
        canvas = np.full((fit.height, fit.width, 3), GREY, dtype=np.uint8)
        canvas[fit.top : fit.top + fit.inner_height, fit.left : fit.left + fit.inner_width] = scaled
        scaled = canvas
    return np.asarray(cv2.dnn.blobFromImage(scaled, 1 / 255.0, swapRB=True))
