"""Language models of text alone: the same one pass, a short wording, no pictures, from corpus to face without FLAME."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("accelerate")

from tinyworld import PICTURE, separately, tiny

from emo_face.cli.main import main
from emo_face.core.errors import ConfigError, UserError
from emo_face.core.types import Box, Speech
from emo_face.expression.contextface import prompts as p
from emo_face.expression.contextface import tiny as source
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.engine import Engine
from emo_face.expression.model import Context

STYLES = [("paper", "auto"), ("short", "auto"), ("short", "chatml"), ("short", "llama2")]


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


def test_a_gguf_that_is_none_is_one_line(tmp_path, capsys):
    assert main(["models", "backbone", "--gguf", str(tmp_path / "x.gguf"), "--to", str(tmp_path / "to")]) == 2
    assert "no such file; expected a GGUF" in capsys.readouterr().err
    (tmp_path / "x.gguf").write_bytes(b"GGUF but not really")
    assert main(["models", "backbone", "--gguf", str(tmp_path / "x.gguf"), "--to", str(tmp_path / "to")]) == 2
    assert "does not load as a causal language model" in capsys.readouterr().err
    assert not (tmp_path / "to" / "config.json").exists()
