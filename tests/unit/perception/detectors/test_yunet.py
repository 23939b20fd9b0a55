"""YuNet beside OpenCV's class for it, with any OpenCV; cascades where packages put them.

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
from emo_face.core.types import Box
from emo_face.perception import detect_face
from emo_face.perception.build import DetectorSettings, build_detectors
from emo_face.perception.detect_face import HaarFaceDetector, YuNetFaceDetector, one_each
from emo_face.runtime.samples import portrait
from emo_face.runtime.stills import PanZoom, Still
from emo_face.runtime.store import ModelStore, open_store

PICTURES = (
    "people/apollo11_pilots.jpg",
    "people/oarriaga_test_image.jpg",
    "london/001_smiling.jpg",
    "emotion/max_group.jpeg",
    "emotion/max_non_face.jpg",
)


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV as Ubuntu 24.04 packages it: too old for YuNet, no data beside it, no cascades installed."""
    monkeypatch.setattr(cv2, "__version__", "4.6.0")
    monkeypatch.delattr(cv2, "data", raising=False)
    monkeypatch.setattr(detect_face, "CASCADE_FOLDERS", ())


@pytest.mark.parametrize("name", PICTURES)
def test_the_engine_finds_what_opencvs_own_reader_finds(assets: Path, name: str, old: None) -> None:
    """Truth: cv2.FaceDetectorYN, the publisher's reader of this file, on the same pixels, with an old OpenCV too."""
    path = assets / "face" / "face_detection_yunet_2023mar.onnx"
    picture = cv2.imread(str(assets / "images" / name))
    size = (picture.shape[1], picture.shape[0])
    found = cv2.FaceDetectorYN.create(str(path), "", size, 0.6, 0.3, 5000).detect(picture)[1]
    wanted = sorted(np.zeros((0, 15)) if found is None else found, key=lambda face: -face[14])
    got = YuNetFaceDetector(path, size=4096).detect(picture)
    assert len(got) == len(wanted)
    for face, want in zip(got, wanted, strict=True):
        assert face.landmarks is not None
        box = (face.box.x, face.box.y, face.box.width, face.box.height)
        np.testing.assert_allclose([*box, *face.landmarks.reshape(-1)], want[:14], atol=0.02)
        assert face.score == pytest.approx(min(want[14], 1.0), abs=1e-4)


def test_yunet_of_2026_is_the_same_network_with_open_sides(assets: Path, tmp_path: Path) -> None:
    """opencv_zoo, pull request 310: face_detection_yunet_2026may.onnx, sides named height and width."""
    onnx = pytest.importorskip("onnx", reason="makes the file: pip install onnx")
    path = assets / "face" / "face_detection_yunet_2023mar.onnx"
    model = onnx.load(path)
    for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], ("height", "width"), strict=True):
        dim.dim_param = name
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = f"rows of {output.name}"
    onnx.save(model, tmp_path / "face_detection_yunet_2026may.onnx")
    picture = cv2.imread(str(assets / "images" / PICTURES[1]))
    new = YuNetFaceDetector(tmp_path / "face_detection_yunet_2026may.onnx").detect(picture)
    old = YuNetFaceDetector(path).detect(picture)
    assert [(face.box, face.score) for face in new] == [(face.box, face.score) for face in old]
    assert len(new) == 6


def test_ubuntus_opencv_finds_faces_without_a_word(assets: Path, old: None) -> None:
    parts = build_detectors(open_store([assets]), DetectorSettings(yolo="off"))
    assert (parts.faces.name, parts.warnings) == ("yunet", ())
    frame = cv2.imread(str(assets / "images" / "london" / "001_smiling.jpg"))
    (face,) = parts.faces.detect(frame)
    assert face.landmarks is not None
    assert all(0 < f.score <= 1 for f in parts.faces.detect(cv2.resize(frame, (1920, 1080))))


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
        YuNetFaceDetector(assets / "fer" / "fer_mini_xception.onnx")


def test_doctor_names_what_is_missing_and_the_command(old: None) -> None:
    found = {finding.topic: finding for finding in doctor.opencv()}
    assert "opencv-data" in found["Haar cascades"].fix


def test_doctor_is_content_with_a_wheel() -> None:
    assert {finding.level for finding in doctor.opencv()} == {doctor.OK}


def test_a_pattern_on_the_shirt_is_no_second_person() -> None:
    """Weights and boxes that OpenCV 4's cascade gave for a portrait (one person) and for three astronauts."""
    one = [(Box(128, 53, 114, 114), 4.23), (Box(254, 125, 146, 146), 1.62)]
    assert one_each(one) == [one[0][0]]
    beside = [(Box(210, 59, 114, 114), 7.35), (Box(334, 126, 160, 160), 2.52)]
    assert one_each(beside[::-1]) == [beside[0][0]]
    crew = [(Box(60, 90, 80, 80), 4.28), (Box(260, 60, 80, 80), 5.52), (Box(440, 100, 80, 80), 3.58)]
    assert len(one_each(crew)) == 3, "people beside each other are as sure as each other"
    assert one_each([]) == []


def test_a_portrait_is_one_person_wherever_the_camera_pans() -> None:
    source = Still(portrait(), (0, 0), PanZoom(), 30.0)
    views = [source.read() for _ in range(360)][::18]
    counts = [len(HaarFaceDetector().detect(view)) for view in views]
    assert max(counts) == 1
    assert sum(counts) >= 18
