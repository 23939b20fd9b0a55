"""Data sets in the structure that their authors and converters release them in, and with what lies beside them."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from emo_face.cli.main import main
from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.core.paths import is_stray
from emo_face.core.types import Box, Person
from emo_face.datasets.pictures import caer_s, emotic, heco, sfew
from emo_face.datasets.pictures.verify import verify
from emo_face.perception.views import views

SIZE = (640, 480)


def save(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 9, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC))


# ---- EMOTIC. Structure: henaxb/emotic's README, Tandon-A/emotic mat2py.py, BENet tools/emotic_mat_to_json.py, and a
# torch reader of CVPR17_Annotations.mat that takes the fields by position: filename, folder, image_size,
# original_database, person; a person of train: box, categories, continuous, gender, age; of val and test: box, the
# annotators' categories, combined, the annotators' continuous, combined, gender, age.


def cells(values: list[Any]) -> np.ndarray:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def vad(*values: float) -> dict[str, float]:
    return dict(zip(("valence", "arousal", "dominance"), values, strict=True))


def trained(box: tuple[float, ...], *names: str) -> dict[str, Any]:
    return {
        "body_bbox": np.array(box, float),
        "annotations_categories": {"categories": cells([*names])},
        "annotations_continuous": vad(6, 4, 7),
        "gender": "Male",
        "age": "Kid",
    }


def judged(box: tuple[float, ...], *annotators: list[str]) -> dict[str, Any]:
    union = sorted({name for names in annotators for name in names})
    return {
        "body_bbox": np.array(box, float),
        "annotations_categories": cells([{"categories": cells(names)} for names in annotators]),
        "combined_categories": cells(union) if union else np.zeros((0, 0)),
        "annotations_continuous": cells([vad(3, 5, 5), vad(4, 7, 5)]),
        "combined_continuous": vad(3.5, 6, 5),
        "gender": "Female",
        "age": "Adult",
    }


def picture(folder: str, name: str, *people: dict[str, Any]) -> dict[str, Any]:
    return {
        "filename": name,
        "folder": folder,
        "image_size": {"n_row": SIZE[1], "n_col": SIZE[0]},
        "original_database": {"name": folder.split("/")[0], "info": {"image_id": 7, "annotations_id": 9}},
        "person": cells([*people]),
    }


def release(root: Path, mat: str, pictures: str) -> Path:
    two = [trained((-4, 3, 200, 483), "Peace"), trained((300, 20, 500, 400), "Doubt/Confusion", "Anticipation")]
    train = [picture("framesdb/images", "f1.jpg", trained((10, 20, 110, 220), "Sadness"))]
    train.append(picture("emodb_small/images", "e1.jpg", *two))
    val = [picture("ade20k/images", "a1.jpg", judged((5, 5, 300, 400), ["Fear"], ["Anger", "Fear"]))]
    test = [picture("emodb_small/images", "e2.jpg", judged((5, 5, 300, 400), [], []))]
    path = root / mat
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"train": cells(train), "val": cells(val), "test": cells(test)})
    for number, row in enumerate([*train, *val, *test]):
        save(root / pictures / row["folder"] / row["filename"], number)
    return root


LAYOUTS = {
    "second release": ("Annotations/Annotations.mat", "emotic"),
    "second release without emotic/": ("Annotations/Annotations.mat", "."),
    "first release": ("CVPR17_Annotations.mat", "cvpr_emotic"),
    "annotation beside the pictures": ("Annotations.mat", "emotic"),
    # as archives unpack into folders of their own name: the README of a public reproduction of PERI lists this
    "archives": ("Annotations/Annotations/Annotations.mat", "emotic/emotic"),
    "the folder above (BENet's README)": ("PAMI/Annotations/Annotations.mat", "PAMI/emotic"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_emotic_in_every_layout(layout: str, tmp_path: Path) -> None:
    root = release(tmp_path, *LAYOUTS[layout])
    skipped: Counter[str] = Counter()
    records = emotic.read(root, skipped)
    assert skipped == {"box that leaves its picture: kept, and cut where it is used": 1}
    assert [r.split for r in records] == ["train"] * 3 + ["val", "test"]
    assert records[0].labels == ("Sadness",)
    assert records[0].bbox_body == Box(10, 20, 100, 200)
    assert (records[0].vad, records[3].vad) == ((6, 4, 7), (3.5, 6, 5))
    assert records[2].labels == ("Anticipation", "Doubt/Confusion")
    assert records[3].labels == ("Anger", "Fear")
    assert records[4].labels == ()  # as one person of the released test split
    report = verify("emotic", records, root, published=False)
    kinds = {(problem.kind, problem.where) for problem in report.problems}
    # the box that leaves the picture is the only one named, and the person without a label
    odd = {("box", "emotic/emodb_small/images/e1.jpg#0"), ("labels", "emotic/emodb_small/images/e2.jpg#0")}
    assert kinds == odd


def test_each_release_of_emotic_has_its_own_pictures(tmp_path: Path) -> None:
    root = release(release(tmp_path, "CVPR17_Annotations.mat", "cvpr_emotic"), "Annotations/Annotations.mat", "emotic")
    save(root / "__MACOSX" / "mscoco" / "images" / "._a.jpg")
    assert {r.image.split("/")[0] for r in emotic.read(root)} == {"emotic"}
    assert {r.image.split("/")[0] for r in emotic.read(root / "CVPR17_Annotations.mat")} == {"cvpr_emotic"}


def test_a_box_that_leaves_the_picture_is_cut(tmp_path: Path) -> None:
    record = emotic.read(release(tmp_path, "Annotations.mat", "emotic"))[1]
    frame = cv2.imread(str(tmp_path / record.image))
    cut = views(frame, Person("p", 1.0, record.bbox_body, None)).body
    assert cut is not None
    assert cut.size > 0
    assert cut.shape[0] <= SIZE[1]
    assert cut.shape[1] <= 210  # 200 and the margin


def table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_emotic_csv_made_with_numpy_2(tmp_path: Path) -> None:
    """Tandon-A/emotic's mat2py.py prints lists: with NumPy 2 their repr has the type of each scalar."""
    values = [np.float64(6.0), np.float64(5.5), np.float64(4.0)]
    row = {
        "Index": 0,
        "Folder": "mscoco/images",
        "Filename": "x.jpg",
        "Image Size": "{'n_row': 480, 'n_col': 640}",
        "BBox": str([np.uint16(86), np.uint16(58), np.uint16(564), np.uint16(470)]),
        "Categorical_Labels": "['Happiness', 'Engagement']",
        "Continuous_Labels": str(values),
    }
    table(tmp_path / "train.csv", [row])
    (record,) = emotic.read(tmp_path)
    assert (record.vad, record.bbox_body, record.image_size) == ((6, 5.5, 4), Box(86, 58, 478, 412), (640, 480))
    table(tmp_path / "train.csv", [row | {"Continuous_Labels": "[open('/etc/passwd')]"}])
    with pytest.raises(UserError, match=r"train\.csv:2"):
        emotic.read(tmp_path)


@pytest.mark.parametrize("folder", ["", "annots_arrs"])
def test_emotic_csv_with_a_column_per_class(folder: str, tmp_path: Path) -> None:
    """The mirror on Kaggle: annot_arrs_{train,extra_train,val,test}.csv, read by public notebooks by these columns."""
    row: dict[str, Any] = {
        "Folder": "mscoco/images",
        "Filename": "x.jpg",
        "Width": 640,
        "Height": 480,
        "X_min": 86,
        "Y_min": 58,
        "X_max": 564,
        "Y_max": 470,
        "Age": "Kid",
    }
    row |= {name: float(name in ("Fear", "Pain")) for name in label_set("emotic26").labels}
    row |= {"Valence": 2.0, "Arousal": 5.0, "Dominance": 3.0, "Arr_name": "img_0.npy", "Crop_name": "crop_0.npy"}
    for split in ("train", "extra_train", "val", "test"):
        table(tmp_path / folder / f"annot_arrs_{split}.csv", [row | {"Filename": f"{split}.jpg"}])
    (tmp_path / "img_arrs").mkdir()  # the mirror itself holds arrays only
    skipped: Counter[str] = Counter()
    records = emotic.read(tmp_path, skipped)
    assert ["img_arrs/ (.npy, not read)" in said for said in skipped] == [True]
    assert [r.split for r in records] == ["train", "train", "val", "test"]
    for record in records:
        assert (record.labels, record.vad) == (("Fear", "Pain"), (2, 5, 3))
        assert record.bbox_body == Box(86, 58, 478, 412)


# ---- HECO. Columns: BENet's tools/heco_to_json.py reads Labels/HECO_Labels.csv by Image, xmin, ymin, xmax, ymax,
# Category, Valence, Arousal, Dominance and pictures from Images/ (its README: Data/); two more public readers also name
# Label_SA and Label_CA. BENet's README warns of "Happinesst" in line 9736.


@pytest.mark.parametrize("pictures", ["Data", "Images"])
@pytest.mark.parametrize("labels", ["Labels/HECO_Labels.csv", "HECO_Labels.csv"])
def test_heco_as_published_code_reads_it(pictures: str, labels: str, tmp_path: Path) -> None:
    row = {
        "Image": "heco_1.jpg",
        "Category": "Happinesst",
        "Label_SA": "Satisfied",
        "Label_CA": "Calm",
        "xmin": "5.0",
        "ymin": 6,
        "xmax": 105,
        "ymax": 206,
        "Valence": 7,
        "Arousal": 5.5,
        "Dominance": 6,
    }
    other = row | {"Image": "heco_2.jpg", "Category": "Peace", "Valence": "nan"}
    table(tmp_path / labels, [row, row | {"Category": "Anger", "xmin": 200, "xmax": 400}, other])
    lines = (tmp_path / labels).read_text().splitlines()  # its readers pass index_col=False: for commas at a line's end
    (tmp_path / labels).write_text("\n".join([lines[0], *(line + "," for line in lines[1:])]))
    save(tmp_path / pictures / "heco_1.jpg", 1)
    save(tmp_path / pictures / "heco_2.jpg", 2)
    skipped: Counter[str] = Counter()
    records = heco.read(tmp_path, skipped=skipped)
    assert [r.labels for r in records] == [("Happiness",), ("Anger",), ("Peace",)]
    assert skipped == {"typing error mended: Happinesst": 1}
    assert records[0].bbox_body == Box(5, 6, 100, 200)
    assert (records[0].vad, records[2].vad) == ((7, 5.5, 6), None)
    assert records[0].split == records[1].split
    assert verify("heco", records, tmp_path, published=False).ok


# ---- stray files: macOS (RFC 1740), Synology, Jupyter, Windows


def litter(folder: Path, beside: str) -> None:
    for name in (".ipynb_checkpoints", "@eaDir", "__MACOSX"):
        save(folder / name / "0001-checkpoint.jpg")
    (folder / ".DS_Store").write_bytes(b"\0" * 16)
    (folder / "Thumbs.db").write_bytes(b"\0" * 16)
    (folder / beside / "._0001.jpg").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")


def test_caer_s_and_sfew_with_stray_files(tmp_path: Path) -> None:
    labels = label_set("caers7").labels
    for root, parts in (("caer", ("train", "test")), ("sfew", ("Train", "Val", "Test"))):
        for part in parts:
            for number, name in enumerate(labels):
                save(tmp_path / root / part / name / f"{part}{number}_0001.jpg", number + 10 * len(part))
            litter(tmp_path / root / part, labels[0])
    skipped: Counter[str] = Counter()
    assert len(caer_s.read(tmp_path / "caer", skipped=skipped)) == 14
    assert skipped == {"stray folder": 6, "stray file": 2}
    skipped.clear()
    assert len(sfew.read(tmp_path / "sfew", skipped)) == 21
    assert skipped == {"stray folder": 9, "stray file": 3}


def test_caer_s_in_folders_of_other_names(tmp_path: Path) -> None:
    """Train/Anger and train, valid, test, as public readers of two copies have them."""
    for number, part in enumerate(("Train", "valid", "Test")):
        save(tmp_path / part / "Angry" / "0001.png", number)
    records = caer_s.read(tmp_path)
    assert {(r.split, r.image, r.labels) for r in records} == {
        ("train", "Train/Angry/0001.png", ("Anger",)),
        ("val", "valid/Angry/0001.png", ("Anger",)),
        ("test", "Test/Angry/0001.png", ("Anger",)),
    }


# SFEW 2.0 is read by public code as Train/Train_Aligned_Faces/<Class>, as images/Train_Aligned_Faces/<Class>, as
# Train_SFEW_2_0/<Class> and, from its archives, as Val/Val/<Class>; Test has no labels
LAID = {
    "beside the split": ("Train/Train_Aligned_Faces/Angry", "Val/Val_Aligned_Faces_new/Sad", "Test/Test_Aligned_Faces"),
    "without it": ("images/Train_Aligned_Faces/Angry", "images/Val_Aligned_Faces/Sad", "images/Test_Aligned_Faces"),
    "by release": ("Train_SFEW_2_0/Angry", "Val_SFEW_2_0/Sad", "Test_SFEW_2_0"),
    "archives": ("Train/Train/Angry", "Val/Val/Sad", "Test/Test"),
}


@pytest.mark.parametrize("layout", LAID)
def test_sfew_in_the_layouts_of_its_readers(layout: str, tmp_path: Path) -> None:
    for number, folder in enumerate(LAID[layout]):
        save(tmp_path / folder / "Airheads_000519240_00000005.png", number)
    skipped: Counter[str] = Counter()
    records = sfew.read(tmp_path, skipped)
    assert [(r.split, r.labels, r.image.startswith(LAID[layout][n])) for n, r in enumerate(records)] == [
        ("train", ("Anger",), True),
        ("val", ("Sad",), True),
    ]
    assert skipped == {"picture of test without a class": 1}
    assert len({r.group_id for r in records}) == 1


def test_sfew_with_frames_and_faces_has_each_person_once(tmp_path: Path) -> None:
    for folder in ("Train/Angry", "Train/Train_Aligned_Faces/Angry"):
        save(tmp_path / folder / "Airheads_000519240_00000005.png")
    skipped: Counter[str] = Counter()
    assert [r.image.split("/")[1] for r in sfew.read(tmp_path, skipped)] == ["Angry"]
    assert skipped == {"aligned face beside the frames": 1}


def test_sfew_as_a_table(tmp_path: Path) -> None:
    """A mirror that four public readers read by these columns: images under sfew2.0_images/."""
    row = {"image_name": "image_0.png", "label": 0, "emotion": "Angry", "original_split": "Train_Aligned_Faces"}
    other = row | {"image_name": "image_1.png", "emotion": "Happy", "original_split": "Val_Aligned_Faces"}
    table(tmp_path / "sfew_2.0_labels.csv", [row, other])
    found = [(r.image, r.labels, r.split) for r in sfew.read(tmp_path)]
    assert found == [
        ("sfew2.0_images/image_0.png", ("Anger",), "train"),
        ("sfew2.0_images/image_1.png", ("Happy",), "val"),
    ]
    table(tmp_path / "sfew_2.0_labels.csv", [row | {"emotion": "Bored"}])
    with pytest.raises(UserError, match=r"labels\.csv:2.*Bored"):
        sfew.read(tmp_path)


def test_what_was_left_out_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("train", "test"):
        for number, name in enumerate(label_set("caers7").labels):
            save(tmp_path / part / name / "0001.jpg", number + 10 * len(part))
    litter(tmp_path / "train", "Anger")
    assert main(["data", "verify", "--set", "caer_s", "--root", str(tmp_path), "--no-counts", "--distance", "0"]) == 0
    said = capsys.readouterr()
    assert "14 people in" not in said.err
    assert "caer_s: 3 x stray folder" in said.err
    assert "caer_s: 1 x stray file" in said.err


# larrylu0426/CAERS-Annotation: test.txt and train.txt beside the folders, its class Angry; ndkhanh360/CAER joins its
# lines (CAER/data_loader/data_loaders.py) to CAER-S/train, a reader of them finds Anger where the folder is Angry
@pytest.mark.parametrize("line", ["{}/Angry/0157.png,0,191,109,293,211", "Anger/0157.png,0,191,109,293,211"])
def test_face_boxes_of_the_public_caer_s_annotations(line: str, tmp_path: Path) -> None:
    for part in ("train", "test"):
        save(tmp_path / part / "Anger" / "0157.png")
        save(tmp_path / part / "Anger" / "0158.png")
        (tmp_path / f"{part}.txt").write_text(f"{line.format(part)}\nSad/1.png,5,1,2,3,4\n")
    skipped: Counter[str] = Counter()
    records = caer_s.read(tmp_path, skipped=skipped)
    assert [r.bbox_face for r in records if r.image.endswith("0157.png")] == [Box(191, 109, 102, 102)] * 2
    assert [r.bbox_face for r in records if r.image.endswith("0158.png")] == [None] * 2
    assert skipped == {"face box without its picture": 2}
    (tmp_path / "test.txt").write_text("test/Sad/0157.png,5,191,109\n")
    with pytest.raises(UserError, match=r"test\.txt:1"):
        caer_s.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "stray"), [("._a.jpg", True), ("Thumbs.db", True), ("@eaDir", True), (".git", True), ("_a.jpg", False)]
)
def test_stray_names(name: str, stray: bool) -> None:
    assert is_stray(Path("x") / name) is stray
