"""Skins for the rendered head from neutral frontal photos: real brows, lips, hairlines and pores on exact geometry.

Facial points on a photo and the same points on a frontal picture of the head give a thin-plate warp (Bookstein, 1989)
from the head's front view to the photo; every vertex that faces the front takes the grey it lands on.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from emo_face.core.types import FloatArray, UInt8Array
from emo_face.datasets.renders.draw import HeadRenderer

EVERY = 3  # of the facial points, which are denser than the warp needs
REACH_CM = 3.0  # how far beyond the outermost facial point the photo is believed
DETAIL = 2.2


@dataclass(frozen=True)
class Skin:
    """Grey of each vertex.

    Attributes:
        albedo: (n,) in [0, 1].
        weight: (n,) in [0, 1], belief in the albedo.
    """

    albedo: FloatArray
    weight: FloatArray


def front_plane(renderer: HeadRenderer) -> FloatArray:
    """(n, 2) frontal orthographic position of each vertex in cm, y down."""
    return np.asarray(renderer.rest[:, :2] * np.array([1.0, -1.0]))


def make_skin(
    renderer: HeadRenderer,
    head_points: FloatArray,
    photo: UInt8Array,
    photo_points: FloatArray,
) -> Skin:
    """Project a photo onto the head.

    Args:
        head_points: (k, 2) facial points on the front plane, cm. photo: grey. photo_points: (k, 2) the same in pixels.
    """
    plane = front_plane(renderer)
    warp = RBFInterpolator(head_points[::EVERY], photo_points[::EVERY], kernel="thin_plate_spline", smoothing=1.0)
    pixel = warp(plane).astype(np.float32)
    spread = float(np.ptp(photo_points[:, 0])) / float(np.ptp(head_points[:, 0]))
    soft = cv2.GaussianBlur(photo, (0, 0), max(0.3, spread * 0.35 / DETAIL))
    grey = cv2.remap(soft, pixel[:, None, 0], pixel[:, None, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[
        :, 0
    ]
    front = renderer.normals(renderer.rest)[:, 2]
    low, high = head_points.min(axis=0), head_points.max(axis=0)
    outside = np.maximum(np.maximum(low - plane, plane - high), 0).max(axis=1)
    weight = np.clip((front - 0.05) / 0.4, 0, 1) * np.clip(1 - outside / REACH_CM, 0, 1)
    face = renderer.vertex_material == renderer.materials.index("M_Face")
    return Skin((grey / 255.0).astype(np.float32), (weight * face).astype(np.float32))
