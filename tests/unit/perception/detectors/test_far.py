"""Faces that the first look is too coarse for: found by windows, followed from frame to frame, at a bounded cost."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from emo_face.core.types import Box, Detection, Face, ImageArray
from emo_face.perception.detect_face import YuNetFaceDetector
from emo_face.perception.detectors.far import MOST, OVERLAP, PERIOD, FarFaces


class Bright:
    """Takes every white square for a face of its size, if it is at least eight pixels wide."""

    name = "bright"

    def __init__(self) -> None:
        self.looks = 0

    def detect(self, frame: ImageArray) -> list[Face]:
        self.looks += 1
        _, _, found, _ = cv2.connectedComponentsWithStats((frame[..., 0] > 128).astype(np.uint8))
        boxes = [Box(*map(float, row[:4])) for row in found[1:]]
        return [Face(box, 0.9, np.full((5, 2), box.center)) for box in boxes if box.width >= 8]


def picture(*corners: tuple[int, int], shape: tuple[int, int] = (480, 640), side: int = 20) -> ImageArray:
    frame = np.zeros((*shape, 3), np.uint8)
    for x, y in corners:
        frame[y : y + side, x : x + side] = 255
    return frame


@pytest.mark.parametrize("shape", [(480, 640), (480, 641), (720, 1280), (1080, 1920), (2000, 500)])
def test_windows_cover_the_frame_and_overlap_by_a_face(shape: tuple[int, int]) -> None:
    seen = np.zeros(shape, bool)
    windows = FarFaces(Bright()).windows(np.zeros((*shape, 3), np.uint8))
    for window in windows:
        seen[int(window.y) : int(window.bottom), int(window.x) : int(window.right)] = True
    assert seen.all()
    for x in range(0, shape[1] - OVERLAP, 7):
        assert any(w.x <= x and x + OVERLAP <= w.right for w in windows)


def test_a_frame_that_the_first_look_sees_as_it_is_is_not_searched() -> None:
    detector = Bright()
    assert FarFaces(detector).look(picture((5, 5), shape=(360, 470)), [], 0.0) == []
    assert detector.looks == 0


def test_a_far_face_is_found_within_a_sweep_and_followed_in_every_frame() -> None:
    far, found = FarFaces(Bright()), []
    for step in range(60):
        found.append(far.look(picture((430 + step, 300)), [], step / 30))
    first = next(step for step, people in enumerate(found) if people)
    assert first / 30 <= 7 * PERIOD
    for step in range(first, 60):
        (person,) = found[step]
        assert person.face is not None
        assert person.face.box.center == pytest.approx((440 + step, 310), abs=1.5)
    assert far.look(picture(), [], 2.0) == []
    far.reset()


def test_who_is_known_from_the_first_look_is_not_doubled() -> None:
    far, known = FarFaces(Bright()), [Detection(0.9, None, Face(Box(98, 99, 22, 22), 0.8))]
    for step in range(20):
        assert far.look(picture((100, 100)), known, step * PERIOD) == known
    assert far.everywhere(picture((100, 100)), known) == known
    assert len(far.everywhere(picture((100, 100), (500, 400)), known)) == 2


def test_a_crowd_costs_two_looks_a_frame_and_a_window_now_and_then() -> None:
    crowd = picture(*((x, y) for x in range(10, 1900, 60) for y in range(10, 1000, 60)), shape=(1080, 1920))
    detector = Bright()
    far = FarFaces(detector)
    for step in range(60):
        before = detector.looks
        assert len(far.look(crowd, [], step / 30)) <= MOST
        assert detector.looks - before <= 3


def test_real_faces_of_twenty_pixels(assets: Path) -> None:
    detector = YuNetFaceDetector(assets / "face/face_detection_yunet_2023mar.onnx")
    rng, first, second = np.random.default_rng(0), 0, 0
    for path in sorted((assets / "images/london").glob("*_neutral.jpg"))[:6]:
        portrait = cv2.imread(str(path))
        scale = 20 / detector.detect(portrait)[0].box.width
        small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        frame = cv2.resize(rng.integers(60, 190, (60, 80, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
        x, y = (int(rng.integers(0, room)) for room in (640 - small.shape[1], 480 - small.shape[0]))
        frame[y : y + small.shape[0], x : x + small.shape[1]] = small
        people = [Detection(face.score, None, face) for face in detector.detect(frame)]
        first += len(people)
        second += len(FarFaces(detector).everywhere(frame, people))
    assert first <= 3 < second == 6
