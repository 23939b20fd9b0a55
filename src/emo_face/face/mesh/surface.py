"""Triangle surfaces: areas, normals, nearest points, and the best similarity between two point sets."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import FloatArray

NEIGHBOURS = 12


@dataclass(frozen=True, slots=True)
class Similarity:
    """x -> scale * rotation @ x + translation."""

    scale: float
    rotation: FloatArray
    translation: FloatArray

    def points(self, points: FloatArray) -> FloatArray:
        """Move points (n, 3)."""
        return np.asarray(self.scale * points @ self.rotation.T + self.translation)

    def vectors(self, vectors: FloatArray) -> FloatArray:
        """Turn and scale offsets (..., 3)."""
        return np.asarray(self.scale * vectors @ self.rotation.T)


def fit_similarity(source: FloatArray, target: FloatArray, weights: FloatArray | None = None) -> Similarity:
    """The similarity that brings source (n, 3) nearest to target (n, 3) in the weighted least-squares sense.

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 13, 1991.

    Raises:
        ValueError: fewer than three points.
    """
    if len(source) < 3:
        raise ValueError(f"{len(source)} points do not determine a similarity; 3 are needed")
    w = np.ones(len(source)) if weights is None else np.asarray(weights, dtype=np.float64)
    w = w / w.sum()
    a, b = source - w @ source, target - w @ target
    u, s, vt = np.linalg.svd((w[:, None] * b).T @ a)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(signs) @ vt
    scale = float((s * signs).sum() / (w @ (a**2).sum(1)))
    return Similarity(scale, rotation, w @ target - scale * rotation @ (w @ source))


def triangulate(quads: NDArray[np.integer]) -> NDArray[np.int64]:
    """(2 q, 3) triangles of quads (q, 4)."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int64)


def vertex_normals(vertices: FloatArray, triangles: NDArray[np.integer]) -> FloatArray:
    """(n, 3) unit normals; zero if no triangle meets a vertex."""
    corners = vertices[triangles]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], flat)
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-15))


def vertex_areas(vertices: FloatArray, triangles: NDArray[np.integer]) -> FloatArray:
    """(n,) area that each vertex stands for."""
    corners = vertices[triangles]
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    result = np.zeros(len(vertices))
    for corner in range(3):
        np.add.at(result, triangles[:, corner], area / 3)
    return result


@dataclass(frozen=True, slots=True)
class Nearest:
    """Nearest points of a surface: ``triangle`` (n,), ``barycentric`` (n, 3), ``point`` (n, 3), ``distance`` (n,)."""

    triangle: NDArray[np.int64]
    barycentric: FloatArray
    point: FloatArray
    distance: FloatArray


def nearest_on_surface(
    queries: FloatArray, vertices: FloatArray, triangles: NDArray[np.integer], normals: FloatArray | None = None
) -> Nearest:
    """Nearest point of the surface to each query (n, 3), exact among the triangles around the nearest centres.

    Args:
        normals: (n, 3) unit normals of the queries; triangles that face away from a query's normal by more than
            about 70 degrees are not considered, so that an upper lip is not matched to a lower one.
    """
    from scipy.spatial import cKDTree  # 36 MB, which the face driver, who needs the normals only, saves

    corners = vertices[triangles]
    tree = cKDTree(corners.mean(axis=1))
    _, candidates = tree.query(queries, k=min(NEIGHBOURS, len(triangles)))
    candidates = candidates.reshape(len(queries), -1)
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-15)
    best = np.full(len(queries), np.inf)
    chosen = np.zeros(len(queries), dtype=np.int64)
    coordinates = np.zeros((len(queries), 3))
    for column in candidates.T:
        bary = _closest_barycentric(queries, corners[column])
        points = np.einsum("nk,nkd->nd", bary, corners[column])
        distance = np.linalg.norm(points - queries, axis=1)
        if normals is not None:
            distance[np.einsum("nd,nd->n", facing[column], normals) < 0.35] = np.inf
        better = distance < best
        best[better], chosen[better], coordinates[better] = distance[better], column[better], bary[better]
    return Nearest(chosen, coordinates, np.einsum("nk,nkd->nd", coordinates, corners[chosen]), best)


def _closest_barycentric(points: FloatArray, corners: FloatArray) -> FloatArray:
    """(n, 3) barycentric coordinates of the point of each triangle (n, 3, 3) that is nearest to each point (n, 3).

    Inside the triangle by projection, else the best point of its three edges.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, ac, ap = b - a, c - a, points - a

    def dot(u: FloatArray, v: FloatArray) -> FloatArray:
        return np.asarray(np.einsum("nd,nd->n", u, v))

    d00, d01, d11, d20, d21 = dot(ab, ab), dot(ab, ac), dot(ac, ac), dot(ap, ab), dot(ap, ac)
    determinant = np.maximum(d00 * d11 - d01 * d01, 1e-30)
    v, w = (d11 * d20 - d01 * d21) / determinant, (d00 * d21 - d01 * d20) / determinant
    result = np.stack([1 - v - w, v, w], axis=1)
    outside = result.min(axis=1) < 0
    best = np.full(len(points), np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        start, edge = corners[:, i], corners[:, j] - corners[:, i]
        t = np.clip(dot(points - start, edge) / np.maximum(dot(edge, edge), 1e-30), 0.0, 1.0)
        distance = np.linalg.norm(start + t[:, None] * edge - points, axis=1)
        better = outside & (distance < best)
        best[better] = distance[better]
        result[better] = 0.0
        result[better, i], result[better, j] = 1 - t[better], t[better]
    return result
