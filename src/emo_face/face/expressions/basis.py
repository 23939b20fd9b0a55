"""Expression bases: ARKit-52 to the numbers of a ``FaceExpression`` message and back.

A basis is a linear map with weights, stored as npz. ``open-ict-1`` ships with the package; maps for FLAME 2020 and
2023 are computed from the user's own file by ``emo-face flame import`` and have the same format.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from emo_face.core.arkit import ARKIT_52
from emo_face.core.errors import ModelError
from emo_face.core.paths import share_dir
from emo_face.core.types import ExpressionTarget, FloatArray
from emo_face.core.versions import known_version
from emo_face.face.expressions.boxqp import solve_box_qp
from emo_face.runtime.arrays import read_npz

COEFFICIENTS = 100
ROWS = COEFFICIENTS + 3 + 2 + 2
OPEN_BASIS = "open-ict-1"
OPEN_BASIS_FILE = "open_ict_1.npz"
_SHAPES = {
    "coefficients_from_arkit": (COEFFICIENTS, 52),
    "jaw_from_arkit": (3, 52),
    "eyelids_from_arkit": (2, 52),
    "gaze_from_arkit": (2, 52),
    "weights": (ROWS,),
}
RIDGE = 0.01
"""mm: an activation may cost this much root-mean-square error of the skin to be smaller by one."""


@dataclass(frozen=True, slots=True)
class FaceCode:
    """A face in the numbers of the message.

    Attributes:
        coefficients: (100,) standard deviations. jaw_pose: (3,) rad, axis-angle; +x opens, +y turns the chin left.
        eyelids: (2,) left, right in [0, 1], 1 = closed. gaze: (2,) rad, yaw (left +), pitch (up +).
    """

    coefficients: FloatArray
    jaw_pose: FloatArray
    eyelids: FloatArray
    gaze: FloatArray

    @staticmethod
    def of(target: ExpressionTarget, keyframe: int = 0) -> "FaceCode":
        """The code of one of an expression target's keyframes."""
        key = target.keyframes[keyframe]
        return FaceCode(key.coefficients, key.jaw_pose, key.eyelids, target.gaze)

    def stacked(self) -> FloatArray:
        """(107,) coefficients, jaw, eyelids, gaze. Raises ValueError on a wrong length or a non-finite value."""
        parts = {"coefficients": COEFFICIENTS, "jaw_pose": 3, "eyelids": 2, "gaze": 2}
        arrays = []
        for name, size in parts.items():
            array = np.asarray(getattr(self, name), dtype=np.float64)
            if array.shape != (size,):
                raise ValueError(f"{name} of a face code has shape {array.shape}, expected ({size},)")
            arrays.append(array)
        stacked = np.concatenate(arrays)
        if not np.isfinite(stacked).all():
            raise ValueError("face code holds a value that is not finite")
        return stacked


@dataclass(frozen=True)
class Basis:
    """A linear map ARKit -> face code and its bounded inverse.

    Attributes:
        name: published as ``basis``: ``open-ict-1``, ``flame2020`` or ``flame2023``.
        rank: coefficients from this index on are always zero.
        matrix: (107, 52) rows in the order of :meth:`FaceCode.stacked`.
        weights: (107,) mm root-mean-square movement of the skin for one unit of each row.
        hashes: file name -> sha256 of the file it was read from.
        metric: (107, 107) mm squared, how rows move the skin together; the weights alone if None, which is exact
            for a basis that is orthogonal on the skin.
    """

    name: str
    rank: int
    matrix: FloatArray
    weights: FloatArray
    metric: FloatArray | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    _hessian: FloatArray = field(init=False, repr=False)
    _gather: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        metric = np.diag(self.weights**2) if self.metric is None else self.metric
        object.__setattr__(self, "_gather", self.matrix.T @ metric)
        object.__setattr__(self, "_hessian", self._gather @ self.matrix + RIDGE**2 * np.eye(52))

    def encode(self, arkit: FloatArray) -> FaceCode:
        """Code of ARKit activations (52,) in [0, 1]; zero in, zero out.

        Raises:
            ValueError: wrong shape, or a value that is not finite.
        """
        values = np.asarray(arkit, dtype=np.float64)
        if values.shape != (52,) or not np.isfinite(values).all():
            raise ValueError(f"ARKit activations must be 52 finite numbers, got shape {values.shape}")
        code = self.matrix @ np.clip(values, 0.0, 1.0)
        return FaceCode(code[:100], code[100:103], code[103:105], code[105:])

    def decode(self, code: FaceCode, start: FloatArray | None = None) -> FloatArray:
        """ARKit activations (52,) in [0, 1] whose code is nearest, weighted by movement of the skin.

        Solves ``min |W (M a - c)|^2 + ridge |a|^2`` over 0 <= a <= 1. What the basis cannot carry is zero:
        ``tongueOut``, and eyes that look in different directions become their mean direction.

        Args:
            code: any finite code, from this basis.
            start: the previous result; speeds up a sequence, does not change the answer.

        Raises:
            ValueError: the code has a wrong length or is not finite.
        """
        return solve_box_qp(self._hessian, self._gather @ code.stacked(), start)


def load_basis(path: Path) -> Basis:
    """Load a basis file.

    Raises:
        ModelError: missing, unreadable, or not of this format; names the file, the field, expected and got.
    """
    if not path.is_file():
        raise ModelError(f"expression basis {path} not found; reinstall emo_face, or run: emo-face flame import")
    try:
        data = read_npz(path)
        arrays = {name: data[name] for name in (*_SHAPES, "basis", "arkit_names", "rank")}
        metric = data.get("metric")
        known_version(1)(data["version"].item() if "version" in data else 1)
    except (ValueError, KeyError) as error:
        raise ModelError(f"expression basis {path} cannot be read: {error}") from None
    if tuple(map(str, arrays["arkit_names"])) != ARKIT_52:
        raise ModelError(f"expression basis {path}: arkit_names differ from the 52 ARKit names in Apple's order")
    for name, shape in _SHAPES.items():
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            got = arrays[name].shape
            raise ModelError(f"expression basis {path}: {name} must be finite with shape {shape}, got {got}")
    matrix = np.concatenate([arrays[n] for n in _SHAPES if n != "weights"]).astype(np.float64)
    if metric is not None and (metric.shape != (ROWS, ROWS) or not np.isfinite(metric).all()):
        raise ModelError(
            f"expression basis {path}: metric must be finite with shape {(ROWS, ROWS)}, got {metric.shape}"
        )
    both = None if metric is None else metric.astype(np.float64)
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    return Basis(str(arrays["basis"]), int(arrays["rank"]), matrix, arrays["weights"].astype(np.float64), both, hashes)


@cache
def open_basis() -> Basis:
    """The packaged basis ``open-ict-1``."""
    return load_basis(share_dir() / "models" / OPEN_BASIS_FILE)


@cache
def find_basis(name: str) -> Basis:
    """The basis a message names: ``open-ict-1`` from the package, a FLAME map from the model store.

    Raises:
        ModelError: not on this machine, or damaged; names the command that makes it.
    """
    from emo_face.runtime.store import open_store

    if name == OPEN_BASIS:
        return open_basis()
    store = open_store()
    entry = f"{name}-arkit"
    if entry not in store.entries:
        raise ModelError(f"expression basis {name!r} is not on this machine; make it by: emo-face flame import")
    return load_basis(store.resolve(entry).path)
