"""FLAME, the head model: loads the user's own file and poses it in NumPy.

The model is not part of this package (registration at https://flame.is.tue.mpg.de; FLAME 2023 Open is CC-BY-4.0).
Source: Li, Bolkart, Black, Li & Romero, "Learning a model of facial shape and expression from 4D scans", SIGGRAPH
Asia 2017, equations 1 to 5; skinning: Loper et al., "SMPL", SIGGRAPH Asia 2015, equations 2 to 10.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import ModelError
from emo_face.core.types import FloatArray
from emo_face.face.flame.pickle import array_of, load_flame_pickle
from emo_face.runtime.arrays import read_npz

SHAPES, EXPRESSIONS = 300, 100
VERSIONS = ("flame2020", "flame2023", "flame2023_open")
_VERTICES = 5023
_NAMES = {
    "generic_model": "flame2020",
    "flame2020": "flame2020",
    "flame2023_open": "flame2023_open",
    "flame2023_no_jaw": "flame2023",
    "flame2023": "flame2023",
}


@dataclass(frozen=True, slots=True)
class FlamePose:
    """Joint rotations, axis-angle in rad, (3,) each. Jaw: +x opens, +y turns the chin to the face's left."""

    root: FloatArray = field(default_factory=lambda: np.zeros(3))
    neck: FloatArray = field(default_factory=lambda: np.zeros(3))
    jaw: FloatArray = field(default_factory=lambda: np.zeros(3))
    left_eye: FloatArray = field(default_factory=lambda: np.zeros(3))
    right_eye: FloatArray = field(default_factory=lambda: np.zeros(3))

    def stacked(self) -> FloatArray:
        """(5, 3) in FLAME's order: root (its "global"), neck, jaw, left eye, right eye."""
        return np.stack([np.asarray(a, float) for a in (self.root, self.neck, self.jaw, self.left_eye, self.right_eye)])


@dataclass(frozen=True)
class FlameModel:
    """A FLAME model; metres, y up, z out of the face, x to the face's left.

    Attributes:
        version: ``flame2020``, ``flame2023`` or ``flame2023_open``.
        template: (v, 3). faces: (f, 3). directions: (v, 3, 400), shape 300 then expression 100.
        pose_directions: (v, 3, 36). regressor: (5, v). weights: (v, 5), rows sum to 1. parents: (5,), root -1.
        eyelids: (2, v, 3) offsets of a closed left and right lid, or None; not part of FLAME's file.
    """

    version: str
    template: FloatArray
    faces: NDArray[np.int32]
    directions: FloatArray
    pose_directions: FloatArray
    regressor: FloatArray
    weights: FloatArray
    parents: tuple[int, ...]
    eyelids: FloatArray | None = None

    @property
    def expression_directions(self) -> FloatArray:
        """(v, 3, 100)."""
        return self.directions[:, :, SHAPES:]

    def shaped(
        self, shape: FloatArray | None = None, expression: FloatArray | None = None, eyelids: FloatArray | None = None
    ) -> FloatArray:
        """(v, 3) vertices before posing.

        Args:
            shape: up to 300 coefficients. expression: up to 100. eyelids: (2,) left, right in [0, 1].

        Raises:
            ValueError: too many coefficients, a value that is not finite, or eyelids without eyelid shapes.
        """
        coefficients = np.zeros(SHAPES + EXPRESSIONS)
        for values, start, limit, name in (
            (shape, 0, SHAPES, "shape"),
            (expression, SHAPES, EXPRESSIONS, "expression"),
        ):
            if values is not None:
                array = np.asarray(values, dtype=np.float64)
                if array.ndim != 1 or len(array) > limit or not np.isfinite(array).all():
                    raise ValueError(f"{name}: expected at most {limit} finite coefficients, got shape {array.shape}")
                coefficients[start : start + len(array)] = array
        vertices: FloatArray = self.template + self.directions @ coefficients
        if eyelids is not None and np.any(eyelids):
            if self.eyelids is None:
                raise ValueError(f"{self.version} has no eyelid shapes; run: emo-face flame import")
            vertices = vertices + np.tensordot(np.asarray(eyelids, dtype=np.float64), self.eyelids, axes=1)
        return vertices

    def joints(self, vertices: FloatArray) -> FloatArray:
        """(5, 3) joint positions of unposed vertices (v, 3)."""
        return np.asarray(self.regressor @ vertices)

    def forward(
        self,
        shape: FloatArray | None = None,
        expression: FloatArray | None = None,
        pose: FlamePose | None = None,
        eyelids: FloatArray | None = None,
    ) -> FloatArray:
        """(v, 3) vertices in metres of the posed head; arguments as :meth:`shaped`."""
        vertices = self.shaped(shape, expression, eyelids)
        if pose is None:
            return vertices
        rotations = np.stack([rotation_matrix(axis) for axis in pose.stacked()])
        posed = vertices + self.pose_directions @ (rotations[1:] - np.eye(3)).ravel()
        blended = np.tensordot(self.weights, self._transforms(rotations, self.joints(vertices)), axes=1)
        return np.asarray(np.einsum("vij,vj->vi", blended[:, :, :3], posed) + blended[:, :, 3])

    def _transforms(self, rotations: FloatArray, joints: FloatArray) -> FloatArray:
        """(5, 3, 4) movement of each joint's frame from rest, down the kinematic chain."""
        world_rotation = [rotations[0]]
        world_position = [joints[0]]
        for i, parent in enumerate(self.parents[1:], start=1):
            world_rotation.append(world_rotation[parent] @ rotations[i])
            world_position.append(world_position[parent] + world_rotation[parent] @ (joints[i] - joints[parent]))
        result = np.zeros((len(joints), 3, 4))
        for i, rest in enumerate(joints):
            result[i, :, :3] = world_rotation[i]
            result[i, :, 3] = world_position[i] - world_rotation[i] @ rest
        return result


def rotation_matrix(axis_angle: FloatArray) -> FloatArray:
    """(3, 3) rotation of an axis-angle vector (3,) in rad (Rodrigues' formula), exact at zero.

    Raises:
        ValueError: wrong shape, or not finite.
    """
    vector = np.asarray(axis_angle, dtype=np.float64)
    if vector.shape != (3,) or not np.isfinite(vector).all():
        raise ValueError(f"axis-angle must be 3 finite numbers, got shape {vector.shape}")
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    half = np.sinc(angle / (2 * np.pi))  # sin(a/2) / (a/2), so that (1 - cos a) / a^2 = half^2 / 2 keeps its digits
    return np.asarray(np.eye(3) + np.sinc(angle / np.pi) * skew + half**2 / 2 * (skew @ skew))


def load_flame(path: Path, version: str | None = None) -> FlameModel:
    """Load FLAME from the user's ``.pkl`` (as downloaded) or ``.npz``; nothing in the file is run.

    Args:
        version: one of :data:`VERSIONS`; taken from the official file names if omitted.

    Raises:
        ModelError: missing, damaged, hostile, of another layout, or the version is unknown.
    """
    version = version or guess_version(path)
    if version not in VERSIONS:
        raise ModelError(f"{path}: unknown version {version!r}, expected one of {', '.join(VERSIONS)}")
    fields = _read_npz(path) if path.suffix == ".npz" else load_flame_pickle(path)
    get = {n: array_of(fields, n, str(path)) for n in ("v_template", "shapedirs", "posedirs", "weights", "J_regressor")}
    faces, tree = array_of(fields, "f", str(path)), array_of(fields, "kintree_table", str(path))
    count = len(get["v_template"])
    expected = {
        "v_template": (count, 3),
        "shapedirs": (count, 3, SHAPES + EXPRESSIONS),
        "posedirs": (count, 3, 36),
        "weights": (count, 5),
        "J_regressor": (5, count),
    }
    for name, shape in expected.items():
        if get[name].shape != shape or not np.isfinite(get[name].astype(np.float64)).all():
            raise ModelError(f"{path}: {name} must be finite with shape {shape}, got {get[name].shape}; is this FLAME?")
    if count != _VERTICES and version != "flame2023_open":
        raise ModelError(f"{path}: {count} vertices, expected {_VERTICES} for {version}")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.min(initial=0) < 0 or faces.max(initial=0) >= count:
        raise ModelError(f"{path}: f must be (n, 3) vertex indices below {count}, got shape {faces.shape}")
    return FlameModel(
        version,
        get["v_template"].astype(np.float64),
        faces.astype(np.int32),
        get["shapedirs"].astype(np.float64),
        get["posedirs"].astype(np.float64),
        get["J_regressor"].astype(np.float64),
        get["weights"].astype(np.float64),
        _parents(tree, path),
    )


def guess_version(path: Path) -> str:
    """The version by the official file name. Raises ModelError that asks for ``--version``."""
    try:
        return _NAMES[path.stem.lower()]
    except KeyError:
        known = ", ".join(VERSIONS)
        raise ModelError(
            f"{path}: the file name does not tell the FLAME version; pass --version, one of {known}"
        ) from None


def _parents(tree: NDArray[np.generic], path: Path) -> tuple[int, ...]:
    """Parents of the five joints from ``kintree_table``, whose root is an unsigned -1."""
    if tree.shape != (2, 5):
        raise ModelError(f"{path}: kintree_table must have shape (2, 5), got {tree.shape}")
    parents = tuple(int(p) for p in tree[0])
    if any(not 0 <= parent < i for i, parent in enumerate(parents) if i > 0):
        raise ModelError(f"{path}: kintree_table: every joint needs an earlier parent, got {parents}")
    return (-1, *parents[1:])


def _read_npz(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError(f"{path} not found")
    return dict(read_npz(path))
