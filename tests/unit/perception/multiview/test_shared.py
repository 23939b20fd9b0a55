"""Scores and answers beside each other: one image encoder in memory, and neither changes the other."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from emo_face.core.errors import ModelError, UserError
from emo_face.core.types import Box, Face, Person
from emo_face.perception.multiview import ask, checkpoint, head_file, model, shared
from emo_face.perception.multiview.config import FusionConfig
from emo_face.perception.multiview.fingerprint import fingerprint
from emo_face.perception.multiview.fusion_head import FusionHead
from emo_face.perception.multiview.vlm import MultiViewVLM
from emo_face.runtime.engines.base import OutOfMemory
from emo_face.runtime.engines.torch_module import TorchEngine

QUESTION = "What does the person feel?"
PERSON = Person("p1", 0.9, Box(10, 20, 60, 90), Face(Box(25, 25, 20, 20), 0.9))


@pytest.fixture(scope="module")
def folders(world, tmp_path_factory):
    """``base``, ``model`` and its Stage 1 ``s1``, and ``other``: a Stage 1 that went on from there."""
    root = tmp_path_factory.mktemp("shared")
    base = world.vlm().base
    base.save_pretrained(root / "base")
    world.tokenizer.save_pretrained(root / "base")
    for name, seed in (("s1", 5), ("other", 6)):
        encoder = world.vlm().encoder
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in (*encoder.qformers.parameters(), *encoder.projections.parameters()):
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        checkpoint.save_encoder(root / name, encoder)
    checkpoint.save_encoder(root / "model", checkpoint.load_encoder(root / "s1", checkpoint.load_base(root / "base")))
    torch.manual_seed(1)
    fusion = FusionConfig("emotic26", in_features=32, width=16)
    known = fingerprint(root / "model", root / "base")
    head_file.save(
        root / "model",
        FusionHead(fusion),
        head_file.HeadCard(fusion, np.full(26, 0.5), np.ones(26), np.zeros(26), known),
    )
    return root


@pytest.fixture(scope="module")
def frame():
    return np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)


def held(*modules):
    """Bytes of all distinct tensors of some modules."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for m in modules for t in m.parameters()}
    return sum(storages.values())


def size(parameters):
    return sum(p.numel() * p.element_size() for p in parameters)


@pytest.mark.parametrize("stage1", ["s1", "other", ""])
def test_one_image_encoder_and_nobodys_weights_change(folders, frame, stage1):
    tuned = folders / stage1 if stage1 else None
    emotion, asker = shared.load(folders / "model", folders / "base", tuned)
    scoring, answering = emotion._encoder._engine._module.encoder, asker.vlm
    assert scoring.vision is answering.encoder.vision is answering.base.vision_model
    assert (scoring is answering.encoder) == (stage1 == "s1")
    alone = checkpoint.load_base(folders / "base")
    views = size([*scoring.queries.parameters(), *scoring.projections.parameters()])
    expected = size(alone.parameters()) + views
    if stage1 != "s1":
        expected += size(alone.qformer.parameters()) + views  # other values, so they must exist
    assert held(scoring, answering) == expected

    own = model.load(folders / "model", folders / "base").estimate(frame, [PERSON], {}, 0.0)[0]
    before = "".join(asker.ask(frame, PERSON, QUESTION, max_new_tokens=8))
    found = emotion.estimate(frame, [PERSON], {}, 0.0)[0]
    np.testing.assert_allclose(found.probabilities, own.probabilities, atol=1e-6)
    assert before == "".join(ask.load(folders / "base", tuned).ask(frame, PERSON, QUESTION, max_new_tokens=8))


def test_in_the_precision_of_a_gpu(folders, frame, monkeypatch):
    """The same code in bfloat16, on the CPU: no layer is handed the other's type."""
    monkeypatch.setattr(shared, "precision", lambda device: "bfloat16")
    emotion, asker = shared.load(folders / "model", folders / "base", folders / "other")
    exact = model.load(folders / "model", folders / "base").estimate(frame, [PERSON], {}, 0.0)[0]
    found = emotion.estimate(frame, [PERSON], {}, 0.0)[0]
    np.testing.assert_allclose(found.probabilities, exact.probabilities, atol=0.03)
    assert "".join(asker.ask(frame, PERSON, QUESTION, max_new_tokens=4))


def test_a_shared_encoder_stays_on_the_full_gpu(folders, frame, monkeypatch):
    emotion, _ = shared.load(folders / "model", folders / "base", folders / "s1", "cpu:0")

    def full(engine, feeds):
        raise OutOfMemory("full")

    monkeypatch.setattr(TorchEngine, "run", full)
    with pytest.raises(ModelError, match=r"turn multiview\.ask off"):
        emotion.estimate(frame, [PERSON], {}, 0.0)


def test_tokenizers_that_are_not_the_checkpoints_are_refused(world, folders, tmp_path):
    import shutil

    from fixtures.tiny_encoders import word_tokenizer

    base = shutil.copytree(folders / "base", tmp_path / "base")
    for file in base.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match=r"tokenizer is missing or another model's|does not load"):
        ask.load_tokenizers(base)
    word_tokenizer([f"w{i}" for i in range(world.vocabulary + 50)]).save_pretrained(base / "qformer_tokenizer")
    world.tokenizer.save_pretrained(base)
    with pytest.raises(ModelError, match="qformer_tokenizer is missing or another model's"):
        ask.load_tokenizers(base)


def test_another_checkpoint_is_refused(world, folders, tmp_path):
    world.vlm(seed=3).base.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="another image encoder"):
        shared.load(folders / "model", tmp_path, folders / "s1")


def test_a_device_that_is_not_there_or_too_small_is_named(folders, capsys, tmp_path, frame, monkeypatch):
    import cv2

    from emo_face.cli import main as cli
    from emo_face.runtime.engines.place import place

    cv2.imwrite(str(tmp_path / "i.png"), frame)
    asked = ["look", str(tmp_path / "i.png"), "--base", str(folders / "base"), "--box", "10,20,60,90", "--ask", "Why?"]
    assert cli.main([*asked, "--device", "cuda:99"]) == 2
    assert "device 'cuda:99': " in capsys.readouterr().err
    assert cli.main([*asked, "--device", "toaster"]) == 2
    assert "expected cpu, or cuda" in capsys.readouterr().err

    class Full(torch.nn.Linear):
        def to(self, device):
            raise torch.cuda.OutOfMemoryError("full")

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**33))
    with pytest.raises(ModelError, match=r"the model is 4\.0 GB, .* has 1\.1 GB left"):
        place(Full(100_000, 10_000, device="meta"), "cuda")


def test_a_model_that_says_nothing_is_an_error_and_so_is_a_person_without_a_view(folders, capsys, tmp_path, frame):
    import cv2
    from safetensors.torch import load_file, save_file

    from emo_face.cli import main as cli

    mute = tmp_path / "mute"
    shutil.copytree(folders / "base", mute)
    state = load_file(str(mute / "model.safetensors"))
    head = next(name for name in state if name.endswith("lm_head.weight"))
    norm = next(name for name in state if name.endswith("model.norm.weight"))
    state[head] = torch.zeros_like(state[head])
    state[norm] = torch.zeros_like(state[norm])
    save_file(
        state, str(mute / "model.safetensors"), metadata={"format": "pt"}
    )  # all words alike: the first is the pad
    cv2.imwrite(str(tmp_path / "i.png"), frame)
    asked = ["look", str(tmp_path / "i.png"), "--base", str(mute), "--ask", "Why?", "--max-tokens", "4", "--box"]
    assert cli.main([*asked, "10,20,60,90"]) == 2
    assert "the model answered nothing; ask otherwise" in capsys.readouterr().err
    config = dataclasses.replace(ask.load(mute).vlm.config, views=("body", "face"))
    vlm = MultiViewVLM(checkpoint.load_base(mute), config)
    asker = ask.Asker(vlm, *ask.load_tokenizers(mute))
    with pytest.raises(UserError, match="no view can be cut; give a box that meets the image"):
        list(asker.ask(frame, Person("p", 1.0, Box(500, 500, 10, 10), None), "Why?"))
