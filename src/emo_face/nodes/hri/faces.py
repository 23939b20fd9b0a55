"""What ROS4HRI's messages say of one face: box, landmarks, pictures, action units, expression."""

import math
from functools import cache
from typing import Any

import cv2
import numpy as np

from emo_face.core.labels import top_of
from emo_face.core.types import Array, Box, Emotion, Face, FloatArray, ImageArray
from emo_face.face.expressions.boxqp import solve_box_qp
from emo_face.face.expressions.facs import default_facs
from emo_face.nodes.hri.expressions import EXPRESSIONS
from emo_face.perception.nano.facecrop import face_frame

SIDE = 128
"""px, of the pictures of a face; hri_face_detect's default."""
LANDMARKS = 70
# hri_msgs/FacialLandmarks: RIGHT_PUPIL, LEFT_PUPIL, NOSE, MOUTH_OUTER_RIGHT, MOUTH_OUTER_LEFT, in YuNet's order
FIVE = (68, 69, 30, 48, 54)
UNITS = 99


def roi(msgs: Any, box: Box, score: float, header: Any, size: tuple[int, int]) -> Any:
    """``NormalizedRegionOfInterest2D`` of a box in pixels of an image of ``size`` (width, height)."""
    low = np.clip([box.x / size[0], box.y / size[1]], 0, 1)
    high = np.clip([box.right / size[0], box.bottom / size[1]], 0, 1)
    return msgs.NormalizedRegionOfInterest2D(
        header=header,
        xmin=float(low[0]),
        ymin=float(low[1]),
        xmax=float(high[0]),
        ymax=float(high[1]),
        c=float(np.clip(score, 0, 1)),
    )


def expression(msgs: Any, emotion: Emotion, header: Any) -> Any | None:
    """``Expression`` of a person, or None: no evidence, no expression."""
    top = top_of(emotion)
    if not top:
        return None
    return msgs.Expression(
        header=header,
        expression=EXPRESSIONS.get(top, ""),
        valence=float(emotion.valence),
        arousal=float(emotion.arousal),
        confidence=float(np.clip(np.max(emotion.probabilities), 0, 1)),
    )


def landmarks(msgs: Any, face: Face, header: Any, size: tuple[int, int]) -> Any | None:
    """``FacialLandmarks`` with the five points that there are; the others have confidence 0. None without any."""
    points = None if face.landmarks is None else np.asarray(face.landmarks, np.float64)
    if points is None or points.shape != (5, 2) or not np.isfinite(points).all():
        return None
    every = [msgs.NormalizedPointOfInterest2D() for _ in range(LANDMARKS)]
    for place, (x, y) in zip(FIVE, np.clip(points / size, 0, 1), strict=True):
        every[place] = msgs.NormalizedPointOfInterest2D(x=float(x), y=float(y), c=float(np.clip(face.score, 0, 1)))
    return msgs.FacialLandmarks(header=header, landmarks=every, width=size[0], height=size[1])


def cropped(frame: ImageArray, box: Box) -> ImageArray | None:
    """The box cut out, in the middle of a black square of :data:`SIDE` pixels; None if it is not in the image."""
    left, top = max(0, math.floor(box.x)), max(0, math.floor(box.y))
    right, bottom = min(frame.shape[1], math.ceil(box.right)), min(frame.shape[0], math.ceil(box.bottom))
    if right - left < 1 or bottom - top < 1:
        return None
    scale = SIDE / max(right - left, bottom - top)
    width, height = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    out = np.zeros((SIDE, SIDE, 3), np.uint8)
    x, y = (SIDE - width) // 2, (SIDE - height) // 2
    out[y : y + height, x : x + width] = cv2.resize(frame[top:bottom, left:right], (width, height))
    return out


def aligned(frame: ImageArray, face: Face) -> ImageArray | None:
    """The face upright: the eyes level, in a square of :data:`SIDE` pixels; None without landmarks."""
    if face.landmarks is None:
        return None
    x, y, side, tilt = face_frame(face)
    if not (math.isfinite(x + y + side + tilt) and side >= 1):
        return None
    turn = cv2.getRotationMatrix2D((x, y), math.degrees(tilt), SIDE / side)
    turn[:, 2] += np.array([SIDE / 2 - x, SIDE / 2 - y])
    return np.asarray(cv2.warpAffine(frame, turn, (SIDE, SIDE)), np.uint8)


@cache
def _action_units() -> tuple[tuple[int, ...], Array]:
    """Codes of the action units that the FACS table knows, and (52, n) their full movements."""
    facs = default_facs()
    codes = tuple(sorted(int(code) for code in facs.table.action_units))
    return codes, np.stack([facs.arkit_of_units({str(code): 1.0}) for code in codes], axis=1)


def facs(msgs: Any, arkit: FloatArray, quality: float, header: Any) -> Any:
    """``FacialActionUnits`` that explain ARKit activations (52,) best; those not measured have confidence 0."""
    codes, full = _action_units()
    strength = solve_box_qp(full.T @ full + 1e-3 * np.eye(len(codes)), full.T @ np.asarray(arkit, np.float64))
    intensity, confidence = np.zeros(UNITS, np.float32), np.zeros(UNITS, np.float32)
    intensity[list(codes)], confidence[list(codes)] = strength, float(np.clip(quality, 0, 1))
    return msgs.FacialActionUnits(header=header, intensity=intensity, confidence=confidence)
