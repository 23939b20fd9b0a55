"""Quality of a face: each fault alone lowers it, and nonsense never crashes it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from emo_face.core.types import Box, Face
from emo_face.perception.detect_face import YuNetFaceDetector
from emo_face.perception.nano.facecrop import CROP, cut, grey, usable
from emo_face.perception.quality import FaceQuality, face_quality

CMU = Path(__file__).parents[2] / "data" / "cmu_faces"


def _quality(frame: np.ndarray, face: Face) -> FaceQuality:
    picture = grey(frame)
    return face_quality(cut(picture, face), face, picture.shape)


@pytest.fixture(scope="module")
def portrait(assets: Path) -> tuple[np.ndarray, Face]:
    frame = cv2.imread(str(assets / "images/london/001_neutral.jpg"))
    return frame, YuNetFaceDetector(assets / "face/face_detection_yunet_2023mar.onnx").detect(frame)[0]


def _moved(face: Face, landmarks: np.ndarray, scale: float = 1.0) -> Face:
    box = Box(face.box.x * scale, face.box.y * scale, face.box.width * scale, face.box.height * scale)
    return Face(box, face.score, landmarks)


def _in_sunglasses(frame: np.ndarray, face: Face) -> np.ndarray:
    assert face.landmarks is not None
    size = (int(0.17 * face.box.width), int(0.11 * face.box.height))
    dark = frame.copy()
    for x, y in face.landmarks[:2]:
        cv2.ellipse(dark, (int(x), int(y)), size, 0, 0, 360, (30, 22, 18), -1)
    return dark


def test_strangers_are_seen_to_have_eyes_unless_they_wear_sunglasses(assets: Path) -> None:
    detector = YuNetFaceDetector(assets / "face/face_detection_yunet_2023mar.onnx")
    plain, covered = [], []
    for path in sorted((assets / "images/london_unpicked").glob("*.jpg"))[::4]:  # of all four groups of the set
        frame = cv2.imread(str(path))
        face = detector.detect(frame)[0]
        plain.append(_quality(frame, face).eyes)
        dark = _in_sunglasses(frame, face)
        covered.append(_quality(dark, detector.detect(dark)[0]).eyes)
    assert min(plain) == 1.0
    assert np.mean(np.array(covered) < 0.7) >= 0.9


def test_real_sunglasses_hide_the_eyes_of_people_who_are_read_without(assets: Path) -> None:
    detector = YuNetFaceDetector(assets / "face/face_detection_yunet_2023mar.onnx")
    eyes: dict[str, list[float]] = {"open": [], "sunglasses": []}
    for path in sorted(CMU.glob("*.png")):
        frame = cv2.resize(cv2.imread(str(path)), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
        eyes[path.stem.split("_")[-1]].append(_quality(frame, detector.detect(frame)[0]).eyes)
    assert len(eyes["open"]) == len(eyes["sunglasses"]) == 4
    assert min(eyes["open"]) > 0.6 > 0.3 > max(eyes["sunglasses"])


def test_a_good_portrait_is_fully_trusted(portrait: tuple[np.ndarray, Face]) -> None:
    assert _quality(*portrait).total > 0.9


@pytest.mark.parametrize(
    ("fault", "factor"),
    [
        ("dark", "light"),
        ("glare", "light"),
        ("blur", "sharpness"),
        ("tiny", "size"),
        ("profile", "pose"),
        ("below", "pose"),
        ("cut off", "inside"),
        ("mask", "mouth"),
        ("sunglasses", "eyes"),
        ("hand", "eyes"),
    ],
)
def test_each_fault_lowers_its_own_factor(portrait: tuple[np.ndarray, Face], fault: str, factor: str) -> None:
    frame, face = portrait
    assert face.landmarks is not None
    points = np.asarray(face.landmarks, dtype=float)
    middle = points.mean(axis=0)
    if fault == "dark":
        frame = (frame * 0.06).astype(np.uint8)
    elif fault == "glare":
        frame = np.clip(frame.astype(int) + 190, 0, 255).astype(np.uint8)
    elif fault == "blur":
        frame = cv2.GaussianBlur(frame, (0, 0), 22)
    elif fault == "mask":
        frame = frame.copy()
        left, top, right = int(face.box.x), int(points[2, 1]), int(face.box.x + face.box.width)
        frame[top : int(face.box.y + 1.1 * face.box.height), left:right] = (225, 215, 190)
    elif fault == "sunglasses":
        frame = _in_sunglasses(frame, face)
    elif fault == "hand":
        frame = frame.copy()
        left, top = int(middle[0]), int(face.box.y)
        frame[top : int(face.box.y + 1.1 * face.box.height), left : int(face.box.x + 1.1 * face.box.width)] = (
            150,
            170,
            205,
        )
    elif fault == "tiny":
        frame, face = (
            cv2.resize(frame, None, fx=0.05, fy=0.05, interpolation=cv2.INTER_AREA),
            _moved(face, points * 0.05, 0.05),
        )
    elif fault == "profile":
        turned = middle + (points - middle) * np.array([0.4, 1])
        turned[2, 0] += 0.45 * np.ptp(points[:, 1])
        face = _moved(face, turned)
    elif fault == "below":
        lifted = points.copy()
        lifted[2, 1] = points[:2, 1].mean() + 0.2 * np.ptp(points[:, 1])
        face = _moved(face, lifted)
    elif fault == "cut off":
        face = _moved(face, points - np.array([0.6 * frame.shape[1], 0]))
    good, bad = _quality(*portrait), _quality(frame, face)
    assert getattr(bad, factor) < 0.5 < getattr(good, factor)
    assert bad.total < 0.5


@given(
    crop=hnp.arrays(np.uint8, (CROP, CROP)),
    numbers=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=14, max_size=14),
)
@settings(max_examples=60, deadline=None)
def test_any_numbers_give_a_share(crop: np.ndarray, numbers: list[float]) -> None:
    face = Face(Box(*numbers[:4]), 1.0, np.array(numbers[4:]).reshape(5, 2))
    if usable(face):
        assert 0.0 <= face_quality(crop, face, (480, 640)).total <= 1.0


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_flat_crop_has_no_quality(value: int) -> None:
    crop = np.full((CROP, CROP), value, np.uint8)
    assert face_quality(crop, Face(Box(0, 0, 60, 60), 1.0), (100, 100)).total == 0.0
