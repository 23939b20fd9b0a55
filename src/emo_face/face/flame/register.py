"""Bring the ICT-FaceKit head and a FLAME model onto each other, and carry expression offsets across."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import ModelError
from emo_face.core.types import FloatArray
from emo_face.face.expressions.ict import IctHead
from emo_face.face.flame.model import SHAPES, FlameModel
from emo_face.face.flame.pickle import array_of, load_flame_pickle, parse_flame_pickle
from emo_face.face.mesh.surface import (
    Nearest,
    Similarity,
    fit_similarity,
    nearest_on_surface,
    triangulate,
    vertex_normals,
)

ROUNDS = 8
FAR_M, NEAR_M = 0.03, 0.004
"""Matches farther apart than this are not used, in the first and in the last round."""
SHAPE_RIDGE_M = 5e-4
"""m: one standard deviation of a shape coefficient may cost this much error at a vertex."""
LANDMARK_WEIGHT = 20.0
SHAPE_POINTS = 1500
_EYES = 0.5
INNER_LANDMARKS = slice(17, 68)
"""Of the 68: brows, nose, eyes and mouth; the jaw line is not a fixed point of the skin."""


@dataclass(frozen=True)
class Landmarks:
    """Points on FLAME's surface: triangle (n,) and barycentric coordinates (n, 3); n is 51."""

    triangle: NDArray[np.int64]
    barycentric: FloatArray

    def points(self, vertices: FloatArray, faces: NDArray[np.integer]) -> FloatArray:
        """(n, 3) positions."""
        return np.asarray(np.einsum("nk,nkd->nd", self.barycentric, vertices[faces[self.triangle]]))


@dataclass(frozen=True)
class Registration:
    """How the two heads lie on each other.

    Attributes:
        similarity: ICT centimetres to FLAME metres.
        shape: (300,) identity of FLAME that looks like the ICT head.
        matched: (m,) FLAME vertices that have a counterpart. triangles: (t, 3) of the ICT skin.
        triangle, barycentric: (m,), (m, 3) the counterparts. distance: (m,) m, what is left between them.
    """

    similarity: Similarity
    shape: FloatArray
    matched: NDArray[np.int64]
    triangles: NDArray[np.int64]
    triangle: NDArray[np.int64]
    barycentric: FloatArray
    distance: FloatArray

    def carry(self, offsets: FloatArray) -> FloatArray:
        """(m, 3) m: offsets (n, 3) in cm of the ICT vertices, on the matched FLAME vertices."""
        on_skin = np.einsum("mk,mkd->md", self.barycentric, offsets[self.triangles[self.triangle]])
        return self.similarity.vectors(np.asarray(on_skin))


def read_landmarks(path: Path) -> Landmarks:
    """Read a landmark embedding: ``landmark_embedding.npy`` (68 or 51 points) or ``flame_static_embedding.pkl`` (51).

    Both are pickles and are opened by the allow-list unpickler.

    Raises:
        ModelError: missing, hostile, or without the fields of either format.
    """
    fields = _npy_fields(path) if path.suffix == ".npy" else load_flame_pickle(path)
    for triangle, barycentric in (
        ("full_lmk_faces_idx", "full_lmk_bary_coords"),
        ("lmk_face_idx", "lmk_b_coords"),
        ("static_lmk_faces_idx", "static_lmk_bary_coords"),
    ):
        if triangle in fields and barycentric in fields:
            places = array_of(fields, triangle, str(path)).astype(np.int64).ravel()
            coordinates = array_of(fields, barycentric, str(path)).astype(np.float64).reshape(-1, 3)
            if len(places) == 68 and len(coordinates) == 68:
                places, coordinates = places[INNER_LANDMARKS], coordinates[INNER_LANDMARKS]
            if len(places) == len(coordinates) == 51:
                return Landmarks(places, coordinates)
    raise ModelError(f"{path}: no embedding of 51 or 68 landmarks; it has {', '.join(sorted(fields)[:8])}")


def _npy_fields(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise ModelError(f"{path} not found")
    stream = io.BytesIO(path.read_bytes())
    try:
        version = np.lib.format.read_magic(stream)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        reader(stream)
    except ValueError as error:
        raise ModelError(f"{path} is no npy file: {error}") from None
    return dict(parse_flame_pickle(stream.read(), str(path)))


def register(
    flame: FlameModel,
    head: IctHead,
    ict_landmarks: NDArray[np.int64],
    landmarks: Landmarks | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Registration:
    """Fit FLAME's identity and a similarity so that both neutral heads coincide.

    Starts from the landmarks or, without them, from the centres of the eyes and the common axes; then alternates
    nearest points with a regularised fit of the 300 shape coefficients.

    Args:
        ict_landmarks: (68,) vertex indices of the ICT head.
        progress: told after each of :data:`ROUNDS` rounds.

    Raises:
        ModelError: fewer than 500 vertices find a counterpart: the files do not show two heads in the same pose.
    """
    skin = np.isin(head.quad_material, [head.materials.index(m) for m in ("M_Face", "M_BackHead")])
    triangles = triangulate(head.quads[skin])
    usable = np.flatnonzero(flame.weights[:, 3:].max(axis=1) < _EYES)
    fixed = head.vertices[ict_landmarks[INNER_LANDMARKS]]
    similarity = _start(flame, head, fixed, landmarks)
    shape: FloatArray = np.zeros(SHAPES)
    for done, limit in enumerate(np.geomspace(FAR_M, NEAR_M, ROUNDS), start=1):
        vertices = flame.shaped(shape)
        matched, near = _match(vertices, flame, usable, similarity.points(head.vertices), triangles, float(limit))
        if len(matched) < 500:
            raise ModelError(
                f"only {len(matched)} of {len(usable)} vertices of {flame.version} lie near the ICT head; "
                "pass --landmarks, or check that both files are whole heads"
            )
        sources = np.einsum("mk,mkd->md", near.barycentric, head.vertices[triangles[near.triangle]])
        targets: FloatArray = vertices[matched]
        weights: FloatArray = np.ones(len(matched))
        if landmarks is not None:
            sources = np.concatenate([sources, fixed])
            targets = np.concatenate([targets, landmarks.points(vertices, flame.faces)])
            weights = np.concatenate([weights, np.full(len(fixed), LANDMARK_WEIGHT)])
        similarity = fit_similarity(np.asarray(sources), targets, weights)
        shape = _fit_shape(flame, matched, similarity.points(np.asarray(sources)), landmarks, weights)
        progress(done)
    vertices = flame.shaped(shape)
    matched, near = _match(vertices, flame, usable, similarity.points(head.vertices), triangles, NEAR_M)
    return Registration(similarity, shape, matched, triangles, near.triangle, near.barycentric, near.distance)


def _start(flame: FlameModel, head: IctHead, fixed: FloatArray, landmarks: Landmarks | None) -> Similarity:
    if landmarks is not None:
        return fit_similarity(fixed, landmarks.points(flame.template, flame.faces))
    left, right = flame.joints(flame.template)[3:5]
    ours = [head.vertices[head.material_vertices(f"M_Sclera{side}")].mean(0) for side in ("Left", "Right")]
    scale = float(np.linalg.norm(left - right) / np.linalg.norm(ours[0] - ours[1]))
    return Similarity(scale, np.eye(3), (left + right) / 2 - scale * (ours[0] + ours[1]) / 2)


def _match(
    vertices: FloatArray,
    flame: FlameModel,
    usable: NDArray[np.int64],
    surface: FloatArray,
    triangles: NDArray[np.int64],
    limit: float,
) -> tuple[NDArray[np.int64], Nearest]:
    """FLAME vertices with a point of the ICT skin within ``limit`` m that faces the same way, and those points."""
    normals = vertex_normals(vertices, flame.faces)
    near = nearest_on_surface(vertices[usable], surface, triangles, normals[usable])
    close = near.distance < limit
    return usable[close], Nearest(
        near.triangle[close], near.barycentric[close], near.point[close], near.distance[close]
    )


def _fit_shape(
    flame: FlameModel, matched: NDArray[np.int64], targets: FloatArray, landmarks: Landmarks | None, weights: FloatArray
) -> FloatArray:
    """(300,) shape whose vertices (and landmarks, behind them in ``targets``) come nearest to the targets."""
    directions, rest = flame.directions[matched, :, :SHAPES], flame.template[matched]
    if landmarks is not None:
        corners = flame.faces[landmarks.triangle]
        on_marks = np.einsum("nk,nkds->nds", landmarks.barycentric, flame.directions[corners][..., :SHAPES])
        directions = np.concatenate([directions, on_marks])
        rest = np.concatenate([rest, landmarks.points(flame.template, flame.faces)])
    kept = np.arange(len(rest)) % max(1, len(matched) // SHAPE_POINTS) == 0  # smooth directions need no more points
    kept[len(matched) :] = True
    directions, rest, targets, weights = directions[kept], rest[kept], targets[kept], weights[kept]
    root = np.sqrt(weights)[:, None]
    a = (root[:, :, None] * directions).reshape(-1, SHAPES)
    b = (root * (targets - rest)).ravel()
    ridge = len(rest) * SHAPE_RIDGE_M**2 / 100
    return np.asarray(np.linalg.solve(a.T @ a + ridge * np.eye(SHAPES), a.T @ b))
