"""ONNX graphs agree with what they came from."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

import cv2
import tinyworld
from tinyworld import PICTURE, tiny

from emo_face.cli.main import main
from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.errors import ModelError, UserError
from emo_face.core.types import Box
from emo_face.expression.contextface.checkpoint import save_model
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.engine import Engine
from emo_face.expression.contextface.exported.engine import is_exported, load_exported
from emo_face.expression.contextface.exported.table import write_card
from emo_face.expression.contextface.model import build_model, merged
from emo_face.expression.contextface.prompts import branch_parts, expression_question, words
from emo_face.face.expressions.basis import open_basis
from emo_face.runtime.engines.select import Engines
from emo_face.training.contextface import export
from fixtures import tiny_contextface as source


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_face_head_at_any_batch(tmp_path):
    model = tiny().model
    assert export.export_head(model, tmp_path / "head.onnx").worst < 1e-5
    for count in (1, 7):
        states = np.random.default_rng(count).normal(0, 2, (count, 32)).astype(np.float32)
        (got,) = session(tmp_path / "head.onnx").run(None, {"state": states})
        np.testing.assert_allclose(got, model.head(torch.tensor(states)).detach().numpy(), atol=1e-5)
    assert '"jaw"' in (tmp_path / "head.json").read_text()


def test_arkit_map_finds_what_the_exact_solver_finds(tmp_path):
    basis = open_basis()
    assert export.export_arkit(basis, tmp_path / "arkit.onnx").worst < 0.01
    code = basis.encode(np.eye(52)[ARKIT_INDEX["jawOpen"]])
    rows = np.stack([code.stacked(), 3 * code.stacked()]).astype(np.float32)  # the second is out of reach: bounds hold
    (got,) = session(tmp_path / "arkit.onnx").run(None, {"code": rows})
    assert got[0, ARKIT_INDEX["jawOpen"]] == pytest.approx(1.0, abs=0.02)
    assert got.min() >= 0
    assert got.max() <= 1
    (zero,) = session(tmp_path / "arkit.onnx").run(None, {"code": np.zeros((1, 107), np.float32)})
    assert np.abs(zero).max() == 0


def ends_of(world):
    ends = [[*world.builder.body(w), *world.builder.body(t)] for _, w, t in (branch_parts("quote", w) for w in words())]
    return [end[: end.index(world.model.face_id) + 1] for end in ends]


def same(got, wanted):
    assert got.words == wanted.words
    for name in ("log_probs", "faces", "probabilities"):
        np.testing.assert_allclose(getattr(got, name), getattr(wanted, name), atol=1e-4)


SAY = ["say", "--tier", "full", "--model"]
QUOTES = ("I can't believe it", "no", "what <FACE> a </s> day \u2014 \U0001f600", "so " * 30)


@pytest.mark.parametrize("family", ["smolvlm", "llava"])
def test_words_are_answered_as_torch_does(tmp_path, family, capsys):
    world = tiny(family)
    model = merged(world.model)
    export.export_prefill(model, ends_of(world), 160, tmp_path / "prefill.onnx")
    write_card(tmp_path, world.builder, model.config, 160, None, "none")
    engine, served = Engine(model, world.builder, world.eyes), load_exported(tmp_path, Engines("cpu"))
    for quote in QUOTES:
        answer = served.answer(quote, perspective="listener")
        same(answer, engine.answer(quote, perspective="listener"))
        prompt, _ = engine.onepass.endings(expression_question(quote, perspective="listener"), "quote")
        assert answer.tokens == len(prompt)  # nothing is padded: it costs what is said
    same(served.answer("oh", "They lost."), engine.answer("oh", "They lost."))
    same(served.answer("oh", image=PICTURE, box=Box(9, 9, 50, 60)), engine.answer("oh"))  # these graphs are blind
    assert not any(name.startswith("image") for name in served.config.conditions)
    with pytest.raises(UserError, match=r"prompt: \d+ tokens, the graph takes 160; say less"):
        served.answer("\u4f60" * 300)
    with pytest.raises(UserError, match="no words of its own"):
        served.ask("Why?")
    assert main([*SAY, str(tmp_path), "oh", "--device", "cuda:1"]) == 2
    assert "graphs take no --backbone or --quantisation, and a --device of auto, cpu" in capsys.readouterr().err
    cv2.imwrite(str(tmp_path / "p.png"), PICTURE)
    assert main([*SAY, str(tmp_path), "--json", "oh", "--image", str(tmp_path / "p.png")]) == 0
    said, told = capsys.readouterr()
    assert "did not learn image+quote: it was asked quote" in told, "a picture is not left out in silence"
    said = json.loads(said)
    assert list(said["probabilities"].values()) == pytest.approx(served.answer("oh").probabilities.tolist(), abs=1e-6)


def test_half_precision_answers_within_two_percent(tmp_path):
    import onnx

    world = tiny("llava")
    model = merged(world.model)
    pixels = world.eyes.tensors([world.eyes.fitted(PICTURE)])["pixel_values"]
    seen, example = export.export_vision(model, pixels, tmp_path / "vision.onnx", "fp16")
    said = export.export_prefill(model, ends_of(world), 160, tmp_path / "prefill.onnx", example, "fp16")
    assert 0 < seen.worst < 2e-2
    assert 0 < said.worst < 2e-2
    kind = onnx.TensorProto.FLOAT16
    for name in ("vision", "prefill"):
        graph = onnx.load(str(tmp_path / f"{name}.onnx")).graph
        assert sum(w.data_type == kind for w in graph.initializer) > 5
        floats = [v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)]
        assert kind not in floats
    assert all(p.dtype == torch.float32 for p in model.parameters())  # the model itself stays as it was


@pytest.mark.parametrize("family", ["smolvlm", "llava"])
def test_pictures_are_answered_as_torch_does(tmp_path, family, monkeypatch):
    world = tiny(family)
    model = merged(world.model)
    pixels = world.eyes.tensors([world.eyes.fitted(PICTURE)])["pixel_values"]
    _, example = export.export_vision(model, pixels, tmp_path / "vision.onnx")
    export.export_prefill(model, ends_of(world), 160, tmp_path / "prefill.onnx", example)
    export.export_head(model, tmp_path / "head.onnx")
    write_card(tmp_path, world.builder, model.config, 160, world.eyes, "none")
    engine, served = Engine(model, world.builder, world.eyes), load_exported(tmp_path, Engines("cpu"))
    box, other = Box(20, 10, 60, 70), PICTURE[:, ::-1] // 2
    asked = [("oh no", "", PICTURE, box), ("oh no", "", other, box), ("oh no", "", None, None)]
    asked += [("", "", PICTURE, box), ("oh no", "They lost.", other, box)]
    answers = [served.answer(*given) for given in asked]
    for given, answer in zip(asked, answers, strict=True):
        same(answer, engine.answer(*given))
    assert np.abs(answers[0].log_probs - answers[1].log_probs).max() > 1e-3  # the picture counts
    with pytest.raises(UserError, match="box: the question is about the person in the red box"):
        served.answer(image=PICTURE)
    without_torch(tmp_path, answers[0])
    _engines_agree(tmp_path, monkeypatch)
    with pytest.raises(ModelError, match="hold no picture"):
        export.export_prefill(model, ends_of(world), 16, tmp_path / "small.onnx", example)
    (tmp_path / "vision.onnx").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"vision.onnx"):
        load_exported(tmp_path, Engines("cpu"))


SERVE = """
import json, sys
from pathlib import Path
from emo_face.expression.contextface.backend import ContextFaceExpression
from emo_face.expression.contextface.exported.engine import load_exported
from emo_face.core.types import Box
from emo_face.runtime.engines.select import Engines
from tinyworld import PICTURE
engine = ContextFaceExpression(load_exported(Path(sys.argv[1]), Engines("cpu"))).engine
found = engine.answer("oh no", "", PICTURE, Box(20, 10, 60, 70))
print(json.dumps([found.log_probs.tolist(), sorted({"torch", "transformers", "peft"} & set(sys.modules))]))
"""


def without_torch(folder, wanted):
    """The backend in an interpreter of its own: neither torch nor transformers is imported."""
    helpers = str(Path(tinyworld.__file__).parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([helpers, *sys.path])}
    command = [sys.executable, "-c", SERVE, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    log_probs, imported = json.loads(done.stdout)
    np.testing.assert_allclose(log_probs, wanted.log_probs, atol=1e-6)
    assert imported == []


def _engines_agree(folder, monkeypatch):
    """The TensorRT engines of these graphs, on the fake GPU: built from their plans, equal to ONNX."""
    from fake_gpu import install

    from emo_face.export.tensorrt import build
    from emo_face.expression.contextface.exported.plans import plans
    from emo_face.perception.engines import Target
    from emo_face.runtime.engines.cache import EngineCache

    install(monkeypatch, "11.4", "13.4")
    rows = build([Target(path, plan) for path, plan in plans(folder)], EngineCache(folder / "engines"))
    assert [row["model"] for row in rows] == ["contextface_head", "contextface_vision", "contextface_prefill"]
    assert max(row["largest_relative_difference"] for row in rows) < 1e-5


def test_an_export_that_cannot_be_leaves_the_one_before_it(tmp_path, capsys):
    """What is wrong is said before anything is written; what an earlier export left is no part of the next."""
    model, out = shipped(tmp_path), tmp_path / "out"
    records = tmp_path / "few.jsonl"
    records.write_text('{"quote": "oh", "split": "val"}\n' * 99)
    (out / "sub").mkdir(parents=True)
    for name in ("export.json", "vision.onnx", "prefill.onnx.data", "mine.txt"):
        (out / name).write_text("of before")
    run = ["export", "contextface", "--model", str(model), "--out", str(out)]
    for flags, complaint in (
        (["--prefill", "9"], r"--prefill: expected \d+ tokens, which the shortest question takes, to 1536, .* got 9"),
        (["--prefill", "2000"], "which the model takes, got 2000"),
        (["--prefill", "90", "--pictures"], "exported for words only"),
        (["--prefill", "90", "--bits", "8", "--records", str(records)], "99 quotes of split val, at least 100"),
    ):
        assert main([*run, *flags]) == 2
        assert re.search(complaint, capsys.readouterr().err)
        assert len(list(out.iterdir())) == 5
    assert main(run) == 0
    assert {path.name for path in out.iterdir()} == {"head.onnx", "head.json", "mine.txt", "sub"}
    with pytest.raises(ModelError, match=r"export\.json: cannot be read .*export again"):
        load_exported(out, Engines("cpu"))
    assert is_exported(out), "an export that was never finished is no trained model"


def shipped(root):
    """A tiny trained folder of a text-only backbone beside it."""
    tokenizer = source.tiny_tokenizer("llama")
    base = source.tiny_base("llama", tokenizer, tied=True)
    base.save_pretrained(root / "backbone")
    tokenizer.save_pretrained(root / "backbone")
    model = build_model(base, tokenizer, ContextFaceConfig(face_basis="arkit-52", style="short"))
    return save_model(root / "model", model, str(root / "backbone"))


def test_qwen_is_exported_for_words_only(tmp_path):
    with pytest.raises(ModelError, match="words only"):
        export.Prefill(tiny("qwen2_5_vl").model, [[5, 6]], 16, True)


def test_a_graph_that_differs_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="not kept"):
        export.export_head(tiny().model, tmp_path / "head.onnx")
    assert not (tmp_path / "head.onnx").exists()
