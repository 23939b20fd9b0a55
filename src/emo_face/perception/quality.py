"""How well a face can be read: size, sharpness, light, pose, eyes and mouth to be seen, how much is in the picture."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import Face, FloatArray
from emo_face.perception.nano.facecrop import EYE_MOUTH, face_frame

_Window = tuple[tuple[float, float], tuple[float, float]]

# Where each factor is 0 and where it reaches 1. Chosen from what the factor is on sharp frontal portraits (sharpness
# 0.2 to 0.3), on faces 40 pixels wide (0.15 to 0.22), on profiles (0.08 to 0.17), and where blur leaves no features.
SIZE_PX = (10.0, 36.0)  # side of the crop in the frame
SHARPNESS = (0.05, 0.16)  # mean |Laplacian| of the crop over its contrast
DARK = (8.0, 30.0)  # mean grey
BRIGHT = (252.0, 225.0)
CONTRAST = (4.0, 14.0)  # standard deviation, grey levels
TURN = (0.5, 0.2)  # how far the nose is beside the middle of eyes and mouth, in face sizes; 0.3 to 0.5 in profiles
UP = (0.2, 0.42)  # how far the nose is down from the eyes to the mouth; 0.55 in frontal faces
DOWN = (1.0, 0.75)
INSIDE = (0.45, 0.85)  # share of the crop inside the frame
MOUTH = (0.28, 0.45)  # detail at the mouth over that of the crop: 0.42 to 1.1 in faces, 0.15 to 0.5 under masks
EYE_DETAIL = (0.35, 0.75)  # the same at the eye with less of it: 0.9 to 2.4 in faces, 0.1 to 0.6 under a hand
EYE_LIGHT = (0.3, 0.6)  # light at the brighter eye over that of the cheeks: 0.6 to 1.2 in faces, 0 to 0.5 in sunglasses
EYES_HIDDEN = 0.2  # of the quality is left without eyes: the mouth tells most smiles, but half a face is often misread
_MOUTH = ((0.65, 0.92), (0.25, 0.75))  # rows and columns of the crop
_EYES = (((0.24, 0.38), (0.22, 0.42)), ((0.24, 0.38), (0.58, 0.78)))
_CHEEKS = (((0.5, 0.65), (0.2, 0.4)), ((0.5, 0.65), (0.6, 0.8)))


@dataclass(frozen=True, slots=True)
class FaceQuality:
    """The factors and their product, each in [0, 1]."""

    size: float
    sharpness: float
    light: float
    pose: float
    inside: float
    eyes: float
    mouth: float

    @property
    def total(self) -> float:
        return self.size * self.sharpness * self.light * self.pose * self.inside * self.eyes * self.mouth


def face_quality(crop: NDArray[np.uint8], face: Face, frame_shape: tuple[int, ...]) -> FaceQuality:
    """Judge one face.

    Args:
        crop: (s, s) grey crop of :func:`emo_face.perception.nano.facecrop.cut`.
        frame_shape: (h, w, ...) of the frame that ``face`` is in.
    """
    x, y, side, _ = face_frame(face)
    detail, spread = _detail(crop)
    return FaceQuality(
        size=_ramp(side, SIZE_PX),
        sharpness=_ramp(_sharp(detail, spread), SHARPNESS),
        light=_light(crop),
        pose=_pose(face.landmarks),
        inside=_ramp(_inside(x, y, side, frame_shape), INSIDE),
        eyes=_eyes(crop, detail),
        mouth=_ramp(_share(detail, _MOUTH), MOUTH),
    )


def _sharp(detail: NDArray[np.float32], spread: float) -> float:
    """Mean absolute Laplacian over the standard deviation; independent of light, 0 for a flat crop."""
    return float(detail.mean()) / spread if spread >= 1.0 else 0.0


def _detail(crop: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    """Absolute Laplacian of each pixel of a slightly smoothed crop, and the crop's standard deviation."""
    values = cv2.GaussianBlur(np.asarray(crop, dtype=np.float32), (0, 0), 0.7)
    return np.abs(cv2.Laplacian(values, cv2.CV_32F)), float(values.std())


def _eyes(crop: NDArray[np.uint8], detail: NDArray[np.float32]) -> float:
    """1 if both eyes show, :data:`EYES_HIDDEN` if dark glasses or a hand hide one.

    Detail counts as it is or in the logarithm of the light, which a shadow over half of the face leaves alone.
    """
    shades, _ = _detail(np.log(crop + np.float32(10)))
    shown = max(min(_share(edges, eye) for eye in _EYES) for edges in (detail, shades))
    cheeks = sum(_level(crop, cheek, 0.5) for cheek in _CHEEKS) / len(_CHEEKS)
    light = max(_level(crop, eye, 0.75) for eye in _EYES) / (cheeks + 5)
    return EYES_HIDDEN + (1 - EYES_HIDDEN) * _ramp(shown, EYE_DETAIL) * _ramp(light, EYE_LIGHT)


def _share(detail: NDArray[np.float32], window: _Window) -> float:
    """Detail in a part of the crop over that of the whole crop."""
    whole = float(detail.mean())
    return float(_part(detail, window).mean()) / whole if whole > 0 else 0.0


def _level(crop: NDArray[np.uint8], window: _Window, share: float) -> float:
    """The grey level that ``share`` of a part of the crop stays under."""
    levels = np.sort(_part(crop, window), axis=None)
    return float(levels[int(share * len(levels))])


def _part(image: NDArray[Any], window: _Window) -> NDArray[Any]:
    rows, columns = (slice(*(round(end * len(image)) for end in ends)) for ends in window)
    return image[rows, columns]


def _light(crop: NDArray[np.uint8]) -> float:
    mean, spread = float(crop.mean()), float(crop.std())
    return _ramp(mean, DARK) * _ramp(mean, BRIGHT) * _ramp(spread, CONTRAST)


def _pose(landmarks: FloatArray | None) -> float:
    """1 for a face towards the camera, 0 for a profile or a face from below; 1 if there are no landmarks to tell."""
    if landmarks is None:
        return 1.0
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        return 1.0
    eyes, across = points[:2].mean(axis=0), points[1] - points[0]
    down, nose = points[3:].mean(axis=0) - eyes, points[2] - eyes
    width, height = float(np.hypot(*across)), float(np.hypot(*down))
    if width <= 0 or height <= 0:
        return 0.0
    beside = abs(float((nose - down / 2) @ across)) / width / max(width, height / EYE_MOUTH)
    below = float(nose @ down) / height**2
    return _ramp(beside, TURN) * _ramp(below, UP) * _ramp(below, DOWN)


def _inside(x: float, y: float, side: float, shape: tuple[int, ...]) -> float:
    height, width = shape[:2]
    across = min(x + side / 2, width) - max(x - side / 2, 0)
    down = min(y + side / 2, height) - max(y - side / 2, 0)
    return max(across, 0.0) * max(down, 0.0) / side**2 if side > 0 else 0.0


def _ramp(value: float, ends: tuple[float, float]) -> float:
    """0 at ``ends[0]``, 1 at ``ends[1]``, linear between; 0 for NaN."""
    position = (value - ends[0]) / (ends[1] - ends[0])
    return float(min(max(position, 0.0), 1.0)) if np.isfinite(position) else 0.0
