"""SigLIP2 as the eyes: the library's own numbers, the same cache, head, export and fingerprint, and LoRA."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from emo_face.cli import main as cli
from emo_face.core.errors import ConfigError, ModelError
from emo_face.core.types import Box, Face, Person
from emo_face.datasets.views import person_of
from emo_face.perception.multiview import checkpoint, fingerprint, model
from emo_face.perception.multiview.config import VIEWS, EncoderConfig, of_fingerprint
from emo_face.perception.multiview.encoders import FAMILIES, family_of, load_eyes
from emo_face.perception.multiview.encoders.siglip2 import Siglip2Encoder, preprocessing
from emo_face.perception.multiview.encoders.tiny import tiny_base
from emo_face.perception.multiview.preprocess import normalise, resize
from fixtures.tiny_encoders import tiny_siglip

# preprocessor_config.json as google/siglip2-base-patch16-224 has it (size apart: the tiny tower sees 28 pixels).
PREPROCESSOR = {
    "do_convert_rgb": None,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "SiglipImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "processor_class": "SiglipProcessor",
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 28, "width": 28},
}
CONFIG = EncoderConfig(kind="siglip2", image_size=28, mean=(0.5,) * 3, std=(0.5,) * 3, resample="bilinear")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("siglip2")
    tiny_siglip().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return folder


@pytest.fixture(scope="module")
def trained(world, base, tmp_path_factory):
    """LoRA, cache and Stage 2 by their commands."""
    out = tmp_path_factory.mktemp("medium")
    records = ("--records", str(world.root / "records.jsonl"))
    common = ("--base", str(base), "--images", str(world.root), "--device", "cpu", *records)
    learning = ("--epochs", "1", "--batch-size", "8", "--learning-rate", "1e-2", "--lora-rank", "2")
    best = str(out / "s1" / "best")
    steps = (
        ("adapt", *common, "--out", str(out / "s1"), *learning),
        ("cache", *common, "--encoder", best, "--out", str(out / "features")),
        ("stage2", *records, "--cache", str(out / "features"), "--encoder", best, "--out", str(out / "model")),
    )
    for step in steps:
        more = ("--epochs", "1", "--width", "16") if step[0] == "stage2" else ()
        assert cli.main(["train", "multiview", *step, *more]) == 0
    return out


def test_pixels_are_the_processor_s_own():
    processor = pytest.importorskip("transformers.models.siglip.image_processing_pil_siglip").SiglipImageProcessorPil
    picture = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    own = {name: PREPROCESSOR[name] for name in ("image_mean", "image_std", "resample", "size")}
    theirs = processor(**own)(picture[:, :, ::-1], return_tensors="np")["pixel_values"][0]
    ours = normalise(resize(picture, CONFIG), CONFIG)
    assert np.abs(ours - theirs).max() <= 1 / 255 / 0.5 + 1e-6  # one grey level


def test_a_tower_saved_alone_is_the_same_encoder(base, tmp_path):
    tiny_siglip().vision_model.save_pretrained(tmp_path)
    assert family_of(tmp_path) is FAMILIES["siglip2"]
    assert fingerprint.vision_key(tmp_path) == fingerprint.vision_key(base)


@pytest.mark.parametrize("pool", ["mean", "cls_query"])
def test_features_are_the_library_s(base, pool):
    config = dataclasses.replace(CONFIG, pool=pool)
    encoder = Siglip2Encoder(load_eyes(base, config), config).eval()
    pixels = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        found = encoder.pool(encoder({"scene": pixels[:1], "body": pixels, "face": pixels[:0]}))
        theirs = tiny_siglip().vision_model(pixel_values=pixels)
    wanted = theirs.pooler_output if pool == "cls_query" else theirs.last_hidden_state.mean(1)
    assert set(found) == {"scene", "body"}
    torch.testing.assert_close(found["body"], wanted)
    torch.testing.assert_close(found["scene"], wanted[:1])
    assert encoder.feature_size == 32


def test_steps_train_a_model_that_runs(trained, world, base):
    import cv2

    record = world.records[0]
    frame = cv2.imread(str(world.root / record.image))
    loaded = model.load(trained / "model", base, tier="medium")
    found = loaded.estimate(frame, [person_of(record)], {}, 0.0)[0]
    assert found.quality == 1.0
    assert set(found.evidence) == set(VIEWS)
    with pytest.raises(ModelError, match="is siglip2, of tier medium; expected full: say tier medium"):
        model.load(trained / "model", base, tier="full")


def test_lora_learned_and_is_in_the_encoder_s_file(trained, base):
    from safetensors.torch import load_file

    state = load_file(str(trained / "s1" / "best" / checkpoint.WEIGHTS))
    assert {name.split(".")[-3] for name in state} == {"lora_A", "lora_B"}
    assert all(float(value.abs().max()) > 0 for name, value in state.items() if ".lora_B." in name)  # they start at 0
    config = checkpoint.config_of_card(trained / "s1" / "best")
    assert config.lora_rank == 2
    encoder = checkpoint.load_encoder(trained / "s1" / "best", load_eyes(base, config))
    pixels = {"body": torch.randn(2, 3, 28, 28)}
    with torch.no_grad():
        adapted = encoder(pixels)["body"]
        plain = Siglip2Encoder(load_eyes(base, CONFIG), CONFIG).eval()(pixels)["body"]
        folded = encoder.folded()(pixels)["body"]
    assert not torch.allclose(adapted, plain, atol=1e-4)
    torch.testing.assert_close(folded, adapted, atol=1e-5, rtol=1e-5)
    assert not any(".lora_" in name for name in encoder.state_dict())


@pytest.mark.slow  # the exporter; test_model.py runs it on the larger family
def test_the_export_gives_the_same_scores(trained, base, tmp_path):
    words = ["export", "multiview", "--base", str(base), "--model", str(trained / "model"), "--out", str(tmp_path)]
    assert cli.main([*words, "--json"]) == 0
    frame = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    people = [
        Person("p1", 0.9, Box(10, 20, 60, 90), Face(Box(25, 25, 20, 20), 0.9)),
        Person("p2", 0.9, Box(80, 10, 50, 100), None),
    ]
    torch_model, exported = model.load(trained / "model", base), model.load(tmp_path, tier="medium")
    for a, b in zip(
        torch_model.estimate(frame, people, {}, 0.0), exported.estimate(frame, people, {}, 0.0), strict=True
    ):
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-4)


def test_another_tower_or_family_is_refused(trained, base, tmp_path):
    other = shutil.copytree(base, tmp_path / "other")
    tiny_siglip(seed=1).save_pretrained(other)
    with pytest.raises(ModelError, match="another image encoder"):
        model.load(trained / "model", other)
    tiny_base().save_pretrained(tmp_path / "blip")
    with pytest.raises(ModelError, match="another image encoder"):
        model.load(trained / "model", tmp_path / "blip")
    with pytest.raises(ModelError, match="is a checkpoint of instructblip, this encoder was made on one of siglip2"):
        load_eyes(tmp_path / "blip", CONFIG)
    (tmp_path / "blip" / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(ModelError, match="siglip, siglip_vision_model, idefics3, smolvlm, got 'clip'"):
        family_of(tmp_path / "blip")
    with pytest.raises(ModelError, match=r"fetch a checkpoint: hf download Salesforce"):
        family_of(tmp_path / "none")
    (other / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"preprocessor_config\.json: cannot be read"):
        preprocessing(other)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"pool": "flatten"}, "pool: expected 'mean' or 'cls_query' for siglip2, got 'flatten'"),
        ({"feature": "projected"}, "feature: expected 'qformer' for siglip2"),
        ({"kind": "instructblip", "lora_rank": 2}, "lora_rank: expected 0 for instructblip"),
        ({"lora_rank": -1}, "lora_rank: expected at least 0"),
    ],
)
def test_choices_that_a_family_has_not_are_refused(change, text):
    with pytest.raises(ConfigError, match=text):
        dataclasses.replace(CONFIG, **change)


def test_older_encoders_keep_their_fingerprint(tmp_path, world):
    """A field that came later is no part of it at its default: heads of before still find their encoder."""
    assert not set(of_fingerprint(EncoderConfig())) & set(EncoderConfig.LATER)
    assert set(of_fingerprint(CONFIG)) >= {"kind", "mean", "std", "resample"}
    checkpoint.save_encoder(tmp_path, world.vlm().encoder)
    card = json.loads((tmp_path / checkpoint.CARD).read_text())
    now = fingerprint.adapter_key(tmp_path)
    for name in EncoderConfig.LATER:
        del card["config"][name]
    (tmp_path / checkpoint.CARD).write_text(json.dumps(card))
    assert fingerprint.adapter_key(tmp_path) == now


def test_who_may_ship_it_is_said(capsys, trained):
    assert "no product can ship it" in FAMILIES["instructblip"].terms
    assert FAMILIES["siglip2"].terms.startswith("Apache-2.0")
