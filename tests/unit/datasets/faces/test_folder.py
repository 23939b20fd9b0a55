"""Folders of labelled strangers for the face student: their legend, their faces, and what may be trained on."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from emo_face.core.errors import UserError
from emo_face.core.labels import basic7
from emo_face.datasets.faces import faces as readers
from emo_face.datasets.faces.folder import faces_of, person_of, read_legend
from emo_face.training.fer.data import FOLDS, HELD, Bank, fold_of
from emo_face.training.fer.renders import ALWAYS
from emo_face.training.fer.strangers import AGREED, DISPUTED, Strangers, joined, targets, without_copies


def _folder(tmp_path: Path, lines: str, names: tuple[str, ...] = ("Ann_Lee_0001.jpg", "Ann_Lee_0002.jpg")) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "data").mkdir()
    for name in names:
        cv2.imwrite(str(tmp_path / "images" / name), np.full((40, 40, 3), 90, np.uint8))
    (tmp_path / "data" / "legend.csv").write_text("user.id,image,emotion\n" + lines)
    return tmp_path


def test_labels_in_any_case_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    lines = (
        "1,Ann_Lee_0001.jpg,HAPPINESS\n1,Ann_Lee_0002.jpg,sadness\n1,Ann_Lee_0002.jpg,ANGER\n"
        "1,gone.jpg,fear\n1,Ann_Lee_0001.jpg,contempt\n"
    )
    rows, skipped = read_legend(_folder(tmp_path, lines))
    assert [(r.name, r.label) for r in rows] == [("Ann_Lee_0001.jpg", "Happy")]
    assert skipped == {"contempt": 1, "no file": 1, "repeated": 2}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "1,Ann_Lee_0001.jpg,neutral\n1,Ann_Lee_0002.jpg,grumpy\n",
            r"legend\.csv:3: column emotion: unknown class 'g",
        ),
        ("1,../secret.jpg,neutral\n", r"legend\.csv:2: expected a file name"),
        ("1,Ann_Lee_0001.jpg,\n", r"legend\.csv:2: expected a file name"),
        ("1,gone.jpg,fear\n", "none of its 1 pictures"),
    ],
)
def test_bad_legends_name_file_row_and_column(tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_legend(_folder(tmp_path, lines))


def test_a_missing_legend_and_a_missing_column(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no legend\.csv"):
        read_legend(tmp_path)
    (tmp_path / "legend.csv").write_text("image,mood\na.jpg,happy\n")
    with pytest.raises(UserError, match="column 'emotion' is missing"):
        read_legend(tmp_path)


def test_one_person_has_many_photos() -> None:
    assert person_of("Ann_Lee_0001.jpg") == person_of("Ann_Lee_0117.jpg") == "folder:Ann_Lee"
    assert person_of("photo-7k.jpg") != person_of("photo-8k.jpg")


def test_faces_come_with_label_and_person_and_pictures_without_a_face_are_left_out(
    tmp_path: Path, assets: Path
) -> None:
    folder = _folder(tmp_path, "1,Ann_Lee_0001.jpg,happy\n1,Ann_Lee_0002.jpg,neutral\n")
    shutil.copy(assets / "images/london/001_smiling.jpg", folder / "images" / "Ann_Lee_0001.jpg")
    detector = readers.detector_for_training(assets / "face/face_detection_yunet_2023mar.onnx")
    found = list(faces_of(read_legend(folder)[0], detector))
    assert [(f.name, f.person, f.label) for f in found] == [("Ann_Lee_0001.jpg", "folder:Ann_Lee", "Happy")]
    assert found[0].face.landmarks is not None


def _strangers(count: int = 6) -> Strangers:
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 255, (count, 128, 128)).astype(np.uint8)
    label = np.arange(count) % len(basic7())
    soft = np.log(rng.dirichlet(np.ones(7), count)).astype(np.float32)
    return Strangers(wide, label, rng.normal(size=(count, 5)).astype(np.float32), soft, np.zeros((count, 52)))


def test_a_label_counts_more_where_the_teachers_agree() -> None:
    sure = np.log(np.array([[0.02, 0.02, 0.02, 0.88, 0.02, 0.02, 0.02]]))
    happy, sad = basic7().index("Happy"), basic7().index("Sad")
    agreed, disputed = (targets(np.array([k]), sure)[0] for k in (happy, sad))
    assert agreed[happy] == pytest.approx(AGREED + (1 - AGREED) * 0.88, abs=1e-5)
    assert disputed[sad] == pytest.approx(DISPUTED + (1 - DISPUTED) * 0.02, abs=1e-5)
    assert disputed.argmax() == happy


def test_near_copies_of_judged_pictures_are_not_trained_on() -> None:
    strangers = _strangers()
    brighter = np.clip(strangers.wide[2].astype(int) + 3, 0, 255).astype(np.uint8)
    left, copies = without_copies(strangers, brighter[None])
    assert copies == 1
    assert len(left.wide) == len(left.soft) == 5
    assert not any(np.array_equal(w, strangers.wide[2]) for w in left.wide)


def test_held_crops_train_the_shipped_model_alone_and_strangers_all() -> None:
    count = 4
    bank = Bank(
        wide=np.zeros((count, 128, 128), np.uint8),
        truth=np.full((count, 7), np.nan, np.float32),
        arkit=np.zeros((count, 52), np.float32),
        lessons=np.zeros((count, 5), np.float32),
        soft=np.full((count, 7), 1 / 7, np.float32),
        fold=np.array([0, 1, HELD, 1]),
        other=np.array([0, 1, HELD, HELD]),
        real=np.ones(count, bool),
    )
    full = joined(bank, _strangers())
    assert full.without(None).tolist() == list(range(10))
    assert full.without(HELD).tolist() == [0, 1, 4, 5, 6, 7, 8, 9]
    assert full.without(0).tolist() == [1, 4, 5, 6, 7, 8, 9]
    assert (full.fold[4:] == ALWAYS).all()


def test_labelled_photos_and_the_clip_are_held_from_every_fold() -> None:
    from emo_face.core.types import Box, Face

    def picture(source: str, person: str) -> readers.FacePicture:
        return readers.FacePicture(source, "x", person, None, np.zeros((9, 9), np.uint8), Face(Box(0, 0, 5, 5), 1.0))

    some = [picture(readers.CMU, f"cmu:{i}") for i in range(10)]
    fold = fold_of([*some, picture(readers.PHOTOS, "a"), picture(readers.VIDEO, "b"), picture(readers.PEOPLE, "c")])
    assert set(fold[:10]) == set(range(FOLDS))
    assert fold[10:].tolist() == [HELD, HELD, ALWAYS]


def test_faces_that_no_teacher_was_asked_about_teach_by_their_votes_alone() -> None:
    torch = pytest.importorskip("torch")
    from emo_face.training.fer.batches import Batches, Mix
    from emo_face.training.fer.fit import Weights, loss_of
    from emo_face.training.fer.model import FaceNet

    rng = np.random.default_rng(0)
    empty = Bank(
        wide=rng.integers(0, 255, (2, 128, 128)).astype(np.uint8),
        truth=np.eye(7, dtype=np.float32)[:2],
        arkit=np.zeros((2, 52), np.float32),
        lessons=np.zeros((2, 5), np.float32),
        soft=np.full((2, 7), 1 / 7, np.float32),
        fold=np.full(2, ALWAYS),
        other=np.full(2, ALWAYS),
        real=np.zeros(2, bool),
    )
    votes = rng.dirichlet(np.ones(7), 9).astype(np.float32)
    bank = empty.plus_strangers(rng.integers(0, 255, (9, 128, 128)).astype(np.uint8), votes)
    assert np.isnan(bank.lessons[2:]).all()
    assert np.isnan(bank.arkit[2:]).all()
    batches = Batches(bank, bank.without(None), Mix(labelled=0, unlabelled=6, renders=0, negatives=2), [], rng)
    batch = batches.draw()
    assert batch.crops.shape == (8, 1, 48, 48)
    torch.manual_seed(0)
    net = FaceNet(lessons=5)
    loss = loss_of(net(batch.crops), batch, Weights())
    loss.backward()
    assert torch.isfinite(loss)
    assert net.emotion.weight.grad.abs().sum() > 0
    assert net.teacher.weight.grad is None or net.teacher.weight.grad.abs().sum() == 0


def test_the_recipe_follows_the_data() -> None:
    pytest.importorskip("torch")
    from emo_face.training.fer.recipe import ALONE, CROWD, STRANGERS, recipe_for

    assert recipe_for(False, False) is ALONE
    assert recipe_for(True, False) is STRANGERS
    assert recipe_for(False, True) is recipe_for(True, True) is CROWD
