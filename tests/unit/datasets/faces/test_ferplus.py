"""FER+ for the face student: votes become shares, faces come back in the picture's own pixels, bad files are named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from emo_face.core.errors import UserError
from emo_face.core.labels import basic7
from emo_face.datasets.faces.faces import detector_for_training
from emo_face.datasets.faces.ferplus import SOURCE, faces_of, read_votes
from emo_face.evaluation.fer.crowd import crowd_figures
from emo_face.evaluation.fer.figures import Judged


def _folder(root: Path, rows: list[str], pictures: dict[str, np.ndarray] | None = None) -> Path:
    split = root / "FER2013Train"
    split.mkdir(parents=True)
    (split / "label.csv").write_text("".join(f"{row}\n" for row in rows))
    for row in rows:
        name = row.split(",")[0]
        picture = (pictures or {}).get(name, np.full((48, 48), 90, np.uint8))
        if name != "gone.png":
            cv2.imwrite(str(split / name), picture)
    return root


def _row(name: str, **votes: int) -> str:
    order = ("neutral", "happy", "surprise", "sad", "anger", "disgust", "fear", "contempt", "unknown", "noface")
    return f'{name},"(0, 0, 48, 48)",' + ",".join(str(votes.get(word, 0)) for word in order)


def test_votes_become_shares_and_a_single_vote_is_a_slip(tmp_path: Path) -> None:
    folder = _folder(tmp_path, [_row("a.png", happy=6, neutral=3, fear=1), _row("b.png", anger=5, sad=5)])
    (a, b), skipped = read_votes(folder, "Train")
    share = dict(zip(basic7().labels, a.shares, strict=True))
    assert share["Happy"] == pytest.approx(6 / 9)
    assert share["Neutral"] == pytest.approx(3 / 9)
    assert share["Fear"] == 0
    assert a.label == "Happy"
    assert b.shares[basic7().index("Anger")] == b.shares[basic7().index("Sad")] == 0.5
    assert not skipped


def test_a_table_without_boxes_reads_the_same(tmp_path: Path) -> None:
    """A fork's generate_training_data.py writes the rows of fer2013new.csv: file and counts."""
    row = _row("a.png", happy=6, neutral=4)
    bare = read_votes(_folder(tmp_path / "bare", [row.replace('"(0, 0, 48, 48)",', "")]), "Train")[0][0]
    np.testing.assert_array_equal(bare.shares, read_votes(_folder(tmp_path / "boxes", [row]), "Train")[0][0].shares)


def test_pictures_that_show_none_of_the_seven_are_counted_and_left_out(tmp_path: Path) -> None:
    rows = [
        _row("ok.png", surprise=9, unknown=1),
        _row("c.png", contempt=8, neutral=2),
        _row("u.png", unknown=6, sad=4),
        _row("n.png", noface=10),
        _row("d.png", happy=1, sad=1, anger=1, fear=1),
        _row("gone.png", happy=10),
    ]
    found, skipped = read_votes(_folder(tmp_path, rows), "Train")
    assert [f.path.name for f in found] == ["ok.png"]
    assert skipped == {"contempt": 1, "unknown": 1, "no face": 1, "no agreement": 1, "no file": 1}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,box,1,2", r"label\.csv:1: expected a file name, a box and 10 counts"),
        (_row("../a.png", happy=3), r"label\.csv:1: expected a file name"),
        (_row("a.png", happy=3).replace(",3,", ",many,"), r"label\.csv:1: column Happy: expected a number.*'many'"),
        (_row("a.png", happy=3).replace(",3,", ",-3,"), r"column Happy: expected a number of votes, got '-3'"),
        (_row("gone.png", happy=3), "none of its pictures"),
    ],
)
def test_bad_label_files_name_row_and_column(tmp_path: Path, row: str, message: str) -> None:
    split = tmp_path / "FER2013Train"
    split.mkdir()
    (split / "label.csv").write_text(row + "\n")
    with pytest.raises(UserError, match=message):
        read_votes(tmp_path, "Train")


def test_a_missing_split_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"FER2013Valid/label\.csv.*generate_training_data"):
        read_votes(tmp_path, "Valid")


def test_faces_of_48_pixels_are_found_and_measured_in_their_own_pixels(tmp_path: Path, assets: Path) -> None:
    photo = cv2.imread(str(assets / "images/london/001_smiling.jpg"), cv2.IMREAD_GRAYSCALE)
    detector = detector_for_training(assets / "face/face_detection_yunet_2023mar.onnx")
    (large,) = detector.detect(np.asarray(cv2.cvtColor(photo, cv2.COLOR_GRAY2BGR), dtype=np.uint8))
    side = int(1.1 * max(large.box.width, large.box.height))
    x, y = (int(v - side / 2) for v in large.box.center)
    cut = np.asarray(cv2.resize(photo[y : y + side, x : x + side], (48, 48), interpolation=cv2.INTER_AREA), np.uint8)
    rows = [_row("face.png", happy=9), _row("grey.png", neutral=9)]
    voted, _ = read_votes(_folder(tmp_path, rows, {"face.png": cut}), "Train")
    face, grey = faces_of(voted, detector)
    assert (face.source, face.label, face.name) == (SOURCE, "Happy", "FER2013Train/face.png")
    expected = (np.asarray(large.landmarks) - [x, y]) * 48 / side
    assert np.abs(np.asarray(face.face.landmarks) - expected).max() < 3
    assert grey.face.landmarks is None  # no face found: the whole picture, as its makers cut it
    assert (grey.face.box.width, grey.face.box.height) == (48, 48)


def test_a_picture_that_does_not_decode_is_named(tmp_path: Path, assets: Path) -> None:
    voted, _ = read_votes(_folder(tmp_path, [_row("a.png", happy=9)]), "Train")
    voted[0].path.write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"a\.png: no picture that OpenCV can read"):
        list(faces_of(voted, detector_for_training(assets / "face/face_detection_yunet_2023mar.onnx")))


def test_figures_count_every_label_alike_in_the_uar() -> None:
    def one(label: str, guess: str) -> Judged:
        p = np.full(7, 0.02)
        p[basic7().index(guess)] = 0.88
        return Judged(SOURCE, "x", "x", label, p)

    found = crowd_figures([*(one("Happy", "Happy") for _ in range(8)), one("Fear", "Sad"), one("Fear", "Fear")])
    assert found["ferplus_accuracy"] == 0.9
    assert found["ferplus_uar"] == 0.75
    assert found["ferplus_faces"] == 10
    assert found["ferplus_ece"] == pytest.approx(abs(0.9 - 0.88), abs=1e-4)
