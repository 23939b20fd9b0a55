"""ONNX graphs agree with what they came from."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

from tinyworld import PICTURE, tiny

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.errors import ModelError
from emo_face.expression.contextface.model import merged
from emo_face.expression.contextface.onepass import OnePass
from emo_face.expression.contextface.prompts import branch_parts, expression_question, words
from emo_face.face.expressions.basis import open_basis
from emo_face.training.contextface import export


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


@pytest.mark.parametrize("family", ["smolvlm", "llava"])
def test_prefill_agrees_with_the_one_pass(tmp_path, family):
    world = tiny(family)
    model = merged(world.model)
    parts = [branch_parts("quote", word) for word in words()]
    ends = [[*world.builder.body(w), *world.builder.body(t)] for _, w, t in parts]
    ends = [e[: e.index(model.face_id) + 1] for e in ends]
    export.export_prefill(model, ends, 96, tmp_path / "prefill.onnx")
    graph = session(tmp_path / "prefill.onnx")
    one = OnePass(model, world.builder, world.eyes)
    for quote in ("I can't believe it", "no"):
        prompt = world.builder.prompt(expression_question(quote=quote), parts[0][0])
        ids, length = export.padded_prompt(prompt, 96)
        log_probs, faces = graph.run(None, {"ids": ids, "length": length})
        answer = one.answer(quote=quote)
        np.testing.assert_allclose(log_probs, answer.log_probs, atol=1e-4)
        np.testing.assert_allclose(faces, answer.faces, atol=1e-4)
    with pytest.raises(ModelError, match="97 tokens, the graph takes 96"):
        export.padded_prompt([1] * 97, 96)


@pytest.mark.parametrize("family", ["smolvlm", "llava"])
def test_prefill_with_a_picture_agrees_with_the_one_pass(tmp_path, family, monkeypatch):
    world = tiny(family)
    model = merged(world.model)
    pictures = [world.eyes.fitted(p) for p in (PICTURE, PICTURE[:, ::-1] // 2)]
    pixels = [world.eyes.tensors([p])["pixel_values"] for p in pictures]
    _, example = export.export_vision(model, pixels[0], tmp_path / "vision.onnx")
    parts = [branch_parts("quote", word) for word in words()]
    ends = [[*world.builder.body(w), *world.builder.body(t)] for _, w, t in parts]
    ends = [e[: e.index(model.face_id) + 1] for e in ends]
    export.export_prefill(model, ends, 112, tmp_path / "prefill.onnx", example)
    eyes, graph = session(tmp_path / "vision.onnx"), session(tmp_path / "prefill.onnx")
    one = OnePass(model, world.builder, world.eyes)
    seen = []
    for picture, values in [*zip(pictures, pixels, strict=True), (None, pixels[0])]:
        (rows,) = eyes.run(None, {"pixel_values": values.numpy()})
        prompt = world.builder.prompt(expression_question("oh no", image=picture is not None), parts[0][0])
        ids, length = export.padded_prompt(prompt, 112)
        log_probs, faces = graph.run(None, {"ids": ids, "length": length, "picture": rows})
        answer = one.answer(quote="oh no", picture=picture)
        np.testing.assert_allclose(log_probs, answer.log_probs, atol=1e-4)
        np.testing.assert_allclose(faces, answer.faces, atol=1e-4)
        seen.append(log_probs)
    assert np.abs(seen[0] - seen[1]).max() > 1e-3  # the picture counts
    export.export_head(model, tmp_path / "head.onnx")
    _engines_agree(tmp_path, monkeypatch)
    with pytest.raises(ModelError, match="hold no picture"):
        export.export_prefill(model, ends, 16, tmp_path / "small.onnx", example)


def _engines_agree(folder, monkeypatch):
    """The TensorRT engines of these graphs, on the fake GPU: built from their plans, equal to ONNX."""
    from fake_gpu import install

    from emo_face.export.tensorrt import build
    from emo_face.expression.contextface.plans import plans
    from emo_face.perception.engines import Target
    from emo_face.runtime.engines.cache import EngineCache

    install(monkeypatch, "11.4", "13.4")
    rows = build([Target(path, plan) for path, plan in plans(folder)], EngineCache(folder / "engines"))
    assert [row["model"] for row in rows] == ["contextface_head", "contextface_vision", "contextface_prefill"]
    assert max(row["largest_relative_difference"] for row in rows) < 1e-5


def test_qwen_is_exported_for_words_only(tmp_path):
    with pytest.raises(ModelError, match="words only"):
        export.Prefill(tiny("qwen2_5_vl").model, [[5, 6]], 16, True)


def test_a_graph_that_differs_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="not kept"):
        export.export_head(tiny().model, tmp_path / "head.onnx")
    assert not (tmp_path / "head.onnx").exists()
