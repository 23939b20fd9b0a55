"""The face student at run time: aligned crops of all faces of a frame through one ONNX model, and their quality."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import ModelError
from emo_face.core.labels import basic7
from emo_face.core.types import Face, FloatArray
from emo_face.core.versions import check_metadata_version
from emo_face.perception.nano.facecrop import CROP, cut, grey, normalise, usable
from emo_face.perception.quality import face_quality
from emo_face.runtime.engines.base import warm_up
from emo_face.runtime.engines.plan import Plan, Range
from emo_face.runtime.engines.select import Engines
from emo_face.runtime.store import sha256_of

BATCH = 32
TRUSTED = 0.3  # quality from which the fusion takes the model's word as it is; below it the pool fades it to flat

PLAN = Plan(
    "nano_face",
    {"crops": Range((1, 1, CROP, CROP), (2, 1, CROP, CROP), (8, 1, CROP, CROP))},
    rows={"probabilities": "crops", "face": "crops"},
    buckets=(1, 2, 4, 8),
)


@dataclass(frozen=True, slots=True)
class FaceReading:
    """What one face shows.

    Attributes:
        probabilities: (7,) in the order of basic7, whatever the quality; flat if that is 0.
        quality: [0, 1]; size, sharpness, light, pose and the model's own doubt that this is a face. The pool discounts
            by it, once (:mod:`emo_face.perception.fusion`).
    """

    probabilities: FloatArray
    quality: float


class FaceStudent:
    """Reads the seven basic emotions from faces; fills ``FaceReader`` of :mod:`emo_face.perception.nano.model`.

    Attributes:
        hashes: file name -> sha256 of the weights.
    """

    def __init__(self, path: Path, engines: Engines | None = None) -> None:
        """Load ``nano_face.onnx``.

        Args:
            engines: chooses what it runs on; None takes one thread of the CPU.

        Raises:
            ModelError: the file is missing, damaged, or is another model; names the file and the field.
        """
        path = Path(path)
        self._model = (engines or Engines("cpu")).load(path, PLAN)
        self._check()
        self.hashes: Mapping[str, str] = {path.name: sha256_of(path)}

    def read(self, frame: NDArray[Any], faces: Sequence[Face]) -> list[FaceReading]:
        """One reading a face, in order.

        Args:
            frame: (h, w) or (h, w, 3) BGR, 8-bit, 16-bit or float; NaN pixels count as black.
            faces: in pixels of the frame; a box or landmark that is not finite, or a face under two pixels, gives the
                flat distribution with quality 0.

        Raises:
            ValueError: ``frame`` is no picture.
        """
        if not faces:
            return []
        picture = grey(frame)
        good = [i for i, face in enumerate(faces) if usable(face)]
        crops = [cut(picture, faces[i]) for i in good]
        probabilities, is_face = self.classify(np.stack(crops)) if crops else (np.zeros((0, 7)), np.zeros(0))
        flat = np.full(len(basic7()), 1 / len(basic7()))
        readings = [FaceReading(flat, 0.0)] * len(faces)
        for row, i in enumerate(good):
            quality = face_quality(crops[row], faces[i], picture.shape).total * float(is_face[row])
            readings[i] = FaceReading(probabilities[row] if quality > 0 else flat, quality)
        return readings

    def classify(self, crops: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
        """(n, 48, 48) uint8 grey crops -> probabilities (n, 7) and the model's belief (n,) that each is a face."""
        if len(crops) == 0:
            return np.zeros((0, len(basic7()))), np.zeros(0)
        parts = []
        for start in range(0, len(crops), BATCH):
            parts.append(self._model.run({"crops": normalise(crops[start : start + BATCH])}))
        p = np.concatenate([part[0] for part in parts]).astype(np.float64)
        face = np.concatenate([part[1] for part in parts]).astype(np.float64)
        bad = ~np.isfinite(p).all(axis=1) | ~np.isfinite(face)
        p[bad], face[bad] = 1.0, 0.0
        return p / p.sum(axis=1, keepdims=True), face

    def warm_up(self) -> float:
        """Run once on an empty crop; returns seconds."""
        return warm_up(self._model, {"crops": (1, 1, CROP, CROP)})

    def _check(self) -> None:
        check_metadata_version(self._model.path, self._model.metadata, 1)
        inputs = {spec.name: spec.shape[1:] for spec in self._model.inputs}
        outputs = [spec.shape[1:] for spec in self._model.outputs]
        if inputs != {"crops": (1, CROP, CROP)} or outputs != [(len(basic7()),), ()]:
            raise ModelError(
                f"{self._model.path}: not a face student: expected input crops [n,1,{CROP},{CROP}] and outputs "
                f"[n,{len(basic7())}], [n], got {inputs} and {outputs}; retrain it by `emo-face train fer`"
            )
