"""perception/detectors/yunet.py: YuNet in onnxruntime beside OpenCV's class; what is said about an old OpenCV.

Ubuntu 22.04 packages OpenCV 4.5.4, 24.04 and Debian 12 package 4.6.0, without ``cv2.data`` and without cascade files;
wheels of 4.5.5 and 4.6.0 were tried by hand: tests/README.md.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from emo_face.cli import doctor
from emo_face.core.errors import ModelError
from emo_face.core.geometry import iou
from emo_face.perception import detect_face
from emo_face.perception.build import DetectorSettings, build_detectors
from emo_face.perception.detect_face import HaarFaceDetector, YuNetFaceDetector
from emo_face.perception.detectors.yunet import YuNetOnOrt
from emo_face.runtime.store import ModelStore, open_store

PICTURES = ("people/apollo11_pilots.jpg", "people/oarriaga_test_image.jpg", "london/001_smiling.jpg",
            "emotion/max_group.jpeg", "emotion/max_non_face.jpg")  # fmt: skip


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV as Ubuntu 24.04 packages it: too old for YuNet, no data beside it, no cascades installed."""
    monkeypatch.setattr(cv2, "__version__", "4.6.0")
    monkeypatch.delattr(cv2, "data", raising=False)
    monkeypatch.setattr(detect_face, "CASCADE_FOLDERS", ())


@pytest.mark.parametrize("name", PICTURES)
def test_onnxruntime_finds_what_opencv_finds(assets: Path, name: str) -> None:
    picture = cv2.imread(str(assets / "images" / name))
    scale = 640 / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale) if scale < 1 else picture
    padded = np.zeros((640, 640, 3), np.uint8)
    padded[: small.shape[0], : small.shape[1]] = small
    model = assets / "face" / "face_detection_yunet_2023mar.onnx"
    wanted = cv2.FaceDetectorYN.create(str(model), "", (640, 640), 0.6, 0.3, 5000).detect(padded)[1]
    wanted = np.zeros((0, 15)) if wanted is None else wanted
    got = YuNetOnOrt(model, 0.6, 0.3).detect(small)
    assert len(got) == len(wanted)
    order = [int(np.abs(wanted[:, :2] - row[:2]).sum(axis=1).argmin()) for row in got]
    np.testing.assert_allclose(got[:, :14], wanted[order, :14], atol=0.2)
    np.testing.assert_allclose(got[:, 14], wanted[order, 14], atol=2e-3)


def test_ubuntus_opencv_finds_faces_with_a_word(assets: Path, old: None) -> None:
    parts = build_detectors(open_store([assets]), DetectorSettings(yolo="off"))
    assert parts.faces.name == "yunet"
    said = "\n".join(parts.warnings)
    assert "OpenCV 4.6.0 is older than 4.8" in said
    assert 'pip install "opencv-python-headless>=4.8,<5"' in said
    frame = cv2.imread(str(assets / "images" / "london" / "001_smiling.jpg"))
    (face,) = parts.faces.detect(frame)
    assert face.landmarks is not None
    assert iou(face.box, _newest(assets).detect(frame)[0].box) > 0.8
    assert all(0 < f.score <= 1 for f in parts.faces.detect(cv2.resize(frame, (1920, 1080))))


def _newest(assets: Path) -> YuNetFaceDetector:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cv2, "__version__", "4.8.0")
        return YuNetFaceDetector(assets / "face" / "face_detection_yunet_2023mar.onnx")


def test_without_yunet_and_cascades_the_words_lead_out(assets: Path, tmp_path: Path, old: None) -> None:
    with pytest.raises(ModelError, match=r"models pull yunet.*apt-get install opencv-data"):
        build_detectors(ModelStore(open_store([assets]).entries, tmp_path), DetectorSettings(yolo="off"))


def test_cascades_of_the_distribution_are_found(
    monkeypatch: pytest.MonkeyPatch, old: None, tmp_path: Path, assets: Path
) -> None:
    """``dpkg -L opencv-data``: /usr/share/opencv4/haarcascades/haarcascade_frontalface_default.xml."""
    wheel = Path(cv2.__file__).parent / "data"
    monkeypatch.setattr(detect_face, "CASCADE_FOLDERS", (tmp_path, wheel))
    faces = HaarFaceDetector().detect(cv2.imread(str(assets / "images" / "london" / "001_smiling.jpg")))
    assert len(faces) == 1


def test_another_network_is_refused(assets: Path) -> None:
    with pytest.raises(ModelError, match="not YuNet"):
        YuNetOnOrt(assets / "fer" / "fer_mini_xception.onnx", 0.6, 0.3)


def test_doctor_names_what_is_missing_and_the_command(old: None) -> None:
    found = {finding.topic: finding for finding in doctor.opencv()}
    assert found["YuNet in OpenCV"].level == doctor.NOTE
    assert found["YuNet in OpenCV"].fix == 'pip install "opencv-python-headless>=4.8,<5"'
    assert "opencv-data" in found["Haar cascades"].fix


def test_doctor_is_content_with_a_wheel() -> None:
    assert {finding.level for finding in doctor.opencv()} == {doctor.OK}
