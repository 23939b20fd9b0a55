"""Draw grey faces with exactly known expressions from the ICT head, in NumPy and OpenCV alone.

Every quad of the mesh is sampled into points, shaded and written far to near; at the 60 to 160 pixels that a face
student sees this equals a rasteriser and needs no graphics library. Identity, skin, brows, hair, beard, glasses, light,
pose and background are random. How the randomness is drawn lives in :mod:`emo_face.datasets.renders.look`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from emo_face.core.arkit import ARKIT_52
from emo_face.core.types import FloatArray
from emo_face.datasets.renders.look import RenderLook
from emo_face.face.expressions.ict import load_ict

BROW_CM = np.array([[1.2, 5.9], [2.4, 6.4], [3.8, 6.3], [5.8, 5.2]])  # (|x|, y) along the left eyebrow
MOUTH_CM = (0.0, -3.5)
SKIPPED = ("M_EyeOcclusion", "M_EyeBlend", "M_LacrimalFluid")  # transparent layers over the eye
CAMERA_CM = 70.0
FAR_CM = 100.0
LEAK_CM = 0.6
LANDMARKS_CM = np.array([[-3.15, 3.4, 9.0], [3.15, 3.4, 9.0], [0.0, 0.4, 13.1], [-2.5, -3.5, 10.2], [2.5, -3.5, 10.2]])
"""Right eye, left eye, nose tip, right and left mouth corner of the resting head, in cm
(:class:`emo_face.core.types.Face`)."""


@dataclass(frozen=True)
class Render:
    """One drawn face.

    Attributes:
        image: (size, size) uint8 grey. mask: (size, size) bool, True on the head.
        landmarks: (5, 2) pixels in the order of :class:`emo_face.core.types.Face`.
        arkit: (52,) activations in [0, 1], exact.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    landmarks: FloatArray
    arkit: FloatArray


class HeadRenderer:
    """Draws the ICT head; one instance is reused for all pictures."""

    def __init__(self, folder: Path, size: int = 128, without: Sequence[str] = SKIPPED) -> None:
        """Load the head.

        Args:
            folder: holds ``ict_facekit_light_expressions.npz``.
            size: side of the square picture in pixels.
            without: materials that are not drawn.

        Raises:
            ModelError: the head file is missing or damaged.
        """
        head = load_ict(folder)
        keep = ~np.isin(head.quad_material, [head.materials.index(name) for name in without])
        self.size = size
        self.rest = head.vertices.astype(np.float32)
        self.quads = head.quads[keep]
        self.material = head.quad_material[keep]
        self.materials = head.materials
        self.vertex_material = np.zeros(len(self.rest), np.uint8)
        self.vertex_material[self.quads] = self.material[:, None]
        self._deltas = np.stack([head.arkit_delta(name) for name in ARKIT_52]).astype(np.float32).reshape(52, -1)
        self._landmark_vertices = np.array(
            [np.argmin(((self.rest - point) ** 2).sum(axis=1)) for point in LANDMARKS_CM]
        )
        self._rest_side = np.linalg.norm(self.rest[self.quads[:, 2]] - self.rest[self.quads[:, 0]], axis=1)
        self._classes = self._density_classes(size)

    def render(self, arkit: FloatArray, look: RenderLook, rng: np.random.Generator) -> Render:
        """Draw one face.

        Args:
            arkit: (52,) activations in [0, 1].
            look: identity, surface, light, pose and background.
            rng: grain of hair and skin.
        """
        posed = look.warp(self.rest) + (np.asarray(arkit, np.float32) @ self._deltas).reshape(-1, 3)
        turned = (posed @ look.rotation.T).astype(np.float32)
        albedo, lift = paint(self, look, rng)
        normals = self.normals(turned)
        turned = np.asarray(turned + normals * lift[:, None], dtype=np.float32)
        shade = look.shade(normals, albedo)
        xy, depth = self._project(turned, look)
        image, mask = self._splat(xy, depth, shade)
        if look.glasses > 0:
            self._draw_glasses(image, xy, look)
        image = np.where(mask, image, look.background)
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.6), dtype=np.float32)
        landmarks = xy[self._landmark_vertices].astype(np.float64)
        return Render(np.clip(image, 0, 255).astype(np.uint8), mask, landmarks, np.asarray(arkit, dtype=np.float64))

    def _project(self, turned: FloatArray, look: RenderLook) -> tuple[FloatArray, FloatArray]:
        """Pixels (n, 2) and depth (n,) in cm towards the camera."""
        centre = np.array([0.0, 0.5, 4.0]) @ look.rotation.T
        relative = turned - centre
        focal = self.size / look.field_cm * CAMERA_CM
        scale = focal / (CAMERA_CM - relative[:, 2])
        middle = self.size / 2 + np.asarray(look.shift) * self.size
        xy = np.stack([middle[0] + relative[:, 0] * scale, middle[1] - relative[:, 1] * scale], axis=1)
        return xy.astype(np.float32), relative[:, 2]

    def _splat(self, xy: FloatArray, depth: FloatArray, shade: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Write all surface points, nearest last; small gaps are closed from their neighbours."""
        channels = np.column_stack([xy, depth, shade]).astype(np.float32)
        corners = xy[self.quads]
        front = _cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]) < 0
        points = []
        for weights, members in self._classes:
            chosen = members[front[members]]
            if len(chosen):
                points.append(np.einsum("pk,qkc->qpc", weights, channels[self.quads[chosen]]).reshape(-1, 4))
        every = np.concatenate(points) if points else np.zeros((0, 4), np.float32)
        pixel = np.rint(every[:, :2]).astype(np.int64)
        inside = ((pixel >= 0) & (pixel < self.size)).all(axis=1)
        every, pixel = every[inside], pixel[inside]
        order = np.argsort(every[:, 2], kind="stable")
        flat = pixel[order, 1] * self.size + pixel[order, 0]
        image = np.zeros(self.size * self.size, np.float32)
        mask = np.zeros(self.size * self.size, np.float32)
        nearest = np.full(self.size * self.size, -FAR_CM, np.float32)
        image[flat], nearest[flat], mask[flat] = every[order, 3], every[order, 2], 1
        shape = (self.size, self.size)
        return _close(*_without_leaks(image.reshape(shape), mask.reshape(shape), nearest.reshape(shape)))

    def normals(self, vertices: FloatArray) -> FloatArray:
        """(n, 3) unit normals of vertices (n, 3)."""
        corners = vertices[self.quads]
        face = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
        normals = self._incidence @ face
        return np.asarray(
            (normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)).astype(np.float32)
        )

    @cached_property
    def _incidence(self) -> sparse.csr_matrix:
        rows = self.quads.reshape(-1)
        columns = np.repeat(np.arange(len(self.quads)), 4)
        ones = np.ones(len(rows), np.float32)
        return sparse.csr_matrix((ones, (rows, columns)), shape=(len(self.rest), len(self.quads)))

    def _density_classes(self, size: int) -> list[tuple[FloatArray, NDArray[np.intp]]]:
        """Quads grouped by size, with the bilinear weights that sample each about once a pixel of a picture of
        ``size``."""
        wanted = np.clip(np.ceil(self._rest_side * size / 22.0 * 0.8), 1, 12).astype(int)
        groups = []
        for count in np.unique(wanted):
            u, v = (a.ravel() for a in np.meshgrid((np.arange(count) + 0.5) / count, (np.arange(count) + 0.5) / count))
            weights = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v], axis=1).astype(np.float32)
            groups.append((weights, np.flatnonzero(wanted == count)))
        return groups

    def _draw_glasses(self, image: FloatArray, xy: FloatArray, look: RenderLook) -> None:
        eyes = xy[self._landmark_vertices[:2]]
        span = float(np.linalg.norm(eyes[1] - eyes[0]))
        tilt = float(np.degrees(np.arctan2(eyes[1, 1] - eyes[0, 1], eyes[1, 0] - eyes[0, 0])))
        size = (span * 0.40 * max(0.3, abs(look.rotation[0, 0])), span * 0.36)
        width = max(1, round(span * 0.04))
        for eye in eyes:
            cv2.ellipse(image, ((float(eye[0]), float(eye[1])), (2 * size[0], 2 * size[1]), tilt), look.glasses, width)
        a, b = eyes + np.array([[size[0], 0], [-size[0], 0]])
        cv2.line(image, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), look.glasses, width)


def paint(renderer: HeadRenderer, look: RenderLook, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Albedo (n,) and outward lift in cm (n,) of every vertex: skin, lips, brows, hair, beard, eyes, teeth."""
    rest, material = renderer.rest, renderer.vertex_material
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    albedo = np.full(len(rest), look.skin, np.float32)
    lift = np.zeros(len(rest), np.float32)
    skin = np.isin(material, [renderer.materials.index(n) for n in ("M_Face", "M_BackHead")])
    lips = np.exp(-(((x - MOUTH_CM[0]) / 2.4) ** 4) - ((y - MOUTH_CM[1]) / 0.95) ** 4) * (z > 8)
    albedo += lips * (look.lip - look.skin)
    cheeks = np.exp(-((x - 4) ** 2 + (y + 0.5) ** 2) / 6)
    albedo *= 1 - 0.08 * cheeks
    beard = look.beard * (y < look.stubble_line) * (1 - lips) * (y > -10)
    albedo += beard * (look.hair * 0.7 - albedo) * rng.uniform(0.5, 1.0, len(rest))
    distance = _distance_to_brow(x, y - look.brow_shift)
    brow = np.exp(-((distance / look.brow_width) ** 4)) * (z > 5)
    albedo += brow * (look.brow - albedo)
    hair = skin & ((y > look.hairline - 0.06 * x**2) | ((z < 1.5) & (y > -2)))
    strands = 1 + 0.35 * rng.standard_normal(len(rest))
    albedo = np.where(hair, look.hair * np.clip(strands, 0.3, 1.8), albedo)
    lift[hair] = look.hair_lift * rng.uniform(0.6, 1.1)
    if look.photo is not None:
        grey, weight = look.photo.T
        albedo += weight * (grey - albedo)
        lift *= 1 - weight
    _paint_inside(renderer, look, albedo, rest, material)
    albedo[skin] *= 1 + 0.03 * rng.standard_normal(int(skin.sum())).astype(np.float32)
    return albedo.astype(np.float32), lift


def _paint_inside(
    renderer: HeadRenderer, look: RenderLook, albedo: FloatArray, rest: FloatArray, material: NDArray[np.uint8]
) -> None:
    """Eyes, lashes, teeth and gums, in place."""
    index = renderer.materials.index
    for side, sign in (("Left", 1.0), ("Right", -1.0)):
        for part in ("M_Sclera", "M_Iris"):
            own = material == index(part + side)
            centre_x = sign * 3.15
            radius = np.hypot(rest[own, 0] - centre_x, rest[own, 1] - 3.6)
            eye = np.where(radius < 0.28, 0.02, np.where(radius < 0.68, look.iris, look.sclera))
            albedo[own] = np.where(rest[own, 2] > 8.0, eye, look.sclera)
    albedo[material == index("M_EyeLashes")] = 0.05
    albedo[material == index("M_Teeth")] = 0.8
    albedo[material == index("M_GumsTongue")] = look.lip * 0.45


def _distance_to_brow(x: FloatArray, y: FloatArray) -> FloatArray:
    """Distance in cm to the polyline of the eyebrow."""
    best = np.full(len(x), np.inf)
    for a, b in pairwise(BROW_CM):
        along = b - a
        t = np.clip(((x - a[0]) * along[0] + (y - a[1]) * along[1]) / (along @ along), 0, 1)
        best = np.minimum(best, np.hypot(x - a[0] - t * along[0], y - a[1] - t * along[1]))
    return best


def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _without_leaks(image: FloatArray, mask: FloatArray, nearest: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Open the pixels where a surface far behind shows through a gap between points of a nearer one."""
    leak = (mask > 0) & (nearest < cv2.medianBlur(nearest, 3) - LEAK_CM)
    return np.where(leak, 0, image).astype(np.float32), np.where(leak, 0, mask).astype(np.float32)


def _close(image: FloatArray, mask: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Fill one-pixel gaps inside the head with the mean of the drawn neighbours."""
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    total = cv2.boxFilter(image * mask, -1, (3, 3), normalize=False)
    count = cv2.boxFilter(mask, -1, (3, 3), normalize=False)
    return np.where(mask > 0, image, total / np.maximum(count, 1)), closed > 0
