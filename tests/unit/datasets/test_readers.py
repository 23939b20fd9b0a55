"""Readers against files of the true format, made here."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from emo_face.cli import main as cli
from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.core.types import Box
from emo_face.datasets.pictures import caer_s, emotic, heco
from emo_face.datasets.pictures.boxes import clip, fault
from emo_face.datasets.pictures.near_duplicates import groups, pairs
from emo_face.datasets.pictures.verify import verify
from emo_face.datasets.records import Record, from_row, of_split, read_jsonl, to_row, write_jsonl


def cells(values):
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def person(categories, box=(10, 20, 110, 220), vad=(5.0, 6.0, 7.0), combined=None, annotators=1):
    row = {
        "body_bbox": np.array(box, float),
        "annotations_categories": cells([{"categories": cells(c)} for c in categories]),
        "annotations_continuous": cells(
            [dict(zip(("valence", "arousal", "dominance"), vad, strict=True)) for _ in range(annotators)]
        ),
        "gender": "Female",
        "age": "Adult",
    }
    if combined is not None:
        row["combined_categories"] = cells(combined)
        row["combined_continuous"] = {"valence": vad[0], "arousal": vad[1], "dominance": vad[2]}
    return row


def picture(name, people, size=(640, 480)):
    return {
        "filename": name,
        "folder": "mscoco/images",
        "image_size": {"n_row": size[1], "n_col": size[0]},
        "original_database": {"name": "mscoco"},
        "person": cells(people),
    }


HECO_CSV = "Image,xmin,ymin,xmax,ymax,Category,Valence,Arousal,Dominance\né.jpg,1,2,30,40,Happiness,5,5,5\n"
EMOTIC_CSV = (
    "Folder,Filename,Image Size,BBox,Categorical_Labels,Continuous_Labels\n"
    'mscoco,é.jpg,"[640, 480]","[1, 2, 30, 40]","[\'Fear\']","[5, 5, 5]"\n'
)
RECORD = '{"id": "a", "image": "é.jpg", "label_set": "heco8", "labels": ["Fear"]}\n'
CONTEXT = '{"image": "é.jpg", "emotion": "Fear", "situation": "Dark.", "quote": "Who is\u2028there?\x85"}\n'


@pytest.mark.parametrize(
    ("dataset", "file", "text"),
    [
        ("heco", "HECO_Labels.csv", HECO_CSV),
        ("emotic", "train.csv", EMOTIC_CSV),
        ("sfew", "sfew_2.0_labels.csv", "image_name,label,emotion,original_split\né.png,1,Fear,train\n"),
        ("records", "records.jsonl", RECORD),
        ("sfew_c", "contexts.jsonl", CONTEXT),
        ("sfew_c", "contexts.json", f"[{CONTEXT}]"),
    ],
)
def test_files_as_windows_and_other_programs_save_them(dataset, file, text, tmp_path, capsys):
    """A byte order mark (Excel's "CSV UTF-8", Notepad); U+2028 and U+0085 inside JSON (RFC 8259); Windows-1252."""
    path, out = tmp_path / file, tmp_path / "out.jsonl"
    root = path if "json" in file else tmp_path
    convert = ["data", "convert", "--set", dataset, "--root", str(root), "--to", str(out)]
    path.write_text(text.replace("\n", "\r\n"), encoding="utf-8-sig", newline="")
    assert cli.main(convert) == 0
    (record,) = read_jsonl(out)
    assert record.image.endswith(("é.jpg", "é.png"))
    assert record.quote in ("", "Who is\u2028there?")
    capsys.readouterr()
    path.write_bytes(text.encode("cp1252", "replace"))
    assert cli.main(convert) == 2
    assert f"{path}: not UTF-8 at byte {text.index('é')}" in capsys.readouterr().err


@pytest.fixture
def mat(tmp_path):
    train = [
        picture("a.jpg", [person([["Happiness", "Engagement"]])]),
        picture(
            "b.jpg",
            [person([["Doubt/Confusion"]], vad=(5.0, float("nan"), 7.0)), person([["Peace"]], box=(0, 0, 700, 480))],
        ),
    ]
    val = [picture("c.jpg", [person([["Anger"], ["Fear"]], combined=["Anger", "Fear"], annotators=2)])]
    test = [picture("d.jpg", [person([["Pain"], ["Pain", "Sadness"]], annotators=2)])]
    path = tmp_path / "Annotations.mat"
    savemat(path, {"train": cells(train), "val": cells(val), "test": cells(test)})
    return path


def test_emotic_mat_one_or_many_people_and_annotators(mat):
    records = emotic.read(mat.parent)
    assert [r.split for r in records] == ["train"] * 3 + ["val", "test"]
    first = records[0]
    assert first.labels == ("Engagement", "Happiness")  # the set's order, not the file's
    assert first.bbox_body == Box(10, 20, 100, 200)
    assert first.image_size == (640, 480)
    assert first.vad == (5, 6, 7)
    assert records[1].vad is None  # NaN is dropped, not carried
    assert records[1].image == records[2].image
    assert records[1].id != records[2].id
    assert records[3].labels == ("Anger", "Fear")
    assert records[4].labels == ("Pain", "Sadness")  # union over annotators where combined_* is missing


def test_emotic_mat_unknown_label_names_picture(tmp_path):
    path = tmp_path / "Annotations.mat"
    savemat(path, {"train": cells([picture("z.jpg", [person([["Joy"]])])]), "val": cells([]), "test": cells([])})
    with pytest.raises(UserError, match=r"z\.jpg person 0.*'Joy'"):
        emotic.read_mat(path)


def test_emotic_broken_mat(tmp_path):
    (tmp_path / "Annotations.mat").write_bytes(b"not a mat file at all" * 20)
    with pytest.raises(UserError, match=r"fetch Annotations\.mat again"):
        emotic.read(tmp_path)
    with pytest.raises(UserError, match=r"none of Annotations\.mat"):
        emotic.read(tmp_path / "nowhere")


def test_emotic_csv(tmp_path):
    with (tmp_path / "train.csv").open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["Index", "Folder", "Filename", "Image Size", "BBox", "Categorical_Labels", "Continuous_Labels"])
        rows.writerow(
            [0, "mscoco/images", "x.jpg", "[640, 480]", "[86, 58, 564, 628]", "['Happiness', 'Affection']", "[7, 6, 5]"]
        )
        rows.writerow([1, "mscoco/images", "x.jpg", "[640, 480]", "[1, 2, 3, 4]", "['Fear']", "[7, 6, 5]"])
    a, b = emotic.read(tmp_path)
    assert a.labels == ("Affection", "Happiness")
    assert a.bbox_body == Box(86, 58, 478, 570)
    assert (a.id, b.id) == ("emotic/mscoco/images/x.jpg#0", "emotic/mscoco/images/x.jpg#1")


def test_emotic_csv_is_not_evaluated(tmp_path):
    (tmp_path / "train.csv").write_text(
        'Folder,Filename,BBox,Categorical_Labels\nf,x.jpg,"[1,2,3,4]","__import__(\'os\')"\n'
    )
    with pytest.raises(UserError, match=r"train\.csv:2"):
        emotic.read(tmp_path)


def save(path, seed, size=(60, 80)):
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 9, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC))


@pytest.fixture
def caer(tmp_path):
    """7 classes x 2 parts x 5 clips x 4 frames that differ by a little noise."""
    rng = np.random.default_rng(0)
    for c, name in enumerate(label_set("caers7").labels):
        for part in ("train", "test"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for scene in range(5):
                coarse = np.random.default_rng([c, scene, part == "test"]).integers(0, 255, (8, 9, 3), np.uint8)
                base = cv2.resize(coarse, (90, 80), interpolation=cv2.INTER_CUBIC).astype(int)
                for frame in range(4):
                    noisy = np.clip(base + rng.integers(-3, 4, base.shape), 0, 255).astype(np.uint8)
                    cv2.imwrite(str(folder / f"{scene * 4 + frame:04d}.png"), noisy)
    return tmp_path


def test_caer_s_splits_are_named_and_only_the_grouped_one_is_clean(caer):
    leaks = {}
    for split in caer_s.SPLIT_NAMES:
        records = caer_s.read(caer, split)
        assert len(records) == 280
        assert {r.source for r in records} == {f"caer_s:{split}"}
        leaks[split] = verify("caer_s", records, caer, published=False).leaking_pairs
    assert leaks["clip_grouped"] == 0
    assert leaks["random_70_10_20"] > 50
    shares = np.bincount([("train", "val", "test").index(r.split) for r in caer_s.read(caer, "clip_grouped")]) / 280
    assert np.allclose(shares, (0.7, 0.1, 0.2), atol=0.03)
    with pytest.raises(UserError, match="clip_grouped"):
        caer_s.read(caer, "random")


def test_caer_s_unknown_class(caer):
    (caer / "train" / "Bored").mkdir()
    with pytest.raises(UserError, match="Bored"):
        caer_s.read(caer)


def test_heco(tmp_path):
    path = tmp_path / "annotations.csv"
    rows = "".join(f"i{i // 2}.jpg,1,2,30,40,{'Peace' if i % 2 else 'Happiness'}\n" for i in range(200))
    path.write_text("image,x1,y1,x2,y2,label\n" + rows)
    records = heco.read(tmp_path)
    split_of = {}
    for record in records:
        assert split_of.setdefault(record.image, record.split) == record.split
    assert len(of_split(records, "val")) == 20
    assert heco.read(tmp_path) == records
    path.write_text("image,x1,y1,x2,y2,label\na.jpg,1,2,3,4,Bliss\n")
    with pytest.raises(UserError, match=r":2: .*'Bliss'"):
        heco.read(path)
    with pytest.raises(UserError, match="pickles are not opened"):
        heco.read(tmp_path / "HECO_data.pkl")


def test_records_round_trip_and_errors(tmp_path):
    record = Record(
        "a",
        "i.jpg",
        "emotic26",
        ("Anger", "Fear"),
        "train",
        "t",
        (4, 5),
        Box(1, 2, 3, 4),
        None,
        (1, 2, 3),
        "g",
        caption="A man.",
    )
    path = tmp_path / "r.jsonl"
    assert write_jsonl(path, [record]) == 1
    assert list(read_jsonl(path)) == [record]
    assert sum(record.one_hot()) == 2
    for change, word in (
        ({"labels": ["Joy"]}, "Joy"),
        ({"split": "dev"}, "split"),
        ({"lables": []}, "lables"),
        ({"vad": [1]}, "vad"),
    ):
        path.write_text(json.dumps({**to_row(record), **change}))
        with pytest.raises(UserError, match=rf"r\.jsonl:1.*{word}"):
            list(read_jsonl(path))
    path.write_text(2 * (json.dumps(to_row(record)) + "\n"))
    with pytest.raises(UserError, match="twice"):
        list(read_jsonl(path))
    with pytest.raises(UserError, match="split 'val' is empty"):
        of_split([record], "val")


@given(
    st.dictionaries(
        st.text(max_size=8), st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(st.text(max_size=3)))
    )
)
def test_any_row_is_a_record_or_a_value_error(row):
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic's is a ValueError with its own wording
        from_row(row)


def test_boxes():
    assert clip(Box(-10, -10, 30, 30), (100, 100)) == Box(0, 0, 20, 20)
    assert clip(Box(200, 0, 10, 10), (100, 100)) is None
    assert "empty" in fault(Box(0, 0, 0, 5), (9, 9))
    assert "outside" in fault(Box(50, 0, 5, 5), (9, 9))
    assert "leaves" in fault(Box(0, 0, 50, 5), (9, 9))
    assert fault(Box(0, 0, 9.5, 9), (9, 9)) == ""


def test_verify_finds_each_fault(tmp_path, mat):
    for name, seed in (("a", 1), ("c", 1), ("d", 3)):
        save(tmp_path / "mscoco" / "images" / f"{name}.jpg", seed, (480, 640))
    (tmp_path / "mscoco" / "images" / "b.jpg").write_bytes(b"\xff\xd8 truncated")
    report = verify("emotic", emotic.read(tmp_path), tmp_path)
    kinds = report.to_json()["problems_by_kind"]
    assert kinds["corrupt"] == 1
    assert kinds["box"] == 1
    assert kinds["duplicate"] == 1  # a (train) and c (val) are one picture
    assert kinds["count"] >= 5
    assert any("23,266" in p.detail for p in report.problems)
    assert cli.main(["data", "verify", "--set", "emotic", "--root", str(tmp_path), "--no-counts", "--no-pictures"]) == 1


def test_verify_finds_a_picture_in_two_splits(tmp_path):
    records = [
        Record(str(i), "i.png", "heco8", ("Peace",), split) for i, split in enumerate(("train", "train", "test"))
    ]
    report = verify("heco", records, tmp_path, published=False, pictures=False)
    assert [(p.kind, p.where) for p in report.problems] == [("duplicate", "i.png")]
    assert report.problems[0].detail == "its people are in test and train"
    assert verify("heco", records[:2], tmp_path, published=False, pictures=False).ok


def test_verify_ok_is_exit_zero(tmp_path, capsys):
    save(tmp_path / "i.png", 1)
    write_jsonl(tmp_path / "r.jsonl", [Record("a", "i.png", "heco8", ("Peace",), "train", bbox_body=Box(1, 1, 20, 20))])
    assert cli.main(["data", "verify", "--set", "records", "--root", str(tmp_path / "r.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]


def test_pairs_equals_brute_force():
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**63, 12, np.uint64)
    hashes = np.concatenate(
        [base ^ np.uint64(int(sum(1 << int(b) for b in rng.choice(64, k, False)))) for k in (0, 2, 5)]
    )
    brute = {
        (i, j)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if bin(int(hashes[i] ^ hashes[j])).count("1") <= 4
    }
    found = list(pairs(hashes, 4))
    assert len(found) == len(set(found))
    assert set(found) == brute
    assert len(np.unique(groups(hashes, 4))) <= 24
    with pytest.raises(ValueError, match=r"0\.\.7"):
        list(pairs(hashes, 9))


def test_label_sets_known_positions_only():
    emotic_set = label_set("emotic26")
    assert emotic_set.multi
    assert len(emotic_set) == 26
    only_unknown = np.zeros(26)
    only_unknown[emotic_set.index("Esteem")] = 1
    assert emotic_set.circumplex(only_unknown) == (0.0, 0.0)
    both = only_unknown.copy()
    both[emotic_set.index("Anger")] = 0.2
    assert emotic_set.circumplex(both) == pytest.approx((-0.51, 0.59))
    assert (len(label_set("caers7")), len(label_set("heco8"))) == (7, 8)
