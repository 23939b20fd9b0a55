"""SmolVLM as the eyes and for words: the library's own numbers, the usual steps and an answer, on a tiny model."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from emo_face.cli import main as cli
from emo_face.core.errors import ConfigError, ModelError, UserError
from emo_face.core.types import Box, Face, Person
from emo_face.datasets.views import person_of
from emo_face.perception.multiview import ask, checkpoint, fingerprint, model
from emo_face.perception.multiview.config import EncoderConfig
from emo_face.perception.multiview.encoders import FAMILIES, family_of, load_eyes
from emo_face.perception.multiview.words.chat import ChatAsker
from fixtures.tiny_encoders import save_tiny_smolvlm, tiny_siglip

CONFIG = EncoderConfig(kind="smolvlm", image_size=28, mean=(0.5,) * 3, std=(0.5,) * 3, resample="lanczos")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smolvlm")
    save_tiny_smolvlm(folder)
    return folder


@pytest.mark.parametrize(("size", "patch"), [(28, 14), (54, 2)])
def test_features_are_the_library_s(tmp_path, size, patch):
    """27 patches per side, as those of the 2.2B checkpoint are: a position falls into another bucket than its own."""
    tower = save_tiny_smolvlm(tmp_path, image_size=size, patch=patch).model.vision_model
    config = EncoderConfig(kind="smolvlm", image_size=size)
    encoder = FAMILIES["smolvlm"].build(load_eyes(tmp_path, config), config).eval()
    pixels = torch.randn(2, 3, size, size)
    with torch.no_grad():
        found = encoder.pool(encoder({"scene": pixels[:1], "body": pixels, "face": pixels[:0]}))
        wanted = tower(pixel_values=pixels).last_hidden_state.mean(1)
    torch.testing.assert_close(found["body"], wanted)
    torch.testing.assert_close(found["scene"], wanted[:1])
    assert set(found) == {"scene", "body"}


def test_the_usual_steps_train_and_export_it(world, base, tmp_path, capsys):
    import cv2

    records = ("--records", str(world.root / "records.jsonl"))
    common = ("--base", str(base), "--images", str(world.root), "--device", "cpu", *records)
    learning = ("--epochs", "1", "--batch-size", "8", "--learning-rate", "1e-2", "--lora-rank", "2")
    best, features, made = (str(tmp_path / name) for name in ("s1/best", "features", "model"))
    train = ("train", "multiview")
    for step in (
        (*train, "adapt", *common, "--out", str(tmp_path / "s1"), *learning),
        (*train, "cache", *common, "--encoder", best, "--out", features),
        (
            *train,
            "stage2",
            *records,
            "--cache",
            features,
            "--encoder",
            best,
            "--out",
            made,
            "--epochs",
            "1",
            "--width",
            "16",
        ),
        (
            "export",
            "multiview",
            "--base",
            str(base),
            "--model",
            made,
            "--out",
            str(tmp_path / "export"),
            "--batches",
            "2",
        ),
    ):
        assert cli.main(list(step)) == 0
    assert "Apache-2.0" in capsys.readouterr().out
    frame = cv2.imread(str(world.root / world.records[0].image))
    people = [person_of(world.records[0])]
    ours, exported = model.load(tmp_path / "model", base, tier="medium"), model.load(tmp_path / "export", tier="medium")
    a, b = (one.estimate(frame, people, {}, 0.0)[0].probabilities for one in (ours, exported))
    np.testing.assert_allclose(a, b, atol=1e-5)
    config = checkpoint.config_of_card(tmp_path / "model")
    assert (config.kind, config.resample, config.mean) == ("smolvlm", "lanczos", (0.5,) * 3)
    other = tmp_path / "other"
    save_tiny_smolvlm(other, seed=1)
    assert fingerprint.vision_key(other) != fingerprint.vision_key(base)
    with pytest.raises(ModelError, match="the head was trained on another image encoder"):
        model.load(tmp_path / "model", other)


def test_it_answers_about_a_person(base, tmp_path, capsys, monkeypatch):
    import cv2

    frame = np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), frame)
    words = ["look", str(tmp_path / "a.png"), "--ask", "Why?", "--base", str(base), "--max-tokens", "6", "--json"]
    assert cli.main([*words, "--box", "10,20,30,40", "--face", "15,25,10,10"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"]
    asker = ask.load(base)
    assert isinstance(asker, ChatAsker)
    given, generate = [], asker.model.generate
    monkeypatch.setattr(asker.model, "generate", lambda **inputs: given.append(inputs) or generate(**inputs))
    person = Person("p", 1.0, Box(10, 20, 30, 40), Face(Box(15, 25, 10, 10), 1.0))
    said = "".join(asker.ask(frame, person, "Why?", max_new_tokens=6))
    whole = generate(**{k: v for k, v in given[0].items() if k not in ("streamer", "stopping_criteria")})
    prompt = given[0]["input_ids"].shape[1]
    assert said == asker.processor.decode(whole[0, prompt:], skip_special_tokens=True)
    assert given[0]["pixel_values"].shape[:2] == (1, 3)  # scene, body, face: a tile each
    "".join(asker.ask(frame, Person("p", 1.0, Box(10, 20, 30, 40), None), "Why?", max_new_tokens=6))
    assert given[1]["pixel_values"].shape[:2] == (1, 2)
    with pytest.raises(UserError, match="question: is empty"):
        next(asker.ask(frame, person, " "))


def test_what_does_not_fit_is_refused(base, tmp_path):
    assert family_of(base) is FAMILIES["smolvlm"]
    with pytest.raises(ConfigError, match="pool: expected 'mean' for smolvlm, got 'cls_query'"):
        EncoderConfig(kind="smolvlm", pool="cls_query")
    with pytest.raises(ModelError, match=r"a Stage-1 encoder is InstructBLIP's, .* is idefics3; leave it out"):
        ask.load(base, tmp_path)
    tiny_siglip().save_pretrained(tmp_path / "siglip")
    with pytest.raises(ModelError, match="does not load as an image-text model"):
        ask.load(tmp_path / "siglip")
