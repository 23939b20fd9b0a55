"""Where a face is in front of the camera, and how it is turned: five landmarks on a generic face (perspective-n-point).

The face's frame is REP-155's: origin between the eyes (sellion), x out of the face, y to the face's left, z up. The
camera's is REP-103's optical one: x right, y down, z forward.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from emo_face.core.types import Array, Face, FloatArray

# An adult's face in metres, about (ours): a mean distance of the pupils of 63 mm sets the scale, so that a child seems
# farther away than it is. Order of YuNet: right eye, left eye, nose tip, right and left mouth corner.
FACE_POINTS = np.array(
    [
        [-0.015, -0.0315, -0.003],
        [-0.015, 0.0315, -0.003],
        [0.022, 0.0, -0.042],
        [-0.006, -0.025, -0.072],
        [-0.006, 0.025, -0.072],
    ]
)
FARTHEST = 20.0  # m
WORST = 0.12
"""A fit whose points are off by more than this share of the distance of eyes and mouth is no pose."""

GAZE = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""(3, 3) gaze frame in the face's: z along the gaze, x to the right, y down, while the eyes look straight ahead."""


@dataclass(frozen=True)
class Calibration:
    """A camera. ``matrix``: (3, 3) pixels; ``distortion``: (n,) of OpenCV's model, or empty."""

    matrix: Array
    distortion: Array

    @property
    def usable(self) -> bool:
        """Whether the camera was calibrated at all: drivers send zeros if not."""
        numbers = np.isfinite(self.matrix).all() and np.isfinite(self.distortion).all()
        return bool(numbers and self.matrix[0, 0] > 0 and self.matrix[1, 1] > 0)


@dataclass(frozen=True)
class FacePose:
    """Position (3,) in metres and rotation (3, 3), face to camera."""

    position: Array
    rotation: Array


def face_pose(face: Face, camera: Calibration) -> FacePose | None:
    """The pose of a face, or None without landmarks, without a calibration, or if no pose fits them."""
    points = None if face.landmarks is None else np.asarray(face.landmarks, np.float64)
    if points is None or points.shape != (5, 2) or not np.isfinite(points).all() or not camera.usable:
        return None
    distortion = camera.distortion if camera.distortion.size in (4, 5, 8, 12, 14) else None
    try:
        found, turn, move = cv2.solvePnP(FACE_POINTS, points, camera.matrix, distortion, flags=cv2.SOLVEPNP_SQPNP)
        if not found:
            return None
        turn, move = cv2.solvePnPRefineLM(FACE_POINTS, points, camera.matrix, distortion, turn, move)
        seen, _ = cv2.projectPoints(FACE_POINTS, turn, move, camera.matrix, distortion)
    except cv2.error:
        return None
    size = float(np.linalg.norm(points[:2].mean(0) - points[3:].mean(0)) + np.linalg.norm(points[0] - points[1]))
    off = float(np.abs(seen.reshape(-1, 2) - points).mean())
    position, rotation = np.asarray(move, np.float64).ravel(), np.asarray(cv2.Rodrigues(turn)[0], np.float64)
    faces_camera = rotation[2, 0] < 0.5  # x out of the face comes towards us, or at least across
    if not (0 < position[2] < FARTHEST and off <= WORST * size and faces_camera):
        return None
    return FacePose(position, rotation)


def quaternion(rotation: FloatArray) -> tuple[float, float, float, float]:
    """(x, y, z, w) of a rotation matrix (3, 3), w >= 0."""
    r = np.asarray(rotation, np.float64)
    # Shepperd's method: the largest of the four squares is divided by
    squares = np.array(
        [
            1 + r[0, 0] - r[1, 1] - r[2, 2],
            1 - r[0, 0] + r[1, 1] - r[2, 2],
            1 - r[0, 0] - r[1, 1] + r[2, 2],
            1 + r.trace(),
        ]
    )
    k = int(squares.argmax())
    rows = np.array(
        [
            [squares[0], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[2, 1] - r[1, 2]],
            [r[0, 1] + r[1, 0], squares[1], r[1, 2] + r[2, 1], r[0, 2] - r[2, 0]],
            [r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], squares[2], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], squares[3]],
        ]
    )
    q = rows[k] / np.linalg.norm(rows[k])
    x, y, z, w = (q if q[3] >= 0 else -q).tolist()
    return x, y, z, w
