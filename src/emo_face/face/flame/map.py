"""The map between ARKit-52 and the coefficients of the user's FLAME file, and between two FLAME versions.

Nothing of FLAME or of any published matrix is shipped: the user computes the map from their own file by fitting
FLAME to the expression shapes of ICT-FaceKit (MIT).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.errors import ModelError
from emo_face.core.types import FloatArray
from emo_face.face.expressions.basis import ROWS, open_basis
from emo_face.face.expressions.ict import IctHead
from emo_face.face.flame.model import EXPRESSIONS, FlameModel, FlamePose, rotation_matrix
from emo_face.face.flame.register import Registration
from emo_face.face.mesh.surface import vertex_areas
from emo_face.runtime.arrays import read_npz

JAW_SHAPES = ("jawOpen", "jawLeft", "jawRight")
EYELID_SHAPES = ("eyeBlinkLeft", "eyeBlinkRight")
RIDGE_MM = 0.05
"""mm: one standard deviation of an expression coefficient may cost this much error of the skin."""
BONE = 0.8
"""Vertices whose skinning weight of the jaw is above this move with the bone."""
JAW_STEP = 1e-3
_NEWTON_STEPS = 6
_M_TO_MM = 1000.0


@dataclass(frozen=True)
class FlameMap:
    """The fitted map.

    Attributes:
        arrays: fields of the npz, in the format of :mod:`emo_face.face.expressions.basis`, plus ``eyelid_shapes``
            (2, v, 3) m, ``shape`` (300,) and ``flame_version``.
        errors: ARKit name -> root-mean-square error of the skin in mm at full activation, and that of the shape.
    """

    arrays: dict[str, NDArray[np.generic]]
    errors: dict[str, tuple[float, float]]

    def explained(self) -> float:
        """Share of the squared movement of all fitted shapes that FLAME can make, in [0, 1]."""
        wrong = sum(error**2 for error, _ in self.errors.values())
        total = sum(size**2 for _, size in self.errors.values())
        return 1.0 - wrong / total if total > 0 else 0.0


def fit_map(
    flame: FlameModel, head: IctHead, registration: Registration, progress: Callable[[int], None] = lambda done: None
) -> FlameMap:
    """Fit every ARKit shape by expression coefficients and, for the jaw shapes, a jaw rotation.

    Blinks go to the eyelid channel with shapes carried over from ICT-FaceKit, looks to the gaze channel (the same
    convention as ``open-ict-1``), ``tongueOut`` nowhere.

    Args:
        progress: told the number of shapes done, up to 52.
    """
    fit = _Fit(flame, registration)
    coefficients, jaw = np.zeros((EXPRESSIONS, 52)), np.zeros((3, 52))
    errors: dict[str, tuple[float, float]] = {}
    eyelids = np.zeros((2, len(flame.template), 3))
    for done, (name, index) in enumerate(ARKIT_INDEX.items(), start=1):
        wanted = registration.carry(head.arkit_delta(name))
        if name in EYELID_SHAPES:
            eyelids[EYELID_SHAPES.index(name), registration.matched] = wanted
        elif not name.startswith("eyeLook") and name != "tongueOut":
            coefficients[:, index], jaw[:, index], error = fit.solve(wanted, name in JAW_SHAPES)
            errors[name] = (error, fit.size(wanted))
        progress(done)
    reference = open_basis().matrix
    metric = fit.metric(eyelids[:, registration.matched])
    arrays: dict[str, NDArray[np.generic]] = {
        "basis": np.array(flame.version.removesuffix("_open")),
        "flame_version": np.array(flame.version),
        "arkit_names": np.array(ARKIT_52),
        "rank": np.array(EXPRESSIONS, dtype=np.int32),
        "coefficients_from_arkit": coefficients.astype(np.float32),
        "jaw_from_arkit": jaw.astype(np.float32),
        "eyelids_from_arkit": reference[103:105].astype(np.float32),
        "gaze_from_arkit": reference[105:107].astype(np.float32),
        "weights": np.sqrt(np.diag(metric)).astype(np.float32),
        "metric": metric.astype(np.float32),
        "eyelid_shapes": eyelids.astype(np.float32),
        "shape": registration.shape.astype(np.float32),
        "licence": np.array("derived from the user's FLAME file: its licence applies; shapes: ICT-FaceKit, MIT"),
    }
    return FlameMap(arrays, errors)


class _Fit:
    """Least squares over the matched vertices, weighted by the area each stands for; in millimetres."""

    def __init__(self, flame: FlameModel, registration: Registration) -> None:
        self.flame, self.shape, self.matched = flame, registration.shape, registration.matched
        self.neutral = flame.forward(self.shape, pose=FlamePose())[self.matched]
        area = vertex_areas(flame.template, flame.faces)[self.matched]
        self.root = np.sqrt(area / area.sum())[:, None] * _M_TO_MM
        self.linear = (self.root[:, :, None] * flame.expression_directions[self.matched]).reshape(-1, EXPRESSIONS)

    def size(self, offsets: FloatArray) -> float:
        """Root-mean-square length in mm of offsets (m, 3) in m."""
        return float(np.linalg.norm(self.root * offsets))

    def solve(self, wanted: FloatArray, with_jaw: bool) -> tuple[FloatArray, FloatArray, float]:
        """Coefficients (100,), jaw (3,) rad and what is left, root mean square in mm, for offsets (m, 3) in m.

        The jaw is turned as far as the skin over the bone says, and only what that leaves goes to the coefficients:
        expressions can imitate part of an open mouth, but a driver reads an open mouth from the jaw.
        """
        jaw = self._jaw(wanted) if with_jaw else np.zeros(3)
        left = (self.root * (wanted - self._moved(np.zeros(EXPRESSIONS), jaw))).ravel()
        columns = self._turned(jaw) if with_jaw else self.linear
        psi = np.linalg.solve(columns.T @ columns + RIDGE_MM**2 * np.eye(EXPRESSIONS), columns.T @ left)
        return psi, jaw, self.size(wanted - self._moved(psi, jaw))

    def _jaw(self, wanted: FloatArray) -> FloatArray:
        """(3,) rotation of the jaw whose rigid part moves as wanted; Gauss-Newton."""
        bone = np.repeat(self.flame.weights[self.matched, 2] > BONE, 3)
        if bone.sum() < 30:
            raise ModelError(f"{self.flame.version}: only {bone.sum() // 3} matched vertices move with the jaw")
        jaw, rest = np.zeros(3), np.zeros(EXPRESSIONS)
        for _ in range(_NEWTON_STEPS):
            columns = self._jaw_columns(rest, jaw)[bone]
            left = (self.root * (wanted - self._moved(rest, jaw))).ravel()[bone]
            jaw = jaw + np.linalg.solve(columns.T @ columns + 1e-9 * np.eye(3), columns.T @ left)
        return jaw

    def _turned(self, jaw: FloatArray) -> FloatArray:
        """The columns of the coefficients while the jaw is turned: expression offsets turn with the skin."""
        rotation = rotation_matrix(jaw)
        share = self.flame.weights[self.matched, 2][:, None, None]
        blended = share * rotation + (1 - share) * np.eye(3)
        directions = np.einsum("mij,mjk->mik", blended, self.flame.expression_directions[self.matched])
        return np.asarray((self.root[:, :, None] * directions).reshape(-1, EXPRESSIONS))

    def metric(self, eyelids: FloatArray) -> FloatArray:
        """(107, 107) mm squared: how a unit of each row of a face code moves the skin, and each pair together.

        Args:
            eyelids: (2, m, 3) offsets in m of closed lids.
        """
        lids = (self.root * eyelids).reshape(2, -1).T
        columns = np.hstack([self.linear, self._jaw_columns(np.zeros(EXPRESSIONS), np.zeros(3)), lids])
        result = np.zeros((ROWS, ROWS))
        result[:105, :105] = columns.T @ columns
        blink = max(float(np.linalg.norm(lids[:, 0])), 1e-3)
        result[105:, 105:] = np.eye(2) * (blink / np.radians(30.0)) ** 2  # gaze moves no skin here; as strong as a lid
        return result

    def _moved(self, psi: FloatArray, jaw: FloatArray) -> FloatArray:
        return self.flame.forward(self.shape, psi, FlamePose(jaw=jaw))[self.matched] - self.neutral

    def _jaw_columns(self, psi: FloatArray, jaw: FloatArray) -> FloatArray:
        """Derivative by the three jaw angles, central differences."""
        columns = []
        for axis in np.eye(3) * JAW_STEP:
            change = self._moved(psi, jaw + axis) - self._moved(psi, jaw - axis)
            columns.append((self.root * change / (2 * JAW_STEP)).ravel())
        return np.stack(columns, axis=1)


def save_map(path: Path, result: FlameMap) -> None:
    """Write the npz that :func:`emo_face.face.expressions.basis.load_basis` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        np.savez_compressed(stream, **result.arrays)  # type: ignore[arg-type]


def load_eyelids(path: Path, vertices: int) -> FloatArray:
    """(2, v, 3) m eyelid shapes of a map file. Raises ModelError when it has none or belongs to another mesh."""
    try:
        shapes = np.asarray(read_npz(path)["eyelid_shapes"], dtype=np.float64)
    except (ModelError, ValueError, KeyError) as error:
        raise ModelError(f"{path} holds no eyelid shapes ({error}); run: emo-face flame import") from None
    if shapes.shape != (2, vertices, 3):
        raise ModelError(f"{path}: eyelid_shapes have shape {shapes.shape}, expected {(2, vertices, 3)}")
    return shapes


def conversion(source: FlameModel, target: FlameModel, ridge_mm: float = RIDGE_MM) -> tuple[FloatArray, float]:
    """Expression coefficients of one version in those of another.

    Least squares between the two expression spaces on the vertices they share (both versions have one topology).

    Returns:
        (100, 100) C with ``target = C @ source``, and the share of the squared movement that survives, in [0, 1].

    Raises:
        ModelError: the models differ in their triangles.
    """
    if source.faces.shape != target.faces.shape or not np.array_equal(source.faces, target.faces):
        raise ModelError(f"{source.version} and {target.version} have different triangles; they cannot be converted")
    area = vertex_areas(source.template, source.faces)
    root = np.sqrt(area / area.sum())[:, None, None] * _M_TO_MM
    a = (root * target.expression_directions).reshape(-1, EXPRESSIONS)
    b = (root * source.expression_directions).reshape(-1, EXPRESSIONS)
    matrix = np.linalg.solve(a.T @ a + ridge_mm**2 * np.eye(EXPRESSIONS), a.T @ b)
    left = float(np.sum((a @ matrix - b) ** 2))
    return np.asarray(matrix), 1.0 - left / float(np.sum(b**2))
