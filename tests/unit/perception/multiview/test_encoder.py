"""The encoder equals InstructBLIP on every view, the scene is seen once, and no weight appears out of nowhere."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from emo_face.core.errors import ModelError
from emo_face.core.types import Box, Face, Person
from emo_face.perception.multiview import checkpoint
from emo_face.perception.multiview.config import VIEWS, EncoderConfig
from emo_face.perception.multiview.encoders.instructblip import MultiViewEncoder, gather
from emo_face.perception.multiview.encoders.tiny import tiny_base
from emo_face.perception.multiview.preprocess import view_batch

SMALL = EncoderConfig(image_size=28, instruction_ids=(5, 6, 7))


def pixels(seed, k, size=28):
    return torch.randn((k, 3, size, size), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sharing", ["all", "body_face", "none"])
@pytest.mark.parametrize("instruction", [(), (5, 6, 7)])
def test_before_training_each_view_is_the_original_model(sharing, instruction):
    base = tiny_base()
    config = dataclasses.replace(SMALL, qformer_sharing=sharing, instruction_ids=instruction)
    encoder = MultiViewEncoder(base, config).eval()
    assert len(encoder.qformers) == {"all": 1, "body_face": 2, "none": 3}[sharing]
    images = {view: pixels(i, 2 + i) for i, view in enumerate(VIEWS)}
    with torch.no_grad():
        tokens = encoder(images)
        projected = encoder.project(tokens)
        for view, value in images.items():
            ids = torch.tensor([instruction]).expand(len(value), -1) if instruction else None
            original = _original(base, value, ids)
            torch.testing.assert_close(projected[view], original, atol=1e-5, rtol=0)


def _original(base, value, ids):
    if ids is not None:
        return base.get_image_features(value, ids).pooler_output
    seen = base.vision_model(pixel_values=value).last_hidden_state
    queries = base.query_tokens.expand(len(value), -1, -1)
    found = base.qformer(input_ids=None, query_embeds=queries, encoder_hidden_states=seen).last_hidden_state
    return base.language_projection(found)


def test_padded_questions_do_not_change_the_tokens():
    base = tiny_base()
    encoder = MultiViewEncoder(base, SMALL).eval()
    short = {v: (torch.tensor([[5, 6, 7]]), torch.tensor([[1, 1, 1]])) for v in VIEWS}
    padded = {v: (torch.tensor([[5, 6, 7, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]])) for v in VIEWS}
    images = {view: pixels(i, 1) for i, view in enumerate(VIEWS)}
    with torch.no_grad():
        for view, value in encoder(images, short).items():
            torch.testing.assert_close(value, encoder(images, padded)[view], atol=1e-5, rtol=0)


def test_one_image_encoder_one_copy():
    base = tiny_base()
    encoder = MultiViewEncoder(base, SMALL)
    assert encoder.vision is base.vision_model
    assert encoder.qformers["all"] is base.qformer
    vision = [p for p in encoder.parameters() if any(p is q for q in base.vision_model.parameters())]
    assert not any(p.requires_grad for p in vision)


@pytest.mark.parametrize("train", [("qformer",), ("queries",), ("qformer", "queries", "projection")])
def test_trainable_set_by_config(train):
    encoder = MultiViewEncoder(tiny_base(), dataclasses.replace(SMALL, train=train))
    names = encoder.set_trainable()
    prefixes = {"qformer": "qformers", "queries": "queries", "projection": "projections"}
    assert {name.split(".")[0] for name in names} == {prefixes[t] for t in train}


def test_views_part_ways_when_trained():
    encoder = MultiViewEncoder(tiny_base(), SMALL)
    with torch.no_grad():
        encoder.queries["face"].normal_()
        images = {view: pixels(0, 1) for view in VIEWS}
        tokens = encoder.eval()(images)
    torch.testing.assert_close(tokens["scene"], tokens["body"])
    assert not torch.allclose(tokens["scene"], tokens["face"])


def people():
    return [
        Person("p1", 0.9, Box(10, 20, 60, 90), Face(Box(25, 25, 20, 20), 0.9)),
        Person("p2", 0.9, Box(80, 10, 50, 100), None),
        Person("p3", 0.9, None, Face(Box(5, 5, 12, 12), 0.9)),
    ]


def frame(h=120, w=160):
    return np.full((h, w, 3), 90, np.uint8)


def test_scene_once_a_frame_and_every_crop_in_one_pass(monkeypatch):
    base = tiny_base()
    encoder = MultiViewEncoder(base, SMALL).eval()
    batch = view_batch(frame(), people(), SMALL)
    assert batch.rows.tolist() == [[0, 0, 0], [0, 1, -1], [0, -1, 1]]
    calls = []
    original = base.vision_model.forward
    monkeypatch.setattr(base.vision_model, "forward", lambda **k: calls.append(len(k["pixel_values"])) or original(**k))
    encoder({view: torch.tensor(value) for view, value in batch.pixels.items()})
    assert calls == [1 + 2 + 2]
    each = view_batch(frame(), people(), dataclasses.replace(SMALL, scene_box="target"))
    assert len(each.pixels["scene"]) == 3


@pytest.mark.parametrize("shape", [(480, 640), (1080, 1920), (60, 45), (224, 224), (97, 1031)])
def test_pixels_are_blips(shape):
    """Of noise, the hardest picture for a filter: equal to BLIP's own processor to one grey level."""
    processor = pytest.importorskip("transformers.models.blip.image_processing_pil_blip").BlipImageProcessorPil
    picture = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    ours = view_batch(picture, [Person("p", 1, None, None)], EncoderConfig()).pixels["scene"][0]
    theirs = processor(size={"height": 224, "width": 224})(picture[:, :, ::-1], return_tensors="np")["pixel_values"][0]
    assert ours.shape == (3, 224, 224)
    level = 1 / 255 / 0.26
    assert np.abs(ours - theirs).max() <= level


def test_gather_and_pool():
    encoder = MultiViewEncoder(tiny_base(), dataclasses.replace(SMALL, pool="flatten", feature="projected"))
    batch = view_batch(frame(), people(), SMALL)
    with torch.no_grad():
        pooled = encoder.pool(encoder.eval()({v: torch.tensor(p) for v, p in batch.pixels.items()}))
    found = gather(pooled, torch.tensor(batch.rows), VIEWS)
    assert found.shape == (3, 3, encoder.feature_size)
    assert found[1, 2].abs().sum() == 0
    torch.testing.assert_close(found[2, 2], pooled["face"][1])


def test_wrong_sizes_are_refused():
    with pytest.raises(ModelError, match="image_size is 28"):
        MultiViewEncoder(tiny_base(), EncoderConfig())
    encoder = MultiViewEncoder(tiny_base(), SMALL)
    with pytest.raises(ModelError, match=r"expected \(n, 3, 28, 28\)"):
        encoder({"scene": pixels(0, 1, 42)})


def test_base_with_missing_weights_is_refused_by_name(tmp_path):
    from safetensors.torch import load_file, save_file

    tiny_base().save_pretrained(tmp_path)
    loaded = checkpoint.load_base(tmp_path)
    torch.testing.assert_close(loaded.query_tokens, tiny_base().query_tokens)
    weights = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in weights if "qformer" in name and "crossattention" in name)
    del weights[gone]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights are missing \(.*crossattention"):
        checkpoint.load_base(tmp_path)
    with pytest.raises(ModelError, match="instructblip-vicuna-7b"):
        checkpoint.load_base(tmp_path / "nowhere")


def test_encoder_round_trip_and_its_refusals(tmp_path):
    config = dataclasses.replace(SMALL, qformer_sharing="body_face")
    encoder = MultiViewEncoder(tiny_base(), config).eval()
    with torch.no_grad():
        for parameter in encoder.queries.values():
            parameter.add_(torch.randn_like(parameter))
    checkpoint.save_encoder(tmp_path, encoder, base="tiny")
    again = checkpoint.load_encoder(tmp_path, tiny_base())
    assert again.config == config
    images = {view: pixels(i, 1) for i, view in enumerate(VIEWS)}
    with torch.no_grad():
        for view, value in encoder(images).items():
            assert torch.equal(value, again(images)[view])
    card = json.loads((tmp_path / "encoder.json").read_text())
    other = {**card, "config": {**card["config"], "qformer_sharing": "none"}}
    (tmp_path / "encoder.json").write_text(json.dumps(other))
    with pytest.raises(ModelError, match=r"missing qformers\.body\..*unexpected qformers\.body_face"):
        checkpoint.load_encoder(tmp_path, tiny_base())
    (tmp_path / "encoder.json").write_text(json.dumps({**card, "sha256": "0" * 64}))
    with pytest.raises(ModelError, match="sha256 expected 000"):
        checkpoint.load_encoder(tmp_path, tiny_base())
