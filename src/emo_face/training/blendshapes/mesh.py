"""MediaPipe's face mesh (Apache-2.0), run from the ``.task`` file without MediaPipe."""

import zipfile
from pathlib import Path

import cv2
import numpy as np

from emo_face.core.errors import ModelError, UserError
from emo_face.core.types import FloatArray, UInt8Array
from emo_face.training.fer.teachers import stretch

POINTS = 478
INPUT = 256


class FaceMesh:
    """Facial points of a grey crop."""

    def __init__(self, task: Path) -> None:
        """Load ``face_landmarker.task``. Raises ModelError naming the file, UserError without ``ai-edge-litert``."""
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise UserError("photographed skins need LiteRT: pip install ai-edge-litert") from None
        try:
            with zipfile.ZipFile(task) as archive:
                content = archive.read("face_landmarks_detector.tflite")
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise ModelError(f"{task} is no face_landmarker.task: {error}") from None
        self._mesh = Interpreter(model_content=content, num_threads=1)
        self._mesh.allocate_tensors()

    def points(self, crop: UInt8Array) -> tuple[FloatArray, bool]:
        """(h, h) grey crop, 1.5 faces wide -> (478, 3) points in pixels of the crop, whether it is a face."""
        large = cv2.resize(stretch(crop), (INPUT, INPUT), interpolation=cv2.INTER_CUBIC)
        rgb = np.repeat(large[..., None], 3, axis=2)
        self._mesh.set_tensor(self._mesh.get_input_details()[0]["index"], rgb[None].astype(np.float32) / 255)
        self._mesh.invoke()
        outputs = {d["name"]: self._mesh.get_tensor(d["index"]) for d in self._mesh.get_output_details()}
        points = outputs["Identity"].reshape(POINTS, 3) * (len(crop) / INPUT)
        return points, bool(outputs["Identity_1"].item() > 0)
