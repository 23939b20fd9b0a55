"""The face student as it ships: bars on the fold predictions, bad input, noise, speed, retraining pieces."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from emo_face.core.errors import ModelError, UserError
from emo_face.core.labels import basic7
from emo_face.core.paths import share_dir
from emo_face.core.types import Box, Face
from emo_face.datasets.faces import faces as readers
from emo_face.evaluation.fer.figures import Judged, clip_phases, figures, follows
from emo_face.evaluation.fer.folds import FILE, read_folds
from emo_face.evaluation.fer.main import CLIP, noise_top
from emo_face.perception.detect_face import YuNetFaceDetector
from emo_face.perception.nano.face import FaceReading, FaceStudent
from emo_face.perception.nano.facecrop import CROP, cut, face_frame, grey, normalise

MODEL = share_dir() / "models" / "nano_face.onnx"
FLAT = np.full(7, 1 / 7)


@pytest.fixture(scope="module")
def student() -> FaceStudent:
    return FaceStudent(MODEL)


@pytest.fixture(scope="module")
def detector(assets: Path) -> YuNetFaceDetector:
    return readers.detector_for_training(assets / "face/face_detection_yunet_2023mar.onnx")


def _flat(reading: FaceReading) -> bool:
    return reading.quality == 0.0 and bool(np.allclose(reading.probabilities, FLAT))


def test_size() -> None:
    assert MODEL.stat().st_size <= 4_000_000


def test_photos_and_smiles_live(student: FaceStudent, assets: Path, detector: YuNetFaceDetector) -> None:
    photos = readers.read_photos(assets / "images/emotion", assets / "images/labels.csv", detector)
    labelled = [p for p in photos if p.label]
    tops = [basic7().labels[int(student.read(p.picture, [p.face])[0].probabilities.argmax())] for p in labelled]
    assert tops == [p.label for p in labelled]  # the shipped model was trained on these five
    right: dict[str, list[bool]] = {"Happy": [], "Neutral": []}
    for p in readers.read_london(assets / "images/london", detector):
        (reading,) = student.read(p.picture, [p.face])
        right[p.label or ""].append(basic7().labels[int(reading.probabilities.argmax())] == p.label)
        assert reading.quality > 0.5, p.name
    assert np.mean(right["Happy"]) >= 0.85
    assert np.mean(right["Neutral"]) >= 0.95


def _phases(student: FaceStudent, assets: Path, detector: YuNetFaceDetector) -> list[str]:
    frames = list(readers.read_video(assets / CLIP, detector, 8))
    said = student.classify(np.stack([cut(p.picture, p.face) for p in frames]))[0]
    return clip_phases([Judged(p.source, p.name, p.person, "", q) for p, q in zip(frames, said, strict=True)])


def test_the_clip_goes_from_sad_to_fear_to_happy(
    student: FaceStudent, assets: Path, detector: YuNetFaceDetector
) -> None:
    phases = _phases(student, assets, detector)  # the shipped file was told of its frames; strangers: see nano_face.md
    assert follows(phases), phases


def test_figures_of_the_folds_reach_what_the_card_says() -> None:
    folds = read_folds(MODEL.parent / FILE)
    judged = [
        Judged(f.source, f.name, f.person, f.label, f.probabilities(folds.temperature)) for f in folds.predictions
    ]
    found = figures(judged)
    assert found["london_smiling_recall"] >= 0.85
    assert found["london_neutral_recall"] >= 0.95
    assert found["max_correct"] >= 4
    assert found["cmu_accuracy"] >= 0.41  # as the peers: its people hardly show what they were asked for
    assert found["ece"] <= 0.23  # theirs nearly all; the temperature is that of FER+'s faces, see nano_face.md
    people = {(f.person, f.fold) for f in folds.predictions}
    assert len(people) == len({person for person, _ in people}), "a person in two folds"


@pytest.mark.parametrize("seed", [7, 11])
def test_noise_and_non_faces_are_never_a_confident_guess(student: FaceStudent, seed: int) -> None:
    assert noise_top(student, 300, seed) < 0.5


def test_a_logo_is_no_emotion(student: FaceStudent, assets: Path) -> None:
    logo = cv2.imread(str(assets / "images/emotion/max_non_face.jpg"))
    height, width = logo.shape[:2]
    (reading,) = student.read(logo, [Face(Box(0, 0, width, height), 0.9)])
    assert reading.probabilities.max() < 0.5


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((1, 1), np.uint8),
        np.zeros((90, 90, 3), np.uint8),
        np.full((90, 90), 255, np.uint8),
        np.full((90, 90, 3), 77, np.uint8),
        np.zeros((90, 90), np.uint16),
        np.full((90, 90), np.nan, np.float32),
    ],
)
def test_frames_that_show_nothing_are_flat(student: FaceStudent, frame: np.ndarray) -> None:
    (reading,) = student.read(frame, [Face(Box(0, 0, 60, 60), 0.9)])
    assert _flat(reading)


def test_a_crop_of_one_pixel_is_flat(student: FaceStudent) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (90, 90, 3)).astype(np.uint8)
    assert _flat(student.read(frame, [Face(Box(5, 5, 1, 1), 0.9)])[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_boxes_and_landmarks_that_are_no_numbers(student: FaceStudent, bad: float) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (90, 90, 3)).astype(np.uint8)
    landmarks = np.full((5, 2), bad)
    assert _flat(student.read(frame, [Face(Box(bad, 5, 40, 40), 0.9)])[0])
    (kept,) = student.read(frame, [Face(Box(5, 5, 40, 40), 0.9, landmarks)])
    assert np.isfinite(kept.probabilities).all()


def test_no_face_and_two_hundred(student: FaceStudent, assets: Path, detector: YuNetFaceDetector) -> None:
    frame = cv2.imread(str(assets / "images/london/001_smiling.jpg"))
    face = detector.detect(frame)[0]
    assert student.read(frame, []) == []
    many = student.read(frame, [face] * 200)
    alone = student.read(frame, [face])[0]
    assert len(many) == 200
    assert all(np.allclose(r.probabilities, alone.probabilities, atol=1e-5) for r in many)


@pytest.mark.parametrize("kind", ["grey", "16 bit", "float", "bgra"])
def test_pixel_formats_say_the_same(student: FaceStudent, assets: Path, detector: YuNetFaceDetector, kind: str) -> None:
    frame = cv2.imread(str(assets / "images/london/001_smiling.jpg"))
    face = detector.detect(frame)[0]
    other = {
        "grey": cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY),
        "16 bit": cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).astype(np.uint16) * 257,
        "float": frame.astype(np.float32) / 255,
        "bgra": cv2.cvtColor(frame, cv2.COLOR_BGR2BGRA),
    }[kind]
    a, b = student.read(frame, [face])[0], student.read(other, [face])[0]
    assert np.allclose(a.probabilities, b.probabilities, atol=0.02)
    assert a.quality == pytest.approx(b.quality, abs=0.05)


def test_bad_light_and_distance_flatten(student: FaceStudent, assets: Path, detector: YuNetFaceDetector) -> None:
    frame = cv2.imread(str(assets / "images/london/001_smiling.jpg"))
    face = detector.detect(frame)[0]
    clear = student.read(frame, [face])[0]
    dark = student.read((frame * 0.03).astype(np.uint8), [face])[0]
    assert dark.quality < 0.1 < clear.quality
    assert dark.probabilities.max() < clear.probabilities.max()


def test_not_a_picture(student: FaceStudent) -> None:
    with pytest.raises(ValueError, match="expected a picture"):
        student.read(np.zeros((3, 4, 5, 6), np.uint8), [Face(Box(0, 0, 5, 5), 1.0)])


def test_damaged_and_foreign_models_name_the_file(tmp_path: Path) -> None:
    whole = MODEL.read_bytes()
    for name, content in (("cut.onnx", whole[: len(whole) // 2]), ("empty.onnx", b""), ("text.onnx", b"not a model")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=name):
            FaceStudent(tmp_path / name)


def test_another_model_is_refused(assets: Path) -> None:
    with pytest.raises(ModelError, match="not a face student"):
        FaceStudent(assets / "fer/fer_mini_xception.onnx")


def test_an_unknown_class_in_the_label_file(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\nemotion/a.jpg,Grumpy\n")
    with pytest.raises(UserError, match=r"labels\.csv:2: field label: unknown class 'Grumpy'"):
        readers.read_labels(labels)
    labels.write_text("picture,label\n")
    with pytest.raises(UserError, match="field 'file' is missing"):
        readers.read_labels(labels)


def test_a_fold_file_of_another_label_set(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_text(json.dumps({"labels": ["Joy"], "temperature": 1, "made": {}, "predictions": []}))
    with pytest.raises(UserError, match="field labels"):
        read_folds(path)


def test_folds_split_by_person() -> None:
    people = [f"cmu:{i % 15}" for i in range(200)] + [f"london:{i % 16}" for i in range(32)]
    table = readers.folds(people, 5)
    counts = [sum(1 for p, k in table.items() if k == f and p.startswith("cmu")) for f in range(5)]
    assert counts == [3] * 5
    assert readers.folds(list(reversed(people)), 5) == table


def test_the_crop_follows_the_face() -> None:
    points = np.array([[40.0, 40], [60, 40], [50, 52], [42, 62], [58, 62]])
    face = Face(Box(35, 30, 30, 40), 1.0, points)
    x, y, side, tilt = face_frame(face)
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    turned = Face(Box(0, 0, 1, 1), 1.0, points @ turn)
    assert face_frame(turned)[2] == pytest.approx(side)
    assert abs(tilt) < 1e-6
    assert abs(face_frame(turned)[3]) == pytest.approx(np.pi / 2)
    picture = np.random.default_rng(1).integers(0, 255, (100, 100)).astype(np.uint8)
    picture = cv2.GaussianBlur(picture, (0, 0), 3)
    doubled = cv2.resize(picture, (200, 200), interpolation=cv2.INTER_LINEAR)
    large = Face(Box(70, 60, 60, 80), 1.0, points * 2 + 0.5)
    assert np.abs(cut(picture, face).astype(int) - cut(doubled, large).astype(int)).mean() < 2
    assert (x, y) == (50.0, 51.0)


def test_crops_are_normalised() -> None:
    crops = np.random.default_rng(0).integers(50, 90, (3, CROP, CROP)).astype(np.uint8)
    batch = normalise(crops)
    assert batch.shape == (3, 1, CROP, CROP)
    assert batch.mean() == pytest.approx(0, abs=1e-4)
    assert batch.std() == pytest.approx(1, abs=1e-2)
    assert np.abs(normalise(np.full((1, CROP, CROP), 9, np.uint8))).max() == 0
    assert grey(np.zeros((2, 2, 1), np.uint8)).shape == (2, 2)


def test_renders_are_exact_and_repeatable(assets: Path) -> None:
    from emo_face.core.arkit import ARKIT_INDEX
    from emo_face.datasets.renders.draw import HeadRenderer
    from emo_face.datasets.renders.look import random_look

    renderer = HeadRenderer(assets / "head3d", 96)
    look = random_look(np.random.default_rng(3), 96)
    rest, smile = np.zeros(52), np.zeros(52)
    smile[[ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]] = 1.0
    a = renderer.render(rest, look, np.random.default_rng(0))
    again = renderer.render(rest, look, np.random.default_rng(0))
    b = renderer.render(smile, look, np.random.default_rng(0))
    assert np.array_equal(a.image, again.image)
    assert a.mask.mean() > 0.2
    width = [np.linalg.norm(r.landmarks[4] - r.landmarks[3]) for r in (a, b)]
    assert width[1] > width[0] * 1.05
    assert np.abs(a.landmarks[:2] - b.landmarks[:2]).max() < 1.5
