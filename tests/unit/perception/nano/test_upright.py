"""A camera that is mounted sideways is noticed and named, one that stands upright is not, also while it turns."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from emo_face.core.types import Person
from emo_face.perception.detect_face import FaceDetector
from emo_face.perception.nano.upright import Upright, turned


@pytest.fixture(scope="module")
def detector(assets: Path) -> FaceDetector:
    from emo_face.datasets.faces.faces import detector_of

    return detector_of(assets)


@pytest.fixture(scope="module")
def frames(assets: Path) -> list[np.ndarray]:
    found = []
    for path in sorted((assets / "images" / "london").glob("*.jpg"))[:9]:
        picture = cv2.resize(cv2.imread(str(path)), (300, 300))
        found.append(cv2.copyMakeBorder(picture, 90, 90, 170, 170, cv2.BORDER_REPLICATE))
    return found


def watched(detector: FaceDetector, frames: list[np.ndarray], mounted: int, upright: Upright, start: float) -> Upright:
    for step, frame in enumerate(frames):
        seen = turned(frame, mounted)
        people = [Person(f"p{i}", 1.0, None, face) for i, face in enumerate(detector.detect(seen))]
        upright.update(seen, people, start + step)
    return upright


@pytest.mark.parametrize("mounted", [0, 90, 180, 270])
def test_the_turn_that_mends_it_is_named(detector: FaceDetector, frames: list[np.ndarray], mounted: int) -> None:
    found = watched(detector, frames, mounted, Upright(detector.detect), 0.0)
    assert found.turn == (360 - mounted) % 360
    assert (str(found.turn) in found.warning) if mounted else found.warning == ""


def test_a_camera_that_turns_while_it_runs_and_back(detector: FaceDetector, frames: list[np.ndarray]) -> None:
    upright = watched(detector, frames, 0, Upright(detector.detect), 0.0)
    assert watched(detector, frames, 90, upright, 100.0).turn == 270
    assert watched(detector, frames, 0, upright, 200.0).turn == 0


def test_it_looks_rarely_and_only_at_faces(detector: FaceDetector, frames: list[np.ndarray]) -> None:
    looks = []
    upright = Upright(lambda picture: looks.append(1) or detector.detect(picture))  # type: ignore[func-returns-value]
    people = [Person("p", 1.0, None, detector.detect(frames[0])[0])]
    for step in range(10):
        upright.update(frames[0], people, step * 0.05)
    assert len(looks) == 4
    upright.update(frames[0], [Person("p", 1.0)], 9.0)
    assert len(looks) == 4
    upright.reset()
    assert upright.turn == 0


def test_turning_a_picture() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert turned(picture, 0) is picture
    np.testing.assert_array_equal(turned(turned(picture, 90), 270), picture)
    np.testing.assert_array_equal(turned(picture, 90)[0, 1], picture[0, 0])
