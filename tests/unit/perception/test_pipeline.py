"""The whole of perception on real pictures and video, with a stand-in only for the emotion model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from emo_face.core.labels import basic7
from emo_face.core.types import Box, Emotion, Face, ImageArray, Person, Speech
from emo_face.perception.build import build_pipeline
from emo_face.perception.debug import draw
from emo_face.perception.emotion import EmotionModel
from emo_face.perception.pipeline import PerceptionPipeline
from emo_face.perception.views import face_view, views
from emo_face.runtime.store import ModelStore, open_store


class Brightness(EmotionModel):
    """Calls a bright face happy and a dark one sad: enough to see that each face reaches its own person."""

    name = "brightness"
    label_set = "basic7"
    hashes: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.calls: list[int] = []

    def estimate(
        self, frame: ImageArray, people: Sequence[Person], speech: Mapping[str, Speech], now: float
    ) -> list[Emotion]:
        self.calls.append(len(people))
        out = []
        for person in people:
            face = views(frame, person).face
            bright = 0.5 if face is None else float(face.mean()) / 255
            p = np.full(7, 0.01)
            p[basic7().index("Happy")] = bright
            p[basic7().index("Sad")] = 1 - bright
            out.append(Emotion("basic7", p / p.sum(), p > 0.5, 0.0, 0.0, {"face": 1.0}, 1.0))
        return out


@pytest.fixture
def pipeline(assets: Path) -> PerceptionPipeline:
    return build_pipeline(open_store([assets]), Brightness())[0]


def test_group_photo(assets: Path, pipeline: PerceptionPipeline) -> None:
    frame = cv2.imread(str(assets / "images/people/oarriaga_test_image.jpg"))
    assert pipeline.process(frame, 0.0).people == ()  # reported from the second frame on
    result = pipeline.process(frame, 0.033)
    assert len(result.people) == len(result.emotions) == 6
    assert result.detector == "yolo11n+yunet"
    assert result.warnings == ()
    assert {"bodies", "faces", "track", "emotion", "total"} <= set(result.timings)
    model = pipeline.emotion
    assert isinstance(model, Brightness)
    assert model.calls == [6]  # one call for all people


def test_a_hundred_people_at_once_have_a_name_and_an_emotion_each(assets: Path, pipeline: PerceptionPipeline) -> None:
    pictures = [cv2.resize(cv2.imread(str(p)), (128, 128)) for p in sorted((assets / "images/london").glob("*.jpg"))]
    rows = [np.hstack([pictures[(10 * row + k) % len(pictures)] for k in range(10)]) for row in range(10)]
    crowd = np.vstack(rows)
    for k in range(2):
        result = pipeline.process(crowd, k / 30)
    assert len({person.person_id for person in result.people}) == len(result.emotions) >= 95
    model = pipeline.emotion
    assert isinstance(model, Brightness)
    assert model.calls == [len(result.people)]


def test_faces_at_the_border_are_inside_or_left_out(assets: Path, pipeline: PerceptionPipeline) -> None:
    portrait = cv2.resize(cv2.imread(str(assets / "images/london/001_smiling.jpg")), (360, 360))
    for dx, dy in ((0, 180), (180, 0), (0, -180), (-180, 0), (150, 150)):
        shifted = cv2.warpAffine(portrait, np.array([[1, 0, dx], [0, 1, dy]], np.float32), (360, 360))
        pipeline.reset()
        for k in range(2):
            result = pipeline.process(shifted, k / 30)
        for person in result.people:
            assert person.face is None or person.face.box.width > 0
        assert len(result.emotions) == len(result.people)
        for emotion in result.emotions:
            assert np.isfinite(emotion.probabilities).all()


def test_without_models_haar_sees_a_person_with_a_body(assets: Path, tmp_path: Path) -> None:
    store = ModelStore(open_store([]).entries, tmp_path)
    pipeline, hashes = build_pipeline(store, Brightness())
    frame = cv2.imread(str(assets / "images/london/001_smiling.jpg"))
    for k in range(2):
        result = pipeline.process(frame, k / 30)
    assert result.detector == "haar"
    assert len(result.warnings) == 2
    assert hashes == {}
    (person,) = result.people
    assert person.body is not None
    assert person.face is not None
    assert 0 <= person.body.y <= person.face.box.y
    assert person.body.bottom <= frame.shape[0]


def test_one_id_through_the_clip(assets: Path, pipeline: PerceptionPipeline) -> None:
    capture = cv2.VideoCapture(str(assets / "video/WolfgangLanger_Pexels_3063838.mp4"))
    ids = set()
    for k in range(150):
        frame = capture.read()[1]
        if k % 3 == 0:
            ids |= {person.person_id for person in pipeline.process(frame, k / 24).people}
    assert ids == {"p00001"}


def test_people_from_behind_come_and_go(assets: Path, pipeline: PerceptionPipeline) -> None:
    """Ten frames per second, one person after another: a handful of ids, and frames with nobody."""
    capture = cv2.VideoCapture(str(assets / "video/one-by-one-person-detection.mp4"))
    ids, empty, faceless = set(), 0, 0
    for k in range(240):
        grabbed, frame = capture.read()
        if not grabbed or k % 2:
            continue
        people = pipeline.process(frame, k / 10).people
        ids |= {person.person_id for person in people}
        empty += not people
        faceless += any(person.face is None for person in people)
    assert 1 <= len(ids) <= 4
    assert empty > 5
    assert faceless > 5


def test_warm_up_runs_everything_and_leaves_no_trace(assets: Path, pipeline: PerceptionPipeline) -> None:
    assert pipeline.warm_up() > 0
    assert isinstance(pipeline.emotion, Brightness)
    assert pipeline.emotion.calls == [1]
    frame = cv2.imread(str(assets / "images/london/001_neutral.jpg"))
    pipeline.process(frame, 0.0)
    assert pipeline.process(frame, 0.03).people[0].person_id == "p00001"


def test_empty_frames_cost_no_emotion_call(pipeline: PerceptionPipeline) -> None:
    black = np.zeros((480, 640, 3), dtype=np.uint8)
    result = pipeline.process(black, 0.0)
    assert (result.people, result.emotions) == ((), ())
    assert isinstance(pipeline.emotion, Brightness)
    assert pipeline.emotion.calls == []


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((0, 640, 3), dtype=np.uint8),
        np.zeros((480, 640), dtype=np.uint8),
        np.zeros((480, 640, 4), dtype=np.uint8),
        np.zeros((480, 640, 3), dtype=np.float32),
    ],
)
def test_wrong_images_are_clear_errors(pipeline: PerceptionPipeline, frame: ImageArray) -> None:
    with pytest.raises(ValueError, match="expected an H x W x 3 uint8 image"):
        pipeline.process(frame, 0.0)


def test_clock_that_jumps_back_clears_state(assets: Path, pipeline: PerceptionPipeline) -> None:
    frame = cv2.imread(str(assets / "images/london/001_neutral.jpg"))
    pipeline.process(frame, 100.0)
    assert pipeline.process(frame, 100.03).people[0].person_id == "p00001"
    assert pipeline.process(frame, 50.0).people == ()
    assert pipeline.process(frame, 50.03).people[0].person_id == "p00002"


def test_debug_picture_is_a_copy_with_ink(assets: Path, pipeline: PerceptionPipeline) -> None:
    frame = cv2.imread(str(assets / "images/people/oarriaga_test_image.jpg"))
    frame = cv2.resize(frame, (640, 480))
    pipeline.process(frame, 0.0)
    result = pipeline.process(frame, 0.033)
    before = frame.copy()
    picture = draw(frame, result.people, result.emotions, basic7(), "yolo11n+yunet 23 ms ü")
    np.testing.assert_array_equal(frame, before)
    assert picture.shape == frame.shape
    assert (picture != frame).any(axis=2).mean() > 0.02


def test_face_views_are_square_and_never_empty() -> None:
    frame = np.full((100, 200, 3), 50, dtype=np.uint8)
    cut = face_view(frame, Face(Box(180, -10, 40, 60), 0.9))
    assert cut is not None
    assert cut.shape[0] == pytest.approx(cut.shape[1], abs=1)
    assert cut.min() == 0  # padded where it leaves the image
    assert face_view(frame, Face(Box(500, 500, 40, 40), 0.9)) is None
    assert face_view(frame, Face(Box(10, 10, 0.4, 5), 0.9)) is None


def test_draw_survives_boxes_outside(assets: Path) -> None:
    frame = np.zeros((40, 50, 3), dtype=np.uint8)
    person = Person("p1", 0.9, Box(-500, -500, 2000, 3000), Face(Box(400, 300, 9, 9), 0.9))
    emotion = Emotion("basic7", np.full(7, 1 / 7), np.zeros(7, dtype=bool), 0, 0, {"face": -2.0, "speech": 0.5}, 0.3)
    assert draw(frame, [person], [emotion], basic7()).shape == frame.shape


@pytest.mark.parametrize(
    "places", [[(20, 0), (170, 5), (320, 0), (470, 8)], [(230, 90)], [(0, 0), (540, 380), (300, 60)]]
)
def test_no_panel_covers_a_face(places: list[tuple[int, int]]) -> None:
    frame = np.full((480, 640, 3), 90, np.uint8)
    people = [Person(f"p{x}", 0.9, None, Face(Box(x, y, 100, 100), 0.9)) for x, y in places]
    emotion = Emotion("basic7", np.eye(7)[3] * 0.9 + 0.01, np.zeros(7, bool), 0, 0, {"face": 0.8, "speech": 0.1}, 0.9)
    picture = draw(frame, people, [emotion] * len(people), basic7())
    for x, y in places:
        assert (picture[y + 10 : y + 90, x + 10 : x + 90] == 90).all()
    assert (picture < 60).all(axis=2).sum() > 8000 * len(places)  # each panel is there, beside the others
