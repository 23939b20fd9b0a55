"""Full to nano: faces of a multi-view data set with the large model's cached scores teach the FER student."""

from __future__ import annotations

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from emo_face.cli import main as cli
from emo_face.core.errors import UserError
from emo_face.core.labels import basic7, label_set
from emo_face.core.types import Box
from emo_face.datasets.faces import faces as readers
from emo_face.datasets.faces.augment import view
from emo_face.datasets.records import Record, write_jsonl
from emo_face.training.common.recipes import read_recipe
from emo_face.training.fer.bank import NOT_JUDGED, Bank
from emo_face.training.fer.batches import FerBatches
from emo_face.training.fer.fit import fit
from emo_face.training.fer.folds import predict_crops
from emo_face.training.fer.model import FerNet
from emo_face.training.fer.recipe import NAME, FerRecipe
from emo_face.training.fer.strangers import Teacher, asked, basic_shares, taught_faces
from emo_face.training.fer.train import add_strangers

NAMES = ("001_neutral", "001_smiling", "002_neutral", "002_smiling", "005_neutral", "005_smiling")


@pytest.fixture(scope="module")
def detector(assets):
    return readers.detector_of(assets)


@pytest.fixture(scope="module")
def teacher(assets, detector, tmp_path_factory):
    """A recipe's folder, as its steps leave it, on real faces of which one has no box and one is small."""
    from emo_face.datasets.features import FeatureCache
    from emo_face.datasets.views import Pictures
    from emo_face.perception.multiview import head_file
    from emo_face.perception.multiview.config import EncoderConfig, FusionConfig
    from emo_face.perception.multiview.encoders.siglip2 import Siglip2Encoder
    from emo_face.perception.multiview.fusion_head import FusionHead
    from fixtures.tiny_encoders import tiny_siglip

    out = tmp_path_factory.mktemp("recipe")
    images = assets / "images" / "london"
    records = []
    for name in NAMES:
        face = detector.detect(cv2.imread(str(images / f"{name}.jpg")))[0].box
        records.append(Record(name, f"{name}.jpg", "emotic26", ("Peace",), "train", bbox_face=face))
    records[4] = replace(records[4], bbox_face=None)
    records[5] = replace(records[5], bbox_face=Box(300, 300, 20, 20))
    records.append(replace(records[0], id="val", split="val"))
    write_jsonl(out / "boxed.jsonl", records)
    config = EncoderConfig(kind="siglip2", image_size=28, views=("scene", "face"))
    encoder = Siglip2Encoder(tiny_siglip().vision_model, config).eval()
    FeatureCache(out / "features", encoder).build(records, Pictures.of(images, config, records))
    torch.manual_seed(3)
    head = FusionHead(FusionConfig("emotic26", views=config.views, in_features=32, width=16))
    ones = np.ones(26)
    head_file.save(out / "model", head, head_file.HeadCard(head.config, 0.5 * ones, 3 * ones, -0.5 * ones))
    return Teacher(out, images)


def test_answers_become_distributions_over_the_seven():
    emotic = label_set("emotic26")
    said = np.full((2, 26), 0.3)
    said[:, [emotic.index(n) for n in ("Anger", "Aversion", "Fear", "Happiness", "Sadness", "Surprise")]] = [
        [0.0, 0.0, 0.0, 0.8, 0.0, 0.5],
        [0.0] * 6,
    ]
    shares, told = basic_shares(said, "emotic26")
    assert told.all()
    np.testing.assert_allclose(shares.sum(1), 1)
    assert shares[0, basic7().index("Happy")] == pytest.approx(0.8 / 1.4)
    assert shares[0, basic7().index("Neutral")] == pytest.approx(0.1 / 1.4)
    assert shares[1, basic7().index("Neutral")] == 1
    same = np.random.default_rng(0).dirichlet(np.ones(7), 3)
    shares, told = basic_shares(same, "caers7")
    assert told.all()
    np.testing.assert_allclose(shares[:, basic7().index("Neutral")], same[:, label_set("caers7").index("Neutral")])
    heco = np.zeros((2, 8))
    heco[0, label_set("heco8").index("Excitement")] = 0.9
    heco[0, label_set("heco8").index("Anger")] = 0.1
    heco[1, label_set("heco8").index("Sadness")] = 1
    shares, told = basic_shares(heco, "heco8")
    assert told.tolist() == [False, True]
    assert shares[1, basic7().index("Sad")] == 1


def test_the_faces_of_the_training_split_are_cut_once(teacher, detector, tmp_path, capsys, monkeypatch):
    found = taught_faces(teacher, detector, tmp_path)
    assert found.wide.shape == (4, 128, 128)
    people, shares, _ = asked(teacher)
    assert [person.id for person in people] == [*NAMES[:4], NAMES[5]]
    np.testing.assert_allclose(found.shares, shares[:4], rtol=1e-6)
    assert np.ptp(found.shares, axis=0).max() > 1e-4  # the teacher sees different people
    assert "left out: 1 too small, 1 without a face" in capsys.readouterr().out
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("read again"))
    again = taught_faces(teacher, detector, tmp_path)
    np.testing.assert_array_equal(again.wide, found.wide)


def test_a_student_comes_nearer_to_its_teacher(teacher, detector, tmp_path):
    faces = taught_faces(teacher, detector, tmp_path)
    nobody = Bank(np.zeros((0, 128, 128), np.uint8), *np.zeros((2, 0, 7), np.float32), *np.zeros((2, 0), np.int64))
    bank = add_strangers(nobody, faces, np.zeros((1, 128, 128), np.uint8), "the teacher")
    assert (bank.fold == NOT_JUDGED).all()
    few = replace(read_recipe(FerRecipe, NAME), steps=15, faces_per_batch=8, averaging=0.5, averaging_start=0.5)
    torch.manual_seed(0)
    start = FerNet((16, 64, 128, 128)).eval()
    noise = [np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)]
    batches = FerBatches(bank, np.arange(len(bank.soft)), few, noise, np.random.default_rng(0))
    student = fit(start, batches, few, 0).eval()

    def apart(net):
        logits = predict_crops(net, np.stack([view(w, None) for w in bank.wide]), 0.0)[0]
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return float((bank.soft * (np.log(bank.soft) - log_p)).sum(1).mean())

    assert apart(student) < 0.5 * apart(start)


def test_what_is_no_recipe_s_folder_is_named(teacher, detector, tmp_path, capsys):
    with pytest.raises(UserError, match=r"none of told.jsonl, boxed.jsonl, records.jsonl; expected run.out"):
        taught_faces(Teacher(tmp_path, teacher.images), detector, tmp_path)
    shutil.copytree(teacher.folder, tmp_path / "cut")
    (tmp_path / "cut" / "features" / "index.json").unlink()
    with pytest.raises(UserError, match=r"no features/index.json; finish its recipe"):
        taught_faces(Teacher(tmp_path / "cut", teacher.images), detector, tmp_path)
    with pytest.raises(UserError, match=r"5 without a picture"):
        taught_faces(Teacher(teacher.folder, tmp_path), detector, tmp_path)
    words = ["train", "fer", "--data", "D", "--ferplus", "F", "--out", str(tmp_path), "--teacher", "T"]
    assert cli.main(words) == 2
    assert "--teacher and --teacher-images belong together" in capsys.readouterr().err
