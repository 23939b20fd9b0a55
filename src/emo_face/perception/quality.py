"""How well a face can be read: size, sharpness, light, pose, a mouth to be seen, and how much is in the picture."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import Face, FloatArray
from emo_face.perception.nano.facecrop import EYE_MOUTH, face_frame

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
_MOUTH_ROWS, _MOUTH_COLUMNS = (0.65, 0.92), (0.25, 0.75)  # of the crop


@dataclass(frozen=True, slots=True)
class FaceQuality:
    """The factors and their product, each in [0, 1]."""

    size: float
    sharpness: float
    light: float
    pose: float
    inside: float
    mouth: float

    @property
    def total(self) -> float:
        return self.size * self.sharpness * self.light * self.pose * self.inside * self.mouth


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
        mouth=_mouth(detail),
    )


def sharpness(crop: NDArray[Any]) -> float:
    """Mean absolute Laplacian over the standard deviation; independent of light, 0 for a flat crop."""
    return _sharp(*_detail(crop))


def _sharp(detail: NDArray[np.float32], spread: float) -> float:
    return float(detail.mean()) / spread if spread >= 1.0 else 0.0


def _detail(crop: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    """Absolute Laplacian of each pixel of a slightly smoothed crop, and the crop's standard deviation."""
    values = cv2.GaussianBlur(np.asarray(crop, dtype=np.float32), (0, 0), 0.7)
    return np.abs(cv2.Laplacian(values, cv2.CV_32F)), float(values.std())


def _mouth(detail: NDArray[np.float32]) -> float:
    """1 where the lower face has a mouth's edges, 0 where it is smooth: a mask, a hand, or a head upside down."""
    rows, columns = (slice(*(round(end * len(detail)) for end in ends)) for ends in (_MOUTH_ROWS, _MOUTH_COLUMNS))
    whole = float(detail.mean())
    return _ramp(float(detail[rows, columns].mean()) / whole, MOUTH) if whole > 0 else 0.0


def _light(crop: NDArray[np.uint8]) -> float:
    mean, spread = float(crop.mean()), float(crop.std())
    return _ramp(mean, DARK) * _ramp(mean, BRIGHT) * _ramp(spread, CONTRAST)


def _pose(landmarks: FloatArray | None) -> float:
    """1 for a face towards the camera, 0 for a profile or a face from below; 1 where there are no landmarks to tell."""
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
