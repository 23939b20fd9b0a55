"""What older networks see in a face: soft labels for the few faces that nobody labelled.

Teachers: face-api's expression net and mini_XCEPTION (both MIT). They are used for training only; no weight of theirs
is in the student.
"""

from pathlib import Path

import cv2
import numpy as np

from emo_face.core.types import FloatArray, UInt8Array
from emo_face.evaluation.fer.peers import PEERS
from emo_face.runtime.engines.ort import OrtEngine
from emo_face.runtime.progress import track

BATCH = 32


class ExpressionTeachers:
    """The two expression nets, asked together."""

    def __init__(self, folder: Path) -> None:
        """Load ``fer_faceapi.onnx`` and ``fer_mini_xception.onnx``. Raises ModelError naming the file."""
        self._nets = {name: OrtEngine(folder / kind.file) for name, kind in PEERS.items()}

    def __call__(self, crops: UInt8Array) -> FloatArray:
        """(n, 64, 64) grey -> mean log-probabilities (n, 7) of both nets."""
        parts = (crops[start : start + BATCH] for start in range(0, len(crops), BATCH))
        total = -(-len(crops) // BATCH)
        return np.concatenate([self._ask(part) for part in track(parts, "asking the expression nets", total)])

    def _ask(self, crops: UInt8Array) -> FloatArray:
        said = []
        for name, net in self._nets.items():
            kind = PEERS[name]
            rows = np.stack([_resized(stretch(crop), kind.size) for crop in crops])[:, None].astype(np.float32)
            (output,) = net.run({net.inputs[0].name: np.repeat(rows, kind.channels, axis=1)})
            said.append(np.log(output[:, kind.order] + 1e-5))
        return np.asarray(np.mean(said, axis=0), dtype=np.float32)


def stretch(crop: UInt8Array) -> UInt8Array:
    """Mean and contrast of a well-lit photo, as of the teachers' training pictures, whatever the crop's."""
    values = crop.astype(np.float32)
    return np.asarray(np.clip((values - values.mean()) / (values.std() + 1) * 55 + 120, 0, 255).astype(np.uint8))


def _resized(crop: UInt8Array, size: int) -> UInt8Array:
    if len(crop) == size:
        return crop
    return np.asarray(cv2.resize(crop, (size, size), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
