"""Stage 2: the cache resumes and refuses strangers; the head learns, is reproducible, and comes back from disk."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors import SafetensorError

from emo_face.core.errors import ModelError, UserError
from emo_face.core.labels import label_set
from emo_face.core.types import Box
from emo_face.datasets import feature_file
from emo_face.datasets.features import FeatureCache, Features
from emo_face.datasets.labelled import Labelled, labelled, predict, with_views
from emo_face.datasets.records import Record
from emo_face.datasets.views import Pictures
from emo_face.evaluation.metrics import multilabel
from emo_face.perception.multiview import head_file
from emo_face.perception.multiview.config import FusionConfig
from emo_face.runtime import files as disk
from emo_face.training.multiview import stage2
from emo_face.training.multiview.config import Stage2Config


def encoder(world, seed=0):
    return world.vlm(seed).encoder.eval()


def counted(model):
    """The numbers of scenes, bodies and faces that each pass of the image encoder sees, as they come."""
    seen = []
    original = model.vision.forward
    model.vision.forward = lambda **k: seen.append(len(k["pixel_values"])) or original(**k)
    return seen


def test_cache_is_what_the_encoder_says_and_resumes(world, tmp_path):
    pictures = Pictures.of(world.root, world.config, world.records)
    model = encoder(world)
    first = FeatureCache(tmp_path, model).build(world.records[:20], pictures, batch=4, shards=3)
    assert first.features.shape == (20, 3, 32)
    assert first.features.dtype == np.float16
    seen = counted(model)
    again = FeatureCache(tmp_path, model).build(world.records, pictures, batch=4, shards=5)
    assert sum(seen) == 3 * 20  # the other 20 people; those of before are copied out of their shards
    np.testing.assert_array_equal(again.features[:20], first.features)
    seen.clear()
    FeatureCache(tmp_path, model).build(world.records, pictures, batch=4, shards=5)
    assert seen == []
    whole = FeatureCache(tmp_path / "whole", encoder(world)).build(world.records, pictures, batch=7)
    np.testing.assert_allclose(again.features.astype(float), whole.features.astype(float), atol=2e-3)


@pytest.mark.parametrize(
    "workers",
    [1, pytest.param(2, marks=pytest.mark.slow)],  # two more imports of torch
)
def test_workers_load_the_encoder_and_find_the_same_features(world, tmp_path, workers):
    from emo_face.datasets.encode import OnDisk
    from emo_face.perception.multiview.checkpoint import save_encoder
    from emo_face.perception.multiview.fingerprint import fingerprint
    from emo_face.runtime.runners.local import LocalRunner

    vlm = world.vlm()
    vlm.base.save_pretrained(tmp_path / "base")
    save_encoder(tmp_path / "s1", vlm.encoder)
    source = OnDisk(
        tmp_path / "s1", tmp_path / "base", "float32", "cpu", fingerprint(tmp_path / "s1", tmp_path / "base")
    )
    pictures = Pictures.of(world.root, world.config, world.records)
    done = []
    cache, handed_over = FeatureCache(tmp_path / "there", source), pickle.loads(pickle.dumps(source))
    assert handed_over.key == source.key
    there = cache.build(world.records, pictures, shards=4, runner=LocalRunner(workers), tick=done.append)
    here = FeatureCache(tmp_path / "here", encoder(world)).build(world.records, pictures, shards=4)
    np.testing.assert_allclose(there.features.astype(float), here.features.astype(float), atol=2e-3)
    assert there.ids == here.ids == tuple(record.id for record in world.records)
    assert done == [0, 10, 20, 30, 40]


def test_pictures_that_are_gone_are_named_and_the_others_kept(world, tmp_path):
    root = shutil.copytree(world.root / "frames", tmp_path / "d" / "frames").parent
    (root / world.records[3].image).rename(tmp_path / "away.png")
    model = encoder(world)
    pictures = Pictures.of(root, world.config, world.records)
    with pytest.raises(UserError, match=r"1 people could not be encoded: .*missing or not a picture"):
        FeatureCache(tmp_path / "c", model).build(world.records, pictures, shards=4)
    with pytest.raises(UserError, match="empty or unfinished"):
        FeatureCache.reading(tmp_path / "c").load()
    (tmp_path / "away.png").rename(root / world.records[3].image)
    seen = counted(model)
    assert len(FeatureCache(tmp_path / "c", model).build(world.records, pictures, shards=4).ids) == 40
    assert sum(seen) == 3


def test_cache_after_a_kill_and_with_a_moved_box(world, tmp_path):
    pictures = Pictures.of(world.root, world.config, world.records)
    model = encoder(world)
    cache = FeatureCache(tmp_path, model)
    cache.build(world.records[:16], pictures, batch=8, shards=2)
    (tmp_path / "index.json").unlink()  # killed before it was written
    first, second = sorted(tmp_path.glob("*.safetensors"))
    second.write_bytes(second.read_bytes()[:-40])  # and a disk that lost a tail
    seen = counted(model)
    found = cache.build(world.records[:16], pictures, batch=8, shards=2)
    assert sum(seen) == 3 * 8
    moved = dataclasses.replace(world.records[0], bbox_face=Box(0, 0, 30, 30))
    changed = cache.build([moved], pictures)
    assert not np.array_equal(changed.features[0, 2], found.features[0, 2])
    assert set(cache.load().ids) == set(found.ids)
    np.testing.assert_array_equal(cache.load().of([moved]).features, changed.features)
    first.write_bytes(first.read_bytes()[:-8] + b"12345678")
    with pytest.raises(UserError, match="changed since"):
        cache.load()


def test_cache_sees_new_pixels_and_a_neighbours_new_box(world, tmp_path):
    """Same path and boxes, other picture; or somebody else in it whose red box moved: both change what is seen."""
    import cv2

    root = shutil.copytree(world.root / "frames", tmp_path / "d" / "frames").parent
    one = world.records[0]
    other = dataclasses.replace(one, id="other", bbox_body=Box(2, 2, 30, 60))
    model = encoder(world)

    seen = counted(model)

    def build(*people):
        seen.clear()
        found = FeatureCache(tmp_path / "c", model).build(people, Pictures.of(root, world.config, people))
        return sum(seen), found.of([one]).features

    encoded, first = build(one, other)
    assert encoded == 5  # the scene once, two bodies, the face of both
    assert build(one, other)[0] == 0
    encoded, moved = build(one, dataclasses.replace(other, bbox_body=Box(90, 2, 30, 60)))
    assert encoded == 5
    assert not np.array_equal(moved[0, 0], first[0, 0])
    np.testing.assert_array_equal(moved[0, 1:], first[0, 1:])
    cv2.imwrite(str(root / one.image), 255 - cv2.imread(str(root / one.image)))
    encoded, inverted = build(one, dataclasses.replace(other, bbox_body=Box(90, 2, 30, 60)))
    assert encoded == 5
    assert not np.array_equal(inverted[0, 1], moved[0, 1])


def test_cache_of_another_encoder_is_refused(world, tmp_path):
    FeatureCache(tmp_path, encoder(world))
    with pytest.raises(UserError, match="another encoder"):
        FeatureCache(tmp_path, encoder(world, seed=1))


def test_missing_views_are_marked_in_the_cache(world, tmp_path):
    faceless = dataclasses.replace(world.records[0], bbox_face=None)
    pictures = Pictures.of(world.root, world.config, [faceless])
    found = FeatureCache(tmp_path, encoder(world)).build([faceless], pictures)
    assert found.present.tolist() == [[1, 1, 0]]
    with pytest.raises(UserError, match="not cached"):
        found.of(world.records[:2])


def test_people_of_one_picture_share_its_scene(world, tmp_path):
    record = world.records[0]
    two = [record, dataclasses.replace(record, id="other", bbox_body=Box(0, 0, 50, 90))]
    model = encoder(world)
    seen = counted(model)
    FeatureCache(tmp_path, model).build(two, Pictures.of(world.root, world.config, two))
    assert seen == [1 + 2 + 2]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),  # the real one
    ],
)
def test_full_disk_says_so_and_keeps_finished_shards(world, tmp_path, monkeypatch, error):
    pictures = Pictures.of(world.root, world.config, world.records)
    cache = FeatureCache(tmp_path, encoder(world))
    cache.build(world.records[:8], pictures)

    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise error

    monkeypatch.setattr(feature_file, "save_file", full)
    with pytest.raises(UserError, match="disk is full"):
        cache.build(world.records[:16], pictures)
    monkeypatch.undo()
    assert not list(tmp_path.glob("*.part"))
    assert len(cache.build(world.records[:16], pictures).ids) == 16
    with pytest.raises(UserError, match=r"needs 1,000,000,000\.0 GB"), disk.replacing(tmp_path / "x", need=10**18):
        pass
    with pytest.raises(ZeroDivisionError), disk.replacing(tmp_path / "x"):
        raise ZeroDivisionError


def test_a_full_disk_is_one_line_of_any_step(world, tmp_path, monkeypatch, capsys):
    """The device that is always full, as the place of the head."""
    from emo_face.cli import main as cli

    def save(folder, head, card):
        Path("/dev/full").write_text("x")

    cache = FeatureCache(tmp_path, encoder(world))
    cache.build(world.records, Pictures.of(world.root, world.config, world.records))
    monkeypatch.setattr(head_file, "save", save)
    given = ["--records", str(world.root / "records.jsonl"), "--cache", str(tmp_path), "--epochs", "1"]
    assert cli.main(["train", "multiview", "stage2", *given, "--out", str(tmp_path / "out")]) == 2
    assert "the disk is full" in capsys.readouterr().err


def synthetic(n=600, size=32, seed=0, views=3):
    """Each view carries a part of each label; class 0..25 with a long tail."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(1).normal(size=(views, size, 26))
    features = rng.normal(size=(n, views, size)).astype(np.float16)
    score = np.einsum("nvf,vfc->nc", features.astype(float), mix) / np.sqrt(views * size)
    truth = (score > np.linspace(0.2, 1.5, 26)).astype(np.uint8)
    present = np.ones((n, views), np.uint8)
    vad = np.repeat(np.tanh(score[:, :1]), 3, 1).astype(np.float32)
    vad[::5] = np.nan
    ids = tuple(f"p{seed}-{i}" for i in range(n))
    return Labelled(Features(ids, features, present), truth, vad)


FUSION = FusionConfig("emotic26", in_features=32, width=32, vad=True)


def test_head_learns_and_the_seed_fixes_it():
    data, validation, test = synthetic(2000), synthetic(400, seed=2), synthetic(400, seed=3)
    config = Stage2Config(epochs=8, learning_rate=3e-3)
    first, second = (stage2.train(data, validation, FUSION, config) for _ in range(2))
    for name, value in first.head.state_dict().items():
        assert torch.equal(value, second.head.state_dict()[name])
    logits, vad = predict(first.head, test.features)
    known = np.isfinite(test.vad).all(1)
    assert np.corrcoef(vad[known, 0], test.vad[known, 0])[0, 1] > 0.7
    value = multilabel.mean_average_precision(logits, test.truth).value
    assert value > 3 * test.truth.mean()
    probabilities = first.card.probabilities(logits)
    assert multilabel.mean_average_precision(probabilities, test.truth).value == pytest.approx(value, abs=1e-9)
    assert abs(probabilities.mean() - test.truth.mean()) < 0.02  # calibrated on validation, holds on test


def test_view_ablation_loses_what_the_view_carried():
    data, validation = synthetic(2000), synthetic(400, seed=2)
    config = Stage2Config(epochs=6, learning_rate=3e-3)
    found = []
    for views in (("scene",), ("scene", "body"), ("scene", "body", "face")):
        fusion = dataclasses.replace(FUSION, views=views)
        parts = [with_views(d, views, FUSION.views) for d in (data, validation)]
        found.append(max(stage2.train(*parts, fusion, config).history))
    assert found[0] < found[1] < found[2]


def test_single_label_set_uses_cross_entropy_and_softmax():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 7, 500)
    features = np.zeros((500, 3, 32), np.float16)
    features[np.arange(500), 2, classes] = 2
    features += rng.normal(size=features.shape).astype(np.float16) * 0.3
    ids = tuple(map(str, range(500)))
    data = Labelled(
        Features(ids, features, np.ones((500, 3), np.uint8)),
        np.eye(7, dtype=np.uint8)[classes],
        np.full((500, 3), np.nan),
    )
    trained = stage2.train(
        data,
        data,
        FusionConfig("caers7", in_features=32, width=32),
        Stage2Config(epochs=6, batch_size=32, learning_rate=3e-3),
    )
    assert trained.card.metrics["val"]["accuracy"] > 95
    logits, _ = predict(trained.head, data.features)
    np.testing.assert_allclose(trained.card.probabilities(logits).sum(1), 1)


def test_head_file_round_trip_and_refusals(tmp_path):
    trained = stage2.train(synthetic(200), synthetic(100, seed=2), FUSION, Stage2Config(epochs=1))
    head_file.save(tmp_path, trained.head, trained.card)
    head, card = head_file.load(tmp_path)
    data = synthetic(10, seed=5)
    np.testing.assert_array_equal(predict(head, data.features)[0], predict(trained.head, data.features)[0])
    np.testing.assert_allclose(card.thresholds, trained.card.thresholds)
    content = json.loads((tmp_path / "head.json").read_text())
    for change, word in (
        ({"labels": content["labels"][::-1]}, "labels"),
        ({"thresholds": [0.5]}, "26 finite"),
        ({"sha256": "0"}, "sha256"),
        ({"format": "x"}, "format"),
        ({"fusion": {**content["fusion"], "width": 64}}, "does not fit"),
    ):
        (tmp_path / "head.json").write_text(json.dumps({**content, **change}))
        with pytest.raises(ModelError, match=word):
            head_file.load(tmp_path)


def test_bad_input_is_named(world, tmp_path):
    features = Features(("a",), np.zeros((1, 3, 4), np.float16), np.ones((1, 3), np.uint8))
    record = Record("a", "i", "heco8", ("Peace",))
    with pytest.raises(UserError, match="heco8"):
        labelled(features, [record], "emotic26")
    with pytest.raises(UserError, match="empty"):
        labelled(features, [], "emotic26")
    with pytest.raises(UserError, match="validation"):
        stage2.train(synthetic(10), synthetic(0), FUSION)


@pytest.mark.slow  # a figure of a quiet machine
def test_emotic_size_trains_in_a_minute():
    """23,266 people x 3 views x 768 features, 26 labels: three epochs here, ten are at most 60 s on two cores."""
    rng = np.random.default_rng(0)
    n = 23266
    features = rng.standard_normal((n, 3, 768), dtype=np.float32).astype(np.float16)
    truth = (rng.random((n, len(label_set("emotic26")))) < 0.1).astype(np.uint8)
    vad = np.full((n, 3), np.nan, np.float32)
    data = Labelled(Features(tuple(map(str, range(n))), features, np.ones((n, 3), np.uint8)), truth, vad)
    small = with_views(data, FUSION.views, FUSION.views)
    validation = Labelled(
        Features(small.features.ids[:3315], features[:3315], small.features.present[:3315]), truth[:3315], vad[:3315]
    )
    start = time.process_time()
    stage2.train(data, validation, FusionConfig("emotic26", vad=False), Stage2Config(epochs=1))
    assert time.process_time() - start < 12  # CPU seconds of one epoch: 120 for ten on one core, 60 on two
