"""How a rendered head looks: identity, surface, light, pose and background, drawn from a seeded generator.

All positions are in centimetres of the resting ICT head: x to the face's left, y up, z out of the face.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from emo_face.core.types import FloatArray

WARPS = 10


@dataclass(frozen=True)
class RenderLook:
    """Everything about one picture except the expression.

    Attributes:
        rotation: (3, 3), head to camera. shift: (2,) share of the picture. field_cm: width of the view at the face, cm.
        warp_scale: (3,). warp_centres: (w, 3) cm, x >= 0, mirrored. warp_offsets: (w, 3) cm. warp_radii: (w,) cm.
        skin, brow, lip, hair, iris, sclera: albedo in [0, 1]. beard, stubble_line: strength in [0, 1] and top edge
            y, cm.
        brow_width, brow_shift: cm. hairline: y in cm above which there is hair. hair_lift: cm. glasses: grey, 0 = none.
        lights: (l, 4) direction towards the light and strength. ambient, shine, gamma: of the shading.
        exposure: grey of the median front vertex, in [0, 1].
        background: (size, size) float grey 0..255.
        photo: (n, 2) grey and weight of a photographed skin on each vertex, or None.
    """

    rotation: FloatArray
    shift: tuple[float, float]
    field_cm: float
    warp_scale: FloatArray
    warp_centres: FloatArray
    warp_offsets: FloatArray
    warp_radii: FloatArray
    skin: float
    brow: float
    lip: float
    hair: float
    iris: float
    sclera: float
    beard: float
    stubble_line: float
    brow_width: float
    brow_shift: float
    hairline: float
    hair_lift: float
    glasses: float
    lights: FloatArray
    ambient: float
    shine: float
    exposure: float
    gamma: float
    background: FloatArray
    photo: FloatArray | None = None

    def warp(self, rest: FloatArray) -> FloatArray:
        """(n, 3) resting vertices of another, left-right symmetric identity."""
        mirrored = np.array([1.0, 1.0, 1.0]), np.array([-1.0, 1.0, 1.0])
        centres = np.concatenate([self.warp_centres * side for side in mirrored]).astype(np.float32)
        offsets = np.concatenate([self.warp_offsets * side for side in mirrored]).astype(np.float32)
        scale = (0.5 / np.tile(self.warp_radii, 2) ** 2).astype(np.float32)
        square = (rest**2).sum(1)[:, None] - 2 * rest @ centres.T + (centres**2).sum(1)
        near = np.exp(-np.maximum(square, 0) * scale)
        return np.asarray(rest * self.warp_scale.astype(np.float32) + near @ offsets, dtype=np.float32)

    def shade(self, normals: FloatArray, albedo: FloatArray) -> FloatArray:
        """Grey 0..255 of each vertex: Lambert terms, ambient light and a highlight (Phong, 1975)."""
        light = np.full(len(normals), self.ambient, np.float32)
        gloss = np.zeros(len(normals), np.float32)
        for x, y, z, strength in self.lights:
            direction = np.array([x, y, z])
            light += strength * np.maximum(normals @ direction, 0)
            half = direction + np.array([0.0, 0.0, 1.0])
            gloss += strength * np.maximum(normals @ (half / np.linalg.norm(half)), 0) ** 24
        grey = (albedo * light + self.shine * gloss) ** self.gamma
        front = grey[normals[:, 2] > 0.3]
        typical = float(np.median(front)) if len(front) else 1.0
        return np.clip(255.0 * self.exposure * grey / max(typical, 1e-3), 0, 255).astype(np.float32)


def random_look(rng: np.random.Generator, size: int) -> RenderLook:
    """Draw a look. ``size``: side of the picture in pixels."""
    yaw, pitch, roll = _pose(rng)
    skin = float(rng.uniform(0.25, 0.95))
    dark = float(rng.uniform(0.03, 0.5)) * min(1.0, skin + 0.2)
    return RenderLook(
        rotation=Rotation.from_euler("yxz", [yaw, -pitch, roll]).as_matrix(),
        shift=(float(rng.normal(0, 0.02)), float(rng.normal(0, 0.02))),
        field_cm=float(rng.uniform(21, 27)),
        warp_scale=rng.normal(1.0, [0.06, 0.06, 0.08]),
        warp_centres=_anchors(rng),
        warp_offsets=rng.normal(0, 0.32, (WARPS, 3)),
        warp_radii=rng.uniform(1.0, 3.5, WARPS),
        skin=skin,
        brow=dark,
        lip=skin * float(rng.uniform(0.5, 0.95)),
        iris=float(rng.uniform(0.05, 0.5)),
        hair=float(rng.choice([dark, rng.uniform(0.02, 0.9)])),
        sclera=float(rng.uniform(0.7, 1.0)),
        beard=float(rng.uniform(0.2, 0.9)) if rng.random() < 0.25 else 0.0,
        stubble_line=float(rng.uniform(-4.5, -0.5)),
        brow_width=float(rng.uniform(0.25, 0.75)),
        brow_shift=float(rng.normal(-0.1, 0.2)),
        hairline=float(rng.uniform(7.5, 12.5)),
        hair_lift=float(rng.uniform(0.0, 1.6)),
        glasses=float(rng.uniform(5, 90)) if rng.random() < 0.2 else 0.0,
        lights=_lights(rng),
        ambient=float(rng.uniform(0.15, 0.7)),
        shine=float(rng.uniform(0, 0.25)),
        exposure=float(rng.uniform(0.12, 0.8)),
        gamma=float(rng.uniform(0.55, 1.1)),
        background=_background(rng, size),
    )


def _pose(rng: np.random.Generator) -> tuple[float, float, float]:
    """Yaw, pitch (up +), roll in rad: mostly frontal, a third turned or tilted far."""
    if rng.random() < 0.35:
        if rng.random() < 0.6:
            yaw, pitch = rng.choice([-1, 1]) * rng.uniform(0.4, 1.15), rng.normal(0, 0.15)
        else:
            yaw, pitch = rng.normal(0, 0.15), rng.uniform(-0.5, 0.85)
    else:
        yaw, pitch = rng.normal(0, 0.2), rng.normal(0, 0.15)
    return float(yaw), float(pitch), float(rng.normal(0, 0.1))


def _anchors(rng: np.random.Generator) -> FloatArray:
    return np.column_stack([rng.uniform(0, 8, WARPS), rng.uniform(-8, 9, WARPS), rng.uniform(6, 12, WARPS)])


def _lights(rng: np.random.Generator) -> FloatArray:
    rows = []
    for _ in range(int(rng.integers(1, 4))):
        azimuth, height = rng.uniform(-1.6, 1.6), rng.uniform(-0.5, 1.3)
        direction = [np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)]
        rows.append([*direction, rng.uniform(0.2, 0.9)])
    return np.array(rows)


def _background(rng: np.random.Generator, size: int) -> FloatArray:
    """(size, size) grey 0..255: smooth noise."""
    grid = int(rng.integers(2, 10))
    noise = rng.uniform(0, 255, (grid, grid)).astype(np.float32)
    smooth = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    contrast = rng.uniform(0, 1)
    return np.asarray(np.clip(rng.uniform(10, 245) * (1 - contrast) + smooth * contrast, 0, 255).astype(np.float32))
