"""Language models of text alone: the same one pass, a short wording, no pictures, from corpus to face without FLAME."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("accelerate")

from tinyworld import PICTURE, separately, tiny

from emo_face.cli.main import main
from emo_face.core.errors import ConfigError, ModelError, UserError
from emo_face.core.types import Box, Speech
from emo_face.export import contextface_int8
from emo_face.export.contextface_int8 import shrink
from emo_face.expression.contextface import checkpoint
from emo_face.expression.contextface import prompts as p
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.engine import Engine
from emo_face.expression.contextface.exported.engine import prompt_feed
from emo_face.expression.contextface.model import build_model
from emo_face.expression.contextface.tokens import TokenBuilder
from emo_face.expression.contextface.vision import NoEyes
from emo_face.expression.model import Context
from emo_face.runtime import weights
from emo_face.runtime.engines.ort import OrtEngine
from emo_face.training.common.recipes import read_recipe
from emo_face.training.contextface.data import ContextFaceCollator
from emo_face.training.contextface.export import export_prefill
from emo_face.training.contextface.recipe import TaskRecipe
from fixtures import tiny_contextface as source

STYLES = [("paper", "auto"), ("short", "auto"), ("short", "chatml"), ("short", "plain")]


def world(style="short", chat="chatml", **config):
    return tiny("llama", ContextFaceConfig(style=style, chat=chat, **config), tied=True)


@pytest.mark.parametrize(("style", "chat"), STYLES)
def test_one_pass_equals_separate_passes(style, chat):
    small = world(style, chat)
    answer = small.onepass().answer("We won!", perspective="listener")
    log_probs, faces = separately(small, "We won!", perspective="listener")
    np.testing.assert_allclose(answer.log_probs, log_probs, atol=2e-5, rtol=1e-6)
    np.testing.assert_allclose(answer.faces, faces, atol=2e-5)
    assert np.ptp(answer.faces, axis=0).max() > 1e-3


@pytest.mark.parametrize(("style", "chat"), STYLES)
def test_training_and_use_see_the_same_tokens(style, chat):
    small = world(style, chat)
    question = p.expression_question("oh dear", style=style)
    turn = p.Turn(question, p.expression_answer("quote", "Sad", style))
    whole = small.builder.dialogue([turn])
    prompt, branches = small.onepass().endings(question, "quote")
    used = (*prompt, *branches[p.words().index("Sad")])
    assert whole.ids[: len(used)] == used
    if style == "short":
        # the word, <FACE> and the end: little is read and little is said
        assert sum(whole.learned) == len(small.builder.body(small.builder.opening((p.Piece("text", "Sad"),)))) + 2
    text = small.tokenizer.decode(whole.ids)
    assert ("helpful AI assistant" in text) == (chat == "auto"), "chatml leaves the template's own system prompt out"


def test_a_picture_is_refused_not_left_out_in_silence():
    small = world("paper", "auto")
    with pytest.raises(UserError, match="reads text alone"):
        small.builder.prompt(p.expression_question("oh", image=True))
    with pytest.raises(UserError, match="reads text alone"):
        Engine(small.model.eval(), small.builder, small.eyes).answer("oh", "", PICTURE, Box(1, 1, 9, 9), exact=True)
    with pytest.raises(ValueError, match="style short: has no picture"):
        p.expression_question("oh", image=True, style="short")
    with pytest.raises(ConfigError, match="style: expected one of paper, short"):
        ContextFaceConfig(style="long")


def test_from_the_corpus_to_a_face(tmp_path, capsys):
    """The user's own commands: moments, their faces by rule, training, a sentence; then the node's backend."""
    tokenizer = source.tiny_tokenizer("llama", tuple(p.words()))
    backbone = tmp_path / "backbone"
    source.tiny_base("llama", tokenizer, tied=True).save_pretrained(backbone)
    tokenizer.save_pretrained(backbone)
    moments, faces, out = tmp_path / "moments.jsonl", tmp_path / "faces.npz", tmp_path / "run"
    assert main(["data", "contexts", "--count", "42", "--to", str(moments)]) == 0
    facs = ["data", "targets", "--records", str(moments), "--tool", "facs", "--basis", "arkit-52"]
    assert main([*facs, "--to", str(faces)]) == 0
    words = ["--backbone", backbone, "--contexts", moments, "--targets", faces, "--out", out, "--pictures", "text"]
    words += ["--style", "short", "--chat", "chatml", "--face-basis", "arkit-52", "--epochs", 1, "--device", "cpu"]
    words += ["--ratios", "0,1,0", "--lora-targets", "q_proj,v_proj,down_proj", "--batch-size", 8]
    assert main(["train", "contextface", *map(str, words)]) == 0
    capsys.readouterr()
    assert (
        main(["say", "--tier", "full", "--model", str(out / "best"), "We won!", "--perspective", "listener", "--json"])
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert len(said["face"]["expression"]) == 52
    assert said["face_basis"] == "arkit-52"
    from emo_face.expression.contextface.backend import ContextFaceExpression
    from emo_face.expression.contextface.engine import EngineSettings, load_engine

    engine = load_engine(EngineSettings(out / "best"))
    assert engine.model.config.conditions == (
        "quote",
        "situation",
        "situation+quote",
        "listener/quote",
        "listener/situation",
        "listener/situation+quote",
    )
    target = ContextFaceExpression(engine).express(Context(1.0, speech=Speech("We won!", 1.0)), 1.0)
    assert (target.basis, target.source) == ("arkit-52", "contextface")
    assert target.keyframes[0].coefficients.shape == (52,)


def examples(small, quotes):
    """Examples of different length, each with a face."""
    style = small.model.config.style
    for number, quote in enumerate(quotes):
        turn = p.Turn(p.expression_question(quote, style=style), p.expression_answer("quote", p.words()[number], style))
        face = p.FaceTarget(np.full(52, number / 10), basis="arkit-52")
        yield p.Example(f"e{number}", "expression", (turn,), target=face)


def test_packed_dialogues_are_those_side_by_side():
    """One row without padding: the same loss, the same faces, the same gradients."""
    small = world(chat="plain", face_basis="arkit-52", lora_dropout=0.0)
    rows = list(examples(small, ["oh dear", "We won the whole long match yesterday!", "I", "it is on the shelf"]))
    seen = []
    for packed in (False, True):
        collate = ContextFaceCollator(small.builder, small.eyes, small.model.config, packed)
        batch = collate(rows).to("cpu")
        assert (batch.input_ids.shape[0] == 1) == packed
        output = small.model(batch)
        small.model.zero_grad()
        (output.text_loss + (output.faces - batch.targets).square().mean()).backward()
        grads = {n: q.grad.clone() for n, q in small.model.named_parameters() if q.grad is not None}
        seen.append((output.text_loss.detach(), output.faces.detach(), grads))
    assert (batch.input_ids.numel(), batch.attention_mask.shape[:2]) == (batch.labels.numel(), (1, 1))
    torch.testing.assert_close(seen[0][:2], seen[1][:2], atol=2e-6, rtol=1e-5)
    assert seen[0][2].keys() == seen[1][2].keys()
    for name, grad in seen[0][2].items():
        torch.testing.assert_close(grad, seen[1][2][name], atol=2e-6, rtol=1e-4)


def test_layers_below_the_first_that_learns_are_left_alone(tmp_path):
    """No adapter and no gradient below it; the token's row is learned as an answer; it reloads as any other."""
    config = ContextFaceConfig(style="short", chat="plain", face_basis="arkit-52", lora_from=1)
    small = tiny("llama", config, tied=True)
    layers = {n.split("layers.")[1].split(".")[0] for n, _ in small.model.named_parameters() if "lora_" in n}
    assert layers == {"1"}
    tokenizer = source.tiny_tokenizer("llama", tuple(p.words()))
    model = build_model(source.tiny_base("llama", tokenizer, tied=True), tokenizer, config)
    rows = list(examples(small, ["oh dear", "We won!"]))
    builder = TokenBuilder(tokenizer, "llama", model.image_id, 0, config.chat)
    output = model(ContextFaceCollator(builder, small.eyes, config, packed=True)(rows))
    lowest = model.base.get_decoder().layers[0].self_attn.q_proj.weight.requires_grad_(True)
    (output.text_loss + output.faces.sum()).backward()
    assert lowest.grad is None
    rows_grad = [q.grad for n, q in model.named_parameters() if "trainable_tokens" in n and q.grad is not None]
    assert rows_grad
    assert max(float(g.abs().max()) for g in rows_grad) > 0
    lowest.requires_grad_(False)
    folder = checkpoint.save_model(tmp_path / "m", model, "b")
    again = checkpoint.load_model(folder, source.tiny_base("llama", tokenizer, tied=True), tokenizer)
    assert again.config == config


def test_half_precision_answers_alike(tmp_path):
    """What is shipped is half as large, names its backbone, and a changed file of the original is refused."""
    config = ContextFaceConfig(style="short", chat="plain", face_basis="arkit-52")
    tokenizer = source.tiny_tokenizer("llama", tuple(p.words()))
    model = build_model(source.tiny_base("llama", tokenizer, tied=True), tokenizer, config)
    folder = checkpoint.save_model(tmp_path / "whole", model, "/somewhere/else")
    checkpoint.halved(folder, tmp_path / "half", "smollm2")
    card = checkpoint.read_card(tmp_path / "half")
    assert (card["backbone"], card["config"]) == ("smollm2", checkpoint.read_card(folder)["config"])
    sizes = [(place / checkpoint.HEAD).stat().st_size for place in (folder, tmp_path / "half")]
    assert sizes[1] < 0.6 * sizes[0]
    answers = []
    for place in (folder, tmp_path / "half"):
        model = checkpoint.load_model(place, source.tiny_base("llama", tokenizer, tied=True), tokenizer)
        builder = TokenBuilder(tokenizer, "llama", model.image_id, 0, config.chat)
        answers.append(Engine(model, builder, NoEyes()).answer("We won!"))
    np.testing.assert_allclose(answers[0].probabilities, answers[1].probabilities, atol=2e-3)
    np.testing.assert_allclose(answers[0].faces, answers[1].faces, atol=5e-3)
    (folder / checkpoint.HEAD).write_bytes(b"changed")
    with pytest.raises(ModelError, match=r"head\.safetensors"):
        checkpoint.halved(folder, tmp_path / "half")


def test_a_graph_in_8_bits_is_kept_only_if_its_answers_stay(tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    small = world(face_basis="arkit-52", chat="plain")
    onepass, path = small.onepass(), tmp_path / "prefill.onnx"
    asked = [onepass.endings(p.expression_question(f"line {n}", style="short"), "quote") for n in range(100)]
    export_prefill(small.model.eval(), asked[0][1], 32, path)
    whole, prompts = path.read_bytes(), [prompt for prompt, _ in asked]
    with pytest.raises(UserError, match="99 quotes to compare answers by, at least 100"):
        shrink(path, prompts[1:], small.model.config)
    monkeypatch.setattr(contextface_int8, "MAX_CHANGED", -1.0)
    with pytest.raises(UserError, match=r"in 8 bits \d+\.\d% of 100 answers change"):
        shrink(path, prompts, small.model.config)
    assert path.read_bytes() == whole
    monkeypatch.setattr(contextface_int8, "MAX_CHANGED", 1.0)
    before = OrtEngine(path).run(prompt_feed(prompts[3], 32))
    beside = tmp_path / "prefill.onnx.data"  # the weights of a large one, before and after
    monkeypatch.setattr(contextface_int8, "ONE_FILE", 0)
    shrink(path, prompts, small.model.config)
    after = OrtEngine(path).run(prompt_feed(prompts[3], 32))
    assert len(path.read_bytes()) + len(beside.read_bytes()) < len(whole)
    for a, b in zip(before, after, strict=True):
        assert 0 < np.abs(a - b).max() < 0.1
    monkeypatch.setattr(contextface_int8, "ONE_FILE", 1e9)
    shrink(path, prompts, small.model.config)
    assert [file.name for file in tmp_path.iterdir()] == ["prefill.onnx"], "no weights that nothing reads"
    np.testing.assert_array_equal(after[0], OrtEngine(path).run(prompt_feed(prompts[3], 32))[0])


def test_what_ships_and_what_is_kept_are_found_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert weights.backbone_folder("smollm2") == tmp_path / "emo_face" / "backbones" / "smollm2"
    assert weights.model_folder("no_such_thing") == Path("no_such_thing")
    (tmp_path / "smollm2").mkdir()
    assert weights.backbone_folder("smollm2") == Path("smollm2"), "a folder that is here comes first"
    (tmp_path / "smollm2").rmdir()
    with pytest.raises(ModelError, match=r"backbone smollm2: no such folder; .*: emo-face models backbone smollm2$"):
        checkpoint.load_backbone("smollm2")
    with pytest.raises(ModelError, match="backbone gone: no such folder; correct the path, or take one that is known"):
        checkpoint.load_backbone("gone")
    with pytest.raises(ModelError, match=r"gone: no such folder, and no model of that name ships .*smollm2_face"):
        checkpoint.read_card(weights.model_folder("gone"))
    assert main(["models", "backbone"]) == 2
    assert "give the NAME of a known one, or --gguf FILE and --to DIR" in capsys.readouterr().err
    assert main(["models", "backbone", "gone"]) == 2
    assert "gone" in capsys.readouterr().err


def test_the_recipe_of_the_small_model_asks_in_words_alone():
    recipe = read_recipe(TaskRecipe, "contextface_text")
    shares = recipe.shares({f"expression/{name}": [0] for name in recipe.conditions})
    assert "image" not in " ".join(recipe.conditions)
    assert shares["expression/quote"] == pytest.approx(5 / 6)
