"""tf frames of faces: where they are, and where they look, from ``camera_info`` and the landmarks."""

from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped

from emo_face.core.types import Face
from emo_face.perception.space.facepose import GAZE, Calibration, FacePose, face_pose, quaternion


def calibration(info: Any) -> Calibration:
    """The camera of a ``sensor_msgs/CameraInfo``."""
    return Calibration(np.asarray(info.k, np.float64).reshape(3, 3), np.asarray(info.d, np.float64).ravel())


def scaled(camera: Calibration, info: Any, size: tuple[int, int]) -> Calibration:
    """The same camera for an image of ``size`` (width, height), where it is another than the calibrated one."""
    if not info.width or not info.height or (info.width, info.height) == size:
        return camera
    factor = np.array([[size[0] / info.width], [size[1] / info.height], [1.0]])
    return Calibration(camera.matrix * factor, camera.distortion)


def frames(face: Face, face_id: str, person_id: str, camera: Calibration, header: Any) -> list[TransformStamped]:
    """``face_<id>``, ``gaze_<id>`` and ``person_<id>``; none if no pose is found.

    The gaze frame is an optical one (z along the gaze); the eyes are taken to look straight out of the face.
    """
    pose = face_pose(face, camera)
    if pose is None:
        return []
    found = [
        _frame(header.frame_id, f"face_{face_id}", pose, header.stamp),
        _frame(f"face_{face_id}", f"gaze_{face_id}", FacePose(np.zeros(3), GAZE), header.stamp),
    ]
    if person_id:
        found.append(_frame(header.frame_id, f"person_{person_id}", pose, header.stamp))
    return found


def _frame(parent: str, child: str, pose: FacePose, stamp: Any) -> TransformStamped:
    out = TransformStamped(child_frame_id=child)
    out.header.frame_id, out.header.stamp = parent, stamp
    place = out.transform.translation
    turn = out.transform.rotation
    place.x, place.y, place.z = map(float, pose.position)
    turn.x, turn.y, turn.z, turn.w = quaternion(pose.rotation)
    return out
