"""The second opinion: a person's own rest is learned, expressions are read against it, nonsense is survived."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.errors import ModelError
from emo_face.core.labels import basic7
from emo_face.core.paths import share_dir
from emo_face.core.types import Box, Face, Person
from emo_face.face.expressions.facs import default_facs
from emo_face.perception.nano.blendshapes import (
    TASK,
    WEIGHTS,
    BlendshapeReader,
    BlendshapeSource,
    SecondOpinion,
    read_weights,
)

FILE = share_dir() / "models" / WEIGHTS


@pytest.fixture
def opinion() -> SecondOpinion:
    return SecondOpinion(read_weights(FILE))


def _top(probabilities: np.ndarray) -> str:
    return basic7().labels[int(probabilities.argmax())]


def _shape(**values: float) -> np.ndarray:
    result = read_weights(FILE).rest.copy()
    for name, value in values.items():
        result[ARKIT_INDEX[name]] += value
    return result


def test_a_smile_is_happy_and_rest_is_neutral(opinion: SecondOpinion) -> None:
    assert _top(opinion.observe("a", _shape(), 0.0).probabilities) == "Neutral"
    smile = _shape(mouthSmileLeft=0.8, mouthSmileRight=0.8)
    assert _top(opinion.observe("a", smile, 0.1).probabilities) == "Happy"


def test_prototypes_read_as_themselves_where_mediapipe_can_see_them(opinion: SecondOpinion) -> None:
    rest = read_weights(FILE).rest
    for label in ("Happy", "Surprise", "Anger"):
        shown = np.clip(rest + 0.8 * default_facs().arkit({label: 1.0}), 0, 1)
        assert _top(opinion.observe(label, shown, 0.0).probabilities) == label


def test_a_face_that_rests_with_a_frown_becomes_neutral(opinion: SecondOpinion) -> None:
    own_rest = _shape(browDownLeft=0.25, browDownRight=0.25, mouthFrownLeft=0.1, mouthFrownRight=0.1)
    neutral = basic7().index("Neutral")
    first = opinion.observe("a", own_rest, 0.0)
    for step in range(1, 600):
        last = opinion.observe("a", own_rest, step / 10)
    assert last.probabilities[neutral] > first.probabilities[neutral]
    assert last.settled > 0.5 > first.settled
    assert last.expression.max() < 0.1
    other = opinion.observe("b", own_rest, 60.0)
    assert other.probabilities[neutral] == pytest.approx(first.probabilities[neutral])


def test_a_minute_of_smiling_is_not_taken_for_rest(opinion: SecondOpinion) -> None:
    smile = _shape(mouthSmileLeft=0.9, mouthSmileRight=0.9, cheekSquintLeft=0.3, cheekSquintRight=0.3)
    for step in range(600):
        seen = opinion.observe("a", smile, step / 10)
    assert _top(seen.probabilities) == "Happy"
    assert seen.expression[ARKIT_INDEX["mouthSmileLeft"]] > 0.5


def test_forgetting_and_time_that_jumps(opinion: SecondOpinion) -> None:
    own_rest = _shape(browDownLeft=0.25)
    for step in range(100):
        opinion.observe("a", own_rest, step / 10)
    assert opinion.observe("a", own_rest, -5.0).settled > 0
    opinion.forget("a")
    assert opinion.observe("a", own_rest, 11.0).settled == 0.0
    opinion.forget()
    assert opinion.observe("a", own_rest, 12.0).settled == 0.0


@given(
    values=hnp.arrays(np.float64, 52, elements=st.floats(allow_nan=True, allow_infinity=True)),
    times=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5),
)
@settings(max_examples=50, deadline=None)
def test_any_numbers_give_a_distribution(values: np.ndarray, times: list[float]) -> None:
    opinion = SecondOpinion(read_weights(FILE))
    for now in times:
        said = opinion.observe("a", values, now)
        assert said.probabilities.sum() == pytest.approx(1)
        for share in (said.arkit, said.expression):
            assert share.shape == (52,)
            assert 0 <= share.min() <= share.max() <= 1


def test_a_wrong_length_is_refused(opinion: SecondOpinion) -> None:
    with pytest.raises(ValueError, match="52"):
        opinion.observe("a", np.zeros(51), 0.0)


def test_damaged_weights_name_file_and_field(tmp_path: Path) -> None:
    body = json.loads(FILE.read_text())
    body["bias"] = body["bias"][:3]
    path = tmp_path / WEIGHTS
    path.write_text(json.dumps(body))
    with pytest.raises(ModelError, match=r"nano_blendshapes\.json: field bias"):
        read_weights(path)
    path.write_text("{")
    with pytest.raises(ModelError, match="not a blendshape classifier"):
        read_weights(path)


class _Shapes:
    """Shapes from a recording instead of MediaPipe."""

    def read(self, frame: np.ndarray, faces: list[Face]) -> list[np.ndarray | None]:
        return [_shape(mouthSmileLeft=0.8, mouthSmileRight=0.8) if f.score > 0.5 else None for f in faces]


def test_people_without_a_readable_face_are_left_out(opinion: SecondOpinion) -> None:
    box = Box(0, 0, 50, 50)
    people = [
        Person("p1", 1.0, face=Face(box, 0.9)),
        Person("p2", 1.0, face=Face(box, 0.1)),
        Person("p3", 1.0, body=box),
    ]
    found = BlendshapeSource(_Shapes(), opinion).estimate(np.zeros((60, 60, 3), np.uint8), people, 0.0)
    assert list(found) == ["p1"]
    assert _top(found["p1"].probabilities) == "Happy"


def test_mediapipe_itself(assets: Path, opinion: SecondOpinion) -> None:
    pytest.importorskip("mediapipe", reason="scripts/setup.sh mediapipe")
    from emo_face.perception.detect_face import YuNetFaceDetector

    reader = BlendshapeReader(assets / "face" / TASK)
    detector = YuNetFaceDetector(assets / "face/face_detection_yunet_2023mar.onnx")
    smiles = []
    for number in ("001", "002", "007"):
        for word in ("neutral", "smiling"):
            frame = cv2.imread(str(assets / f"images/london/{number}_{word}.jpg"))
            (shapes,) = reader.read(frame, detector.detect(frame)[:1])
            assert shapes is not None
            smiles.append(shapes[ARKIT_INDEX["mouthSmileLeft"]])
    assert min(smiles[1::2]) > max(smiles[::2])
    assert reader.read(np.zeros((90, 90, 3), np.uint8), [Face(Box(5, 5, 60, 60), 0.9)]) == [None]
    reader.close()


def test_a_damaged_task_file_is_named(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe", reason="scripts/setup.sh mediapipe")
    path = tmp_path / TASK
    path.write_bytes(b"PK damaged")
    with pytest.raises(ModelError, match=r"face_landmarker\.task"):
        BlendshapeReader(path)
