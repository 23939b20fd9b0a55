"""A small software renderer for head meshes: shaded polygons drawn far to near."""

import cv2
import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import FloatArray, ImageArray

SKIN = (150, 176, 218)
BACKGROUND = (40, 40, 40)
_SHIFT = 4


def render_mesh(
    vertices: FloatArray,
    faces: NDArray[np.integer],
    size: tuple[int, int] = (640, 640),
    colors: NDArray[np.uint8] | None = None,
    frame: FloatArray | None = None,
) -> ImageArray:
    """Draw a mesh seen from the front (camera on +z, y up, +x to the right) with orthographic projection.

    Args:
        vertices: (n, 3). faces: (m, 3) or (m, 4) vertex indices, counter-clockwise from outside.
        size: width and height in pixels. colors: (m, 3) BGR a face; skin by default.
        frame: (n, 3) vertices that the view is fitted to, so that a series keeps one scale; ``vertices`` by default.

    Returns:
        height x width x 3 uint8 BGR.

    Raises:
        ValueError: a vertex is not finite.
    """
    points = np.asarray(vertices, dtype=np.float64)
    if not np.isfinite(points).all():
        raise ValueError("mesh has vertices that are not finite")
    pixels = project(points, points if frame is None else np.asarray(frame, dtype=np.float64), size)
    shade = _shading(points, faces)
    base = np.asarray(SKIN, dtype=np.uint8)[None].repeat(len(faces), 0) if colors is None else colors
    image = np.full((size[1], size[0], 3), BACKGROUND, dtype=np.uint8)
    polygons = np.round(pixels[faces] * (1 << _SHIFT)).astype(np.int32)
    for index in np.argsort(points[faces, 2].mean(axis=1), kind="stable"):
        if shade[index] > 0:
            color = tuple(float(c) for c in base[index] * shade[index])
            cv2.fillConvexPoly(image, polygons[index], color, cv2.LINE_AA, _SHIFT)
    return image


def project(points: FloatArray, frame: FloatArray, size: tuple[int, int]) -> FloatArray:
    """(n, 2) pixels of points (n, 3) seen along -z; ``frame`` fills 90 % of the picture."""
    low, high = frame[:, :2].min(0), frame[:, :2].max(0)
    scale = 0.9 * min(size[0] / max(high[0] - low[0], 1e-9), size[1] / max(high[1] - low[1], 1e-9))
    centered = (points[:, :2] - (low + high) / 2) * scale
    return np.stack([size[0] / 2 + centered[:, 0], size[1] / 2 - centered[:, 1]], axis=1)


def _shading(points: FloatArray, faces: NDArray[np.integer]) -> FloatArray:
    """(m,) brightness in [0, 1] from smooth normals under one light; 0 for faces that look away."""
    corners = points[faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    smooth = np.zeros_like(points)
    for corner in range(faces.shape[1]):
        np.add.at(smooth, faces[:, corner], flat)
    normal = smooth[faces].mean(axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    light = np.array([-0.35, 0.5, 0.8]) / np.linalg.norm([-0.35, 0.5, 0.8])
    brightness: FloatArray = np.clip(0.25 + 0.75 * np.clip(normal @ light, 0.0, 1.0), 0.0, 1.0)
    return np.where(flat[:, 2] > 0, brightness, 0.0)
