"""The pose of a face from five landmarks, on faces that are put somewhere and projected."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from emo_face.core.types import Box, Face
from emo_face.perception.space.facepose import FACE_POINTS, GAZE, Calibration, face_pose, quaternion

CAMERA = Calibration(np.array([[600.0, 0, 320], [0, 600.0, 240], [0, 0, 1]]), np.zeros(5))
# a face that looks into the camera: its x is the camera's -z, its y (left) the camera's x, its z (up) the camera's -y
FRONTAL = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])


def turned(yaw: float, pitch: float) -> np.ndarray:
    """A frontal face turned to its left and up, rad."""
    left = np.array([[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]])
    up = np.array([[math.cos(pitch), 0, -math.sin(pitch)], [0, 1, 0], [math.sin(pitch), 0, math.cos(pitch)]])
    return FRONTAL @ left @ up


def seen(position: np.ndarray, rotation: np.ndarray, camera: Calibration = CAMERA) -> Face:
    points, _ = cv2.projectPoints(FACE_POINTS, cv2.Rodrigues(rotation)[0], position, camera.matrix, camera.distortion)
    return Face(Box(0, 0, 10, 10), 0.9, points.reshape(5, 2))


@pytest.mark.parametrize("position", [[0.0, 0.0, 0.6], [-0.4, 0.2, 1.5], [1.0, -0.3, 4.0]])
@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (0.5, 0.0), (-0.7, 0.2), (0.2, -0.4)])
def test_a_projected_face_is_found_where_it_was(position: list[float], yaw: float, pitch: float) -> None:
    pose = face_pose(seen(np.array(position), turned(yaw, pitch)), CAMERA)
    assert pose is not None
    np.testing.assert_allclose(pose.position, position, atol=1e-3)
    np.testing.assert_allclose(pose.rotation, turned(yaw, pitch), atol=1e-2)


def test_a_distorting_lens_is_taken_into_account() -> None:
    bent = Calibration(CAMERA.matrix, np.array([-0.3, 0.1, 0.0, 0.0, 0.0]))
    face = seen(np.array([0.5, 0.3, 1.2]), turned(0.2, 0.0), bent)
    pose, blind = face_pose(face, bent), face_pose(face, CAMERA)
    assert pose is not None
    assert blind is not None
    np.testing.assert_allclose(pose.position, [0.5, 0.3, 1.2], atol=2e-3)
    assert np.linalg.norm(blind.position - [0.5, 0.3, 1.2]) > 0.01


def test_axes_are_those_of_rep_155() -> None:
    pose = face_pose(seen(np.array([0.0, 0.0, 1.0]), FRONTAL), CAMERA)
    assert pose is not None
    out, left, up = pose.rotation.T
    np.testing.assert_allclose([out, left, up], [[0, 0, -1], [1, 0, 0], [0, -1, 0]], atol=0.02)
    np.testing.assert_allclose((pose.rotation @ GAZE)[:, 2], out, atol=1e-9)  # z along the gaze
    assert np.linalg.det(GAZE) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "face",
    [
        Face(Box(0, 0, 9, 9), 0.9),
        Face(Box(0, 0, 9, 9), 0.9, np.full((5, 2), np.nan)),
        Face(Box(0, 0, 9, 9), 0.9, np.zeros((5, 2))),
        Face(Box(0, 0, 9, 9), 0.9, np.array([[0.0, 0], [100, 0], [900, 50], [0, 100], [100, 100]])),
    ],
)
def test_what_is_no_face_has_no_pose(face: Face) -> None:
    assert face_pose(face, CAMERA) is None


def test_an_uncalibrated_camera_gives_none() -> None:
    assert face_pose(seen(np.array([0, 0, 1.0]), FRONTAL), Calibration(np.zeros((3, 3)), np.zeros(0))) is None


@pytest.mark.parametrize("seed", range(8))
def test_quaternions_turn_as_their_matrix(seed: int) -> None:
    turn = np.random.default_rng(seed).normal(size=3) * 2
    matrix = cv2.Rodrigues(turn)[0]
    x, y, z, w = quaternion(matrix)
    angle, axis = 2 * math.acos(min(w, 1.0)), np.array([x, y, z])
    np.testing.assert_allclose(cv2.Rodrigues(angle * axis / np.linalg.norm(axis))[0], matrix, atol=1e-6)
