"""Aligned grey face crops for the face student: from five landmarks if the detector gives them, else from the
box."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import Face, FloatArray

CROP = 48
SPREAD = 2.7
"""Side of the crop over the larger of the eye distance and the eye-to-mouth distance / 1.1 (frontal faces: equal)."""
BOX_SPREAD = 1.05
"""Side of the crop over the longer side of the box, for detectors without landmarks."""
EYE_MOUTH = 1.1
MIN_SIDE = 2.0
MIN_CONTRAST = 4.0  # grey levels; below it noise would be blown up to a face


def grey(frame: NDArray[Any]) -> NDArray[np.uint8]:
    """(h, w) uint8 from grey, BGR, BGRA, 8-bit, 16-bit or float (0..1 or 0..255) pictures; NaN becomes 0.

    Raises:
        ValueError: not a picture; says the shape and type.
    """
    array = np.asarray(frame)
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ValueError(f"expected a picture (h, w) or (h, w, 1|3|4), got shape {array.shape}, {array.dtype}")
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    elif array.dtype != np.uint8:
        values = np.nan_to_num(array.astype(np.float32), nan=0.0, posinf=255.0, neginf=0.0)
        array = np.clip(values * (255.0 if values.max() <= 1.0 else 1.0), 0, 255).astype(np.uint8)
    if array.ndim == 2:
        return array
    if array.shape[2] == 1:
        return np.ascontiguousarray(array[..., 0])
    code = cv2.COLOR_BGR2GRAY if array.shape[2] == 3 else cv2.COLOR_BGRA2GRAY
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(array), code), dtype=np.uint8)


def face_frame(face: Face) -> tuple[float, float, float, float]:
    """Centre x, y and side of the square crop in pixels, and its tilt in rad; all finite if the face is usable.

    Yaw shortens the eye distance and pitch the eye-to-mouth distance, so the larger one gives the scale; both vote
    for the tilt by their length.
    """
    points = None if face.landmarks is None else np.asarray(face.landmarks, dtype=np.float64)
    if points is None or points.shape != (5, 2) or not np.isfinite(points).all():
        x, y = face.box.center
        return x, y, BOX_SPREAD * max(face.box.width, face.box.height), 0.0
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    across, down = points[1] - points[0], mouth - eyes
    side = SPREAD * max(float(np.hypot(*across)), float(np.hypot(*down)) / EYE_MOUTH)
    axis = across + np.array([down[1], -down[0]])
    centre = (eyes + mouth) / 2
    return float(centre[0]), float(centre[1]), side, float(np.arctan2(axis[1], axis[0]))


def usable(face: Face) -> bool:
    """Whether a crop can be cut: finite numbers and at least two pixels per side."""
    frame = np.array(face_frame(face))
    return bool(np.isfinite(frame).all() and MIN_SIDE <= frame[2] <= 1e5 and np.abs(frame[:2]).max() < 1e6)


def cut(picture: NDArray[np.uint8], face: Face, size: int = CROP) -> NDArray[np.uint8]:
    """(size, size) uint8 aligned crop of a grey picture; what lies outside the picture repeats its edge."""
    x, y, side, tilt = face_frame(face)
    return warp(picture, x, y, side, tilt, size)


def warp(
    picture: NDArray[np.uint8], x: float, y: float, side: float, tilt: float, size: int, mirror: bool = False
) -> NDArray[np.uint8]:
    """(size, size) crop around (x, y); a picture much larger than the crop is shrunk without aliasing first."""
    shrink = 1
    while side / shrink > 2 * size and shrink < 64:
        shrink *= 2
    if shrink > 1:
        picture, x, y = _window(picture, x, y, side)
        small = (max(1, picture.shape[1] // shrink), max(1, picture.shape[0] // shrink))
        ratio = (small[0] / picture.shape[1], small[1] / picture.shape[0])
        picture = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        x, y, side = x * ratio[0], y * ratio[1], side * (ratio[0] + ratio[1]) / 2
    scale = size / side
    cosine, sine = scale * np.cos(tilt), scale * np.sin(tilt)
    flip = -1.0 if mirror else 1.0
    matrix = np.array([[flip * cosine, flip * sine, 0.0], [-sine, cosine, 0.0]])
    matrix[:, 2] = size / 2 - 0.5 - matrix[:, :2] @ np.array([x, y])
    return np.asarray(
        cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        dtype=np.uint8,
    )


def _window(picture: NDArray[np.uint8], x: float, y: float, side: float) -> tuple[NDArray[np.uint8], float, float]:
    """The part around the crop and the centre in it, so that a huge frame is not shrunk as a whole for every face."""
    left, top = max(int(x - side), 0), max(int(y - side), 0)
    part = picture[top : max(int(y + side) + 1, 1), left : max(int(x + side) + 1, 1)]
    return (part, x - left, y - top) if part.size else (picture, x, y)


def normalise(crops: NDArray[Any] | Sequence[NDArray[Any]]) -> FloatArray:
    """(n, 1, size, size) float32 with zero mean and unit contrast for each crop; a flat crop stays near zero."""
    batch = np.asarray(crops, dtype=np.float32)
    if batch.size == 0:
        return np.zeros((0, 1, CROP, CROP), np.float32)
    mean = batch.mean(axis=(1, 2), keepdims=True)
    spread = batch.std(axis=(1, 2), keepdims=True)
    return np.asarray((batch - mean) / np.maximum(spread, MIN_CONTRAST), dtype=np.float32)[:, None]
