"""Public expression nets as peers: face-api (MIT) and mini_XCEPTION (MIT), each with the crop it does best on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import FloatArray
from emo_face.datasets.faces.faces import FacePicture
from emo_face.evaluation.metrics.timing import cpu_milliseconds
from emo_face.runtime.engines.ort import OrtEngine


@dataclass(frozen=True)
class PeerKind:
    """A peer: its file, input side and channels, the margin of the box, and its label order in terms of basic7."""

    file: str
    size: int
    channels: int
    margin: float
    order: tuple[int, ...]


PEERS = {
    # Order: position in the net's output of Anger, Disgust, Fear, Happy, Sad, Surprise, Neutral.
    "face_api": PeerKind("fer_faceapi.onnx", 112, 3, 1.0, (3, 5, 4, 1, 2, 6, 0)),
    "mini_xception": PeerKind("fer_mini_xception.onnx", 64, 1, 1.0, (0, 1, 2, 3, 4, 5, 6)),
}


class Peer:
    """One peer, ready to judge."""

    def __init__(self, name: str, folder: Path) -> None:
        """Load it from ``folder``. Raises ModelError naming the file."""
        self.kind = PEERS[name]
        self.path = folder / self.kind.file
        self._model = OrtEngine(self.path)

    def classify(self, pictures: Sequence[FacePicture]) -> FloatArray:
        """(n, 7) probabilities in basic7 order."""
        return np.concatenate([self._run(self.crop(p)[None]) for p in pictures])

    def crop(self, picture: FacePicture) -> FloatArray:
        """(c, s, s) float32 0..255: the square around the box, upright."""
        box, kind = picture.face.box, self.kind
        side = kind.margin * max(box.width, box.height)
        scale = kind.size / side
        x, y = box.center
        matrix = np.array([[scale, 0, kind.size / 2 - scale * x], [0, scale, kind.size / 2 - scale * y]])
        source = picture.picture
        if scale < 0.5:  # shrink without aliasing
            source = np.asarray(cv2.GaussianBlur(source, (0, 0), 0.4 / scale), dtype=np.uint8)
        cut = cv2.warpAffine(
            source, matrix, (kind.size, kind.size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.repeat(cut[None].astype(np.float32), kind.channels, axis=0)

    def speed(self, rounds: int = 20) -> float:
        """Median CPU milliseconds for a batch of eight (one thread)."""
        batch = np.zeros((8, self.kind.channels, self.kind.size, self.kind.size), np.float32)
        self._run(batch)
        return round(cpu_milliseconds([partial(self._run, batch)] * rounds), 3)

    def _run(self, batch: NDArray[np.float32] | FloatArray) -> FloatArray:
        (output,) = self._model.run({self._model.inputs[0].name: np.asarray(batch, dtype=np.float32)})
        return np.asarray(output, dtype=np.float64)[:, self.kind.order]
