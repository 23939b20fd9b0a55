"""CenterFace, for machines that cannot download YuNet: from a package on PyPI (:mod:`emo_face.runtime.wheels`).

Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", Scientific Programming 2020: a heat map
of face centres at a quarter of the input, and for each its logarithmic size, offset and five landmarks, rows first.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from emo_face.core.errors import ModelError
from emo_face.core.types import Box, Face, ImageArray
from emo_face.runtime.engines.base import Engine
from emo_face.runtime.engines.plan import Plan
from emo_face.runtime.engines.select import Engines

STRIDE, CELL = 32, 4
CHANNELS = (1, 2, 2, 10)  # of the outputs: heat, size, offset, landmarks
SCORE = 2 / 3
"""Its scores are lower than YuNet's: at 0.4 it finds on pictures of groups what YuNet finds at 0.6."""
SIZE = 256
"""Pixels of the longer side: at 320 it finds no more on the test pictures and costs twice as much."""
MAX_FACES, CANDIDATES, OVERLAP = 200, 5000, 0.3


class CenterFaceDetector:
    """CenterFace with five landmarks in YuNet's order."""

    name = "centerface"

    def __init__(self, engine: Engine, size: int = SIZE, confidence: float = 0.6) -> None:
        """Check the network and keep the settings.

        Args:
            size: the frame's longer side is scaled down to this, pixels.
            confidence: lowest score on YuNet's scale.

        Raises:
            ModelError: this is another network; names the file.
        """
        self.size, self._least, self._engine = size, confidence * SCORE, engine
        found = tuple(spec.shape[1] for spec in engine.outputs if len(spec.shape) == 4)
        if found != CHANNELS:
            raise ModelError(
                f"{engine.path}: not CenterFace: expected four outputs of {CHANNELS} channels, got {found}; check it "
                "by `emo-face models verify`"
            )

    @classmethod
    def load(
        cls, path: Path, engines: Engines | None = None, size: int = SIZE, confidence: float = 0.6
    ) -> CenterFaceDetector:
        """Load ``path`` on what ``engines`` chooses; None takes one thread of the CPU. See :meth:`__init__`."""
        return cls((engines or Engines("cpu")).load(path, Plan("centerface", {}, free_sides=True)), size, confidence)

    def detect(self, frame: ImageArray) -> list[Face]:
        """Faces in ``frame`` (H x W x 3 BGR), best first, in pixels of the frame."""
        height, width = frame.shape[:2]
        scale = min(1.0, self.size / max(height, width, 1))
        wide, high = max(1, round(width * scale)), max(1, round(height * scale))
        small = frame if scale == 1.0 else cv2.resize(frame, (wide, high), interpolation=cv2.INTER_LINEAR)
        padded = cv2.copyMakeBorder(small, 0, -high % STRIDE, 0, -wide % STRIDE, cv2.BORDER_CONSTANT, value=0)
        blob = cv2.dnn.blobFromImage(padded, swapRB=True)
        heat, size, offset, marks = self._engine.run({self._engine.inputs[0].name: blob})
        rows, columns = np.nonzero(heat[0, 0] >= self._least)
        if not len(rows):
            return []
        scores = heat[0, 0, rows, columns].astype(np.float64)
        tall, broad = np.exp(size[0][:, rows, columns].astype(np.float64)) * CELL
        down, right = offset[0][:, rows, columns]
        x, y = (columns + right + 0.5) * CELL - broad / 2, (rows + down + 0.5) * CELL - tall / 2
        boxes = np.stack([x, y, broad, tall], axis=1)
        boxes[~np.isfinite(boxes)] = 0.0
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), self._least, OVERLAP, top_k=CANDIDATES)
        factor = np.array([width / wide, height / high])
        points = marks[0][:, rows, columns].astype(np.float64).T.reshape(-1, 5, 2)  # (down, right) in shares of the box
        across, below = points[..., 1] * broad[:, None], points[..., 0] * tall[:, None]
        points = np.stack([x[:, None] + across, y[:, None] + below], axis=-1)
        best = sorted(np.asarray(kept, dtype=int).reshape(-1), key=lambda i: -scores[i])[:MAX_FACES]
        return [
            Face(Box(*map(float, boxes[i] * np.tile(factor, 2))), float(min(scores[i], 1.0)), points[i] * factor)
            for i in best
            if (boxes[i, 2:] > 0).all() and np.isfinite(points[i]).all()
        ]
