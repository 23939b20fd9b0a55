"""What older networks see in a face: features and soft labels that the face student is taught to reproduce.

Teachers: face-api's expression net and mini_XCEPTION (both MIT), and, when ``face_landmarker.task`` and the package
``ai-edge-litert`` are there, MediaPipe's face mesh (Apache-2.0; its last feature map) with its 52 blendshapes.
They are used for training only; no weight of theirs is in the student.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import ModelError
from emo_face.core.types import FloatArray
from emo_face.training.fer.augment import WIDE, WIDE_SPREAD
from emo_face.training.fer.progress import progress

FACEAPI_ORDER = (3, 5, 4, 1, 2, 6, 0)  # neutral, happy, sad, angry, fear, disgust, surprise -> basic7
MESH_FEATURES = 512
MESH_POINTS = 478
MESH_INPUT = 256
# MediaPipe's face blendshapes graph (face_blendshapes_graph.cc): the 146 mesh points that its network reads.
MESH_SUBSET = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80, 81,
    82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153, 154,
    155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263,
    267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321,
    323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387,
    388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
)  # fmt: skip


@dataclass(frozen=True)
class Lessons:
    """Teacher outputs for n crops.

    Attributes:
        features: (n, f) teacher features. soft: (n, 7) mean log-probabilities of the two expression nets.
        arkit: (n, 52) MediaPipe blendshapes in [0, 1], NaN without them. seen: (n,) bool, mesh found a face.
    """

    features: FloatArray
    soft: FloatArray
    arkit: FloatArray
    seen: NDArray[np.bool_]


class FerTeachers:
    """The two expression nets, with face-api's pooled features as a second output."""

    def __init__(self, folder: Path) -> None:
        """Load ``fer_faceapi.onnx`` and ``fer_mini_xception.onnx``. Raises ModelError naming the file."""
        self._face_api = _session(folder / "fer_faceapi.onnx", "Flatten")
        self._xception = _session(folder / "fer_mini_xception.onnx", None)

    def __call__(self, crops: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
        """(n, 64, 64) grey -> features (n, 256) and mean log-probabilities (n, 7) in basic7 order."""
        large = np.stack([cv2.resize(stretch(c), (112, 112), interpolation=cv2.INTER_CUBIC) for c in crops])
        rgb = np.repeat(large[:, None].astype(np.float32), 3, axis=1)
        first, features = self._face_api.run(None, {self._face_api.get_inputs()[0].name: rgb})
        small = np.stack([stretch(c) for c in crops])[:, None].astype(np.float32)
        (second,) = self._xception.run(None, {self._xception.get_inputs()[0].name: small})
        soft = (np.log(first[:, FACEAPI_ORDER] + 1e-5) + np.log(second + 1e-5)) / 2
        return features, soft


class MeshTeacher:
    """MediaPipe's face mesh and blendshape networks, run from the ``.task`` file without MediaPipe."""

    def __init__(self, task: Path) -> None:
        """Load ``face_landmarker.task``. Raises ModelError naming the file, ImportError without ``ai-edge-litert``."""
        from ai_edge_litert.interpreter import Interpreter

        try:
            with zipfile.ZipFile(task) as archive:
                mesh, shapes = (archive.read(f"{n}.tflite") for n in ("face_landmarks_detector", "face_blendshapes"))
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise ModelError(f"{task} is no face_landmarker.task: {error}") from None
        self._mesh = Interpreter(model_content=mesh, num_threads=1, experimental_preserve_all_tensors=True)
        self._shapes = Interpreter(model_content=shapes, num_threads=1)
        self._mesh.allocate_tensors()
        self._shapes.allocate_tensors()
        maps = [
            d for d in self._mesh.get_tensor_details() if list(d["shape"]) == [1, 2, 2, 128] and "p_re_lu" in d["name"]
        ]
        self._last = [d["index"] for d in maps if "dequantize" not in d["name"]][-1]

    def __call__(self, crop: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray, bool]:
        """(h, h) grey crop, 1.5 faces wide -> features (512,), blendshapes (52,), whether it is a face."""
        points, seen = self.points(crop)
        chosen = points[list(MESH_SUBSET), :2].astype(np.float32)
        self._shapes.set_tensor(self._shapes.get_input_details()[0]["index"], chosen[None])
        self._shapes.invoke()
        shapes = self._shapes.get_tensor(self._shapes.get_output_details()[0]["index"]).ravel()
        features = self._mesh.get_tensor(self._last).ravel()
        return features.copy(), shapes.copy(), seen

    def points(self, crop: NDArray[np.uint8]) -> tuple[FloatArray, bool]:
        """(h, h) grey crop, 1.5 faces wide -> (478, 3) points in pixels of the crop, whether it is a face."""
        rgb = np.repeat(
            cv2.resize(stretch(crop), (MESH_INPUT, MESH_INPUT), interpolation=cv2.INTER_CUBIC)[..., None], 3, axis=2
        )
        self._mesh.set_tensor(self._mesh.get_input_details()[0]["index"], rgb[None].astype(np.float32) / 255)
        self._mesh.invoke()
        outputs = {d["name"]: self._mesh.get_tensor(d["index"]) for d in self._mesh.get_output_details()}
        points = outputs["Identity"].reshape(MESH_POINTS, 3) * (len(crop) / MESH_INPUT)
        return points, bool(outputs["Identity_1"].item() > 0)


def stretch(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Set mean and contrast to those of the teachers' training pictures."""
    values = crop.astype(np.float32)
    return np.asarray(np.clip((values - values.mean()) / (values.std() + 1) * 55 + 120, 0, 255).astype(np.uint8))


def teach(
    wide: NDArray[np.uint8], crops: NDArray[np.uint8], fer: FerTeachers, mesh: MeshTeacher | None, batch: int = 32
) -> Lessons:
    """Ask all teachers.

    Args:
        wide: (n, 128, 128) crops with room around the face, for the mesh. crops: (n, 64, 64), the student's view.
    """
    features, soft = [], []
    for start in progress(range(0, len(crops), batch), "asking the expression nets"):
        one, two = fer(crops[start : start + batch])
        features.append(one)
        soft.append(two)
    arkit = np.full((len(crops), 52), np.nan, np.float32)
    seen = np.zeros(len(crops), bool)
    joined = np.concatenate(features)
    if mesh is not None:
        more = np.zeros((len(crops), MESH_FEATURES), np.float32)
        inner = int(WIDE / WIDE_SPREAD * 1.5 / 2)  # the mesh expects a margin of a quarter face on each side
        window = slice(WIDE // 2 - inner, WIDE // 2 + inner)
        for i in progress(range(len(crops)), "asking the face mesh"):
            more[i], arkit[i], seen[i] = mesh(wide[i][window, window])
        joined = np.concatenate([joined, more], axis=1)
    arkit[~seen] = np.nan
    # MediaPipe's first output is "_neutral"; the 51 others are ARKit's without tongueOut, sorted by name.
    return Lessons(joined.astype(np.float32), np.concatenate(soft).astype(np.float32), _to_arkit(arkit), seen)


def _to_arkit(shapes: FloatArray) -> FloatArray:
    from emo_face.core.arkit import ARKIT_52

    names = sorted(n for n in ARKIT_52 if n != "tongueOut")
    result = np.zeros_like(shapes)
    for column, name in enumerate(names, 1):
        result[:, ARKIT_52.index(name)] = shapes[:, column]
    return result


def _session(path: Path, extra: str | None) -> Any:
    """An onnxruntime session; ``extra``: operator whose output becomes a further output."""
    import onnx
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        model = onnx.load(str(path))
        if extra:
            node = next(n for n in model.graph.node if n.op_type == extra)
            model.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
        return ort.InferenceSession(model.SerializeToString(), options)
    except Exception as error:
        raise ModelError(f"{path} does not load as a teacher: {str(error)[:200]}") from None
