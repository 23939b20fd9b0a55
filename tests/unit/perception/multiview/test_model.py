"""The emotion model and its exported graphs: same scores, one encoder pass, honest about what was not seen."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
import threading

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from emo_face.cli import main as cli
from emo_face.core.errors import ModelError, UserError
from emo_face.core.labels import label_set
from emo_face.core.types import Box, Face, Person
from emo_face.export import int8, multiview_int8
from emo_face.perception.multiview import checkpoint, export_manifest, head_file, model
from emo_face.perception.multiview.ask import Asker
from emo_face.perception.multiview.config import EncoderConfig, FusionConfig
from emo_face.perception.multiview.encoders.instructblip import MultiViewEncoder
from emo_face.perception.multiview.encoders.tiny import tiny_base
from emo_face.perception.multiview.fusion_head import FusionHead
from emo_face.perception.multiview.parts import torch_encoder, torch_head
from emo_face.runtime.engines import torch_module
from emo_face.training.multiview import export as export_multiview

CONFIG = EncoderConfig(image_size=28, instruction_ids=(4, 5, 6), qformer_sharing="body_face")


def people():
    return [
        Person("p1", 0.9, Box(10, 20, 60, 90), Face(Box(25, 25, 20, 20), 0.9)),
        Person("p2", 0.9, Box(80, 10, 50, 100), None),
        Person("p3", 0.9, None, Face(Box(5, 5, 12, 12), 0.9)),
    ]


@pytest.fixture(scope="module")
def frame():
    return np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model folder as Stage 2 leaves it, with random weights of the true architecture, and its base."""
    folder = tmp_path_factory.mktemp("model")
    base = tiny_base()
    base.save_pretrained(folder / "base")
    encoder = MultiViewEncoder(base, CONFIG).eval()
    fusion = FusionConfig("emotic26", in_features=32, width=16, vad=True)
    torch.manual_seed(1)
    head = FusionHead(fusion).eval()
    rng = np.random.default_rng(0)
    card = head_file.HeadCard(fusion, np.full(26, 0.5), rng.uniform(0.5, 2, 26), rng.normal(size=26))
    checkpoint.save_encoder(folder, encoder)
    head_file.save(folder, head, card)
    return folder


@pytest.fixture(scope="module")
def exported(trained):
    encoder = checkpoint.load_encoder(trained, checkpoint.load_base(trained / "base"))
    head, card = head_file.load(trained)
    out = trained / "export"
    return out, export_multiview.export(out, encoder, head, card)


def test_scores_of_a_frame(trained, frame):
    found = model.load(trained, trained / "base").estimate(frame, people(), {}, 0.0)
    assert len(found) == 3
    for emotion, seen in zip(found, (3, 2, 2), strict=True):
        assert emotion.label_set == "emotic26"
        assert emotion.probabilities.shape == (26,)
        assert ((emotion.probabilities > 0) & (emotion.probabilities < 1)).all()
        assert emotion.quality == pytest.approx(seen / 3)
        assert sum(abs(share) for share in emotion.evidence.values()) == pytest.approx(1)
        assert -1 <= emotion.valence <= 1
    assert found[1].evidence["face"] == 0
    assert found[2].evidence["body"] == 0


def test_each_person_alone_scores_the_same(trained, frame):
    """With boxes off the scene, batching must not change anybody's score."""
    plain = dataclasses.replace(CONFIG, scene_box="none")
    encoder = MultiViewEncoder(checkpoint.load_base(trained / "base"), plain)
    head, card = head_file.load(trained)
    emotion = model.MultiViewEmotion(torch_encoder(encoder, trained), torch_head(head, card, trained), card)
    together = emotion.estimate(frame, people(), {}, 0.0)
    for person, expected in zip(people(), together, strict=True):
        alone = emotion.estimate(frame, [person], {}, 0.0)[0]
        np.testing.assert_allclose(alone.probabilities, expected.probabilities, atol=1e-5)


def test_evidence_is_the_fall_without_the_view(trained, frame):
    emotion = model.load(trained, trained / "base")
    found = emotion.estimate(frame, people()[:1], {}, 0.0)[0]
    features, present = emotion.features(frame, people()[:1])
    head, card = head_file.load(trained)
    top = int(found.probabilities.argmax())
    falls = []
    for v in range(3):
        hidden = present.copy()
        hidden[0, v] = 0
        logits, _ = head(torch.from_numpy(features), torch.from_numpy(hidden))
        falls.append(found.probabilities[top] - card.probabilities(logits.detach().numpy())[0, top])
    expected = np.array(falls) / np.abs(falls).sum()
    np.testing.assert_allclose([found.evidence[v] for v in ("scene", "body", "face")], expected, atol=1e-5)


def test_in_the_pipeline_with_its_smoother(exported, frame):
    """The exported model behind the real pipeline: its own thresholds, and its own valence and arousal."""
    from emo_face.perception.smooth import EmotionSmoother

    emotion = model.load(exported[0])
    assert emotion.own_affect
    labels = label_set(emotion.label_set)
    smoother = EmotionSmoother(labels, 0.15, thresholds=emotion.thresholds, own_affect=emotion.own_affect)
    for at in (0.0, 0.1, 0.2):
        found = emotion.estimate(frame, people(), {}, at)
        smooth = smoother.update([p.person_id for p in people()], found, at)
    for a, b in zip(found, smooth, strict=True):
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-6)
        assert (b.valence, b.arousal) == pytest.approx((a.valence, a.arousal), abs=1e-6)
        assert abs(b.valence - labels.circumplex(b.probabilities)[0]) > 1e-3
        assert (b.active == (b.probabilities >= emotion.card.thresholds)).all()


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
@pytest.mark.parametrize(("shown", "pictures"), [([0, 1, 2], 5), ([1, 1, 1], 4), ([2], 2), ([], 0)])
def test_torch_encodes_the_pictures_there_are_and_no_other(trained, frame, monkeypatch, device, shown, pictures):
    """One pass, no blank picture for a view that nobody shows, no padding: three are three. ``cpu:0`` plays a GPU."""
    head, card = head_file.load(trained)
    encoder = checkpoint.load_encoder(trained, checkpoint.load_base(trained / "base"))
    monkeypatch.setattr(torch_module, "place", lambda module, *_: module)
    emotion = model.MultiViewEmotion(torch_encoder(encoder, trained, device), torch_head(head, card, trained), card)
    seen = []
    encoder.vision.register_forward_pre_hook(
        lambda _, __, given: seen.append(len(given["pixel_values"])), with_kwargs=True
    )
    found = emotion.estimate(frame, [people()[i] for i in shown], {}, 0.0)
    assert len(found) == len(shown)
    assert seen == [pictures] * bool(pictures)


def test_hopeless_input_is_flat_not_a_crash(trained, frame):
    emotion = model.load(trained, trained / "base")
    assert emotion.estimate(frame, [], {}, 0.0) == []
    empty = emotion.estimate(np.zeros((0, 0, 3), np.uint8), people(), {}, 0.0)
    assert {e.quality for e in empty} == {0.0}
    assert np.allclose(empty[0].probabilities, 1 / 26)
    outside = emotion.estimate(frame, [Person("p", 1, Box(900, 900, 10, 10), Face(Box(-90, -90, 5, 5), 1))], {}, 0.0)[0]
    assert outside.quality == pytest.approx(1 / 3)  # only the scene
    head, card = head_file.load(trained)
    head.classifier.weight.data[:] = float("nan")
    broken = model.MultiViewEmotion(emotion._encoder, torch_head(head, card, trained), card)
    assert broken.estimate(frame, people(), {}, 0.0)[0].quality == 0


@pytest.mark.parametrize(
    ("room", "said"), [(4, "at most 1 rows at a time"), (1, "it runs on the CPU until the node is restarted")]
)
def test_a_full_gpu_takes_fewer_people_then_leaves_them_to_the_cpu(trained, frame, caplog, monkeypatch, room, said):
    """``cpu:0`` plays a GPU with memory for ``room`` pictures per pass."""
    head, card = head_file.load(trained)
    encoder = checkpoint.load_encoder(trained, checkpoint.load_base(trained / "base"))
    places, forward = [], encoder.forward
    monkeypatch.setattr(torch_module, "place", lambda module, device, _: places.append(device) or module)

    def little_memory(pixels):
        if places[-1] != "cpu" and sum(len(v) for v in pixels.values()) > room:
            raise torch.cuda.OutOfMemoryError("full")
        return forward(pixels)

    monkeypatch.setattr(encoder, "forward", little_memory)
    parts = torch_head(head, card, trained), torch_encoder(encoder, trained, "cpu:0")
    found = model.MultiViewEmotion(parts[1], parts[0], card).estimate(frame, people(), {}, 0.0)
    expected = model.load(trained, trained / "base").estimate(frame, people(), {}, 0.0)
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(got.probabilities, wanted.probabilities, atol=1e-5)
    assert said in caplog.text


def test_export_parity_structure_and_dynamic_batch(exported):
    out, parity = exported
    assert {(row.graph, row.batch) for row in parity} == {("encoder", 1), ("encoder", 3), ("head", 1), ("head", 3)}
    assert max(row.absolute for row in parity) < 1e-4
    counts = export_multiview.check_graph(out / "encoder.onnx")
    assert counts["LayerNormalization"] >= 2 * 2 + 1 + 2 * 3
    assert "IsNaN" not in counts
    manifest = json.loads((out / "export.json").read_text())
    assert set(manifest["files"]["encoder"]) == {"encoder.onnx", "encoder.onnx.data"}
    assert manifest["head"]["labels"] == list(label_set("emotic26").labels)


def test_onnx_and_torch_models_agree(trained, exported, frame):
    out, _ = exported
    torch_model, onnx_model = model.load(trained, trained / "base"), model.load(out)
    assert onnx_model.engine.startswith("onnxruntime")
    assert "encoder.onnx" in onnx_model.hashes
    for count in (1, 2, 3):
        both = [m.estimate(frame, people()[:count], {}, 0.0) for m in (torch_model, onnx_model)]
        for a, b in zip(*both, strict=True):
            np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-5)
            assert a.valence == pytest.approx(b.valence, abs=1e-5)


def test_half_precision_graph(tmp_path):
    """bfloat16 of one view here; float16 of all goes through TensorRT's fake in tests/unit/cli/test_engine.py."""
    encoder = MultiViewEncoder(tiny_base(), dataclasses.replace(CONFIG, views=("scene",))).eval()
    fusion = FusionConfig("emotic26", views=("scene",), in_features=32, width=16)
    card = head_file.HeadCard(fusion, np.full(26, 0.5), np.ones(26), np.zeros(26))
    parity = export_multiview.export(tmp_path, encoder, FusionHead(fusion).eval(), card, "bf16", [2])
    assert 0 < max(row.relative for row in parity if row.graph == "encoder") < 2e-2
    import onnx

    path = tmp_path / "encoder.onnx"
    onnx.shape_inference.infer_shapes_path(str(path), str(tmp_path / "typed.onnx"))
    graph = onnx.load(str(tmp_path / "typed.onnx")).graph
    kind = onnx.TensorProto.BFLOAT16
    half = {w.name for w in graph.initializer if w.data_type == kind}
    half |= {v.name for v in graph.value_info if v.type.tensor_type.elem_type == kind}
    products = [n for n in graph.node if n.op_type == "MatMul"]
    assert sum(set(n.input) <= half for n in products) == len(products)
    exact = [n for n in graph.node if n.op_type in ("LayerNormalization", "Softmax")]
    assert len(exact) > 8
    assert not any(set(n.input) & half for n in exact)
    assert all(v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for v in (*graph.input, *graph.output))


def test_changed_bytes_are_refused(exported, tmp_path):
    shutil.copytree(exported[0], tmp_path / "copy")
    path = tmp_path / "copy" / "encoder.onnx.data"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ModelError, match=r"encoder\.onnx\.data: sha256 expected"):
        model.load(tmp_path / "copy")
    path.unlink()
    with pytest.raises(ModelError, match="no file"):
        model.load(tmp_path / "copy")


def test_parity_failure_is_an_error(exported, trained):
    """The head of another training must not pass for this graph."""
    head, card = head_file.load(trained)
    encoder = checkpoint.load_encoder(trained, checkpoint.load_base(trained / "base"))
    with torch.no_grad():
        head.classifier.bias[3] += 1e-3
    with pytest.raises(ModelError, match=r"head\.onnx: at batch 2 differs from torch by 1\.00e-03"):
        export_multiview._parity(exported[0], encoder, head, card, 2, "fp32")


def test_parts_that_do_not_fit_are_refused(trained):
    two = dataclasses.replace(CONFIG, views=("scene", "face"))
    encoder = torch_encoder(MultiViewEncoder(checkpoint.load_base(trained / "base"), two), trained)
    head, card = head_file.load(trained)
    with pytest.raises(ModelError, match="scene, body, face"):
        model.MultiViewEmotion(encoder, torch_head(head, card, trained), card)
    with pytest.raises(ModelError, match="no exported graphs"):
        model.load(trained)


def test_an_answer_nobody_waits_for_is_not_made(world, frame):
    vlm = world.vlm()
    endless = copy.deepcopy(world.tokenizer)
    endless.add_special_tokens({"eos_token": "<never>"})  # beyond the model's vocabulary: random words never end it
    asker = Asker(vlm, endless, world.tokenizer)
    steps, closing = [], threading.Event()

    def count(*_):
        steps.append(1)
        if len(steps) == 5:
            closing.wait(30)

    vlm.base.language_model.register_forward_hook(count)
    words = asker.ask(frame, people()[0], "Why?", max_new_tokens=300)
    next(words)
    closing.set()
    words.close()
    assert len(steps) < 300
    made = len(steps)
    assert "".join(asker.ask(frame, people()[0], "Why?", max_new_tokens=20))
    assert len(steps) == made + 20


def test_asking_about_a_person(world, tmp_path, capsys, frame):
    vlm = world.vlm()
    asker = Asker(vlm, world.tokenizer, world.tokenizer)
    pieces = list(asker.ask(frame, people()[0], "What does the person feel?", max_new_tokens=5))
    again = list(asker.ask(frame, people()[0], "What does   the person feel?", max_new_tokens=5))
    assert pieces == again
    for person, question, word in ((people()[0], "  ", "empty"),):
        with pytest.raises(UserError, match=word):
            list(asker.ask(frame, person, question))
    import cv2

    cv2.imwrite(str(tmp_path / "i.png"), frame)
    vlm.base.save_pretrained(tmp_path / "base")
    world.tokenizer.save_pretrained(tmp_path / "base")
    checkpoint.save_encoder(tmp_path / "best", vlm.encoder)
    picture = str(tmp_path / "i.png")
    out = str(tmp_path / "drawn.png")
    common = ["look", "--base", str(tmp_path / "base"), "--max-tokens", "5", "--out", out, "--ask"]
    boxes = ["--stage1", str(tmp_path / "best"), "--box", "10,20,60,90", "--face", "25,25,20,20", "--json"]
    capsys.readouterr()
    assert cli.main([*common, "What does the person feel?", picture, *boxes]) == 0
    assert json.loads(capsys.readouterr().out)["answer"].split() == "".join(pieces).split()
    assert cli.main([*common, "Why?", picture, "--box", "10,20,60"]) == 2
    assert "--box: expected x,y,width,height" in capsys.readouterr().err
    assert cli.main([*common, "Why?", str(tmp_path / "no.png"), "--box", "1,1,5,5"]) == 2
    assert "no.png: No such file" in capsys.readouterr().err
    assert cli.main([*common, "Why?", picture]) == 2  # noise: nobody is found
    assert "name a person by --box" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "kind"), [("int8", "INT8"), ("fp8", "FLOAT8E4M3FN")])
def test_eight_bits_for_tensorrt(exported, assets, tmp_path, capsys, monkeypatch, name, kind):
    import onnx

    source = shutil.copytree(exported[0], tmp_path / "source")
    made = export_manifest.read(source)  # a head that is sure of a label: random weights are of none
    sure = dataclasses.replace(made.head, shift=np.where(np.arange(26) == 3, 2.0, -4.0))
    export_manifest.write(source, made.encoder, sure, made.details)
    hashed, sha256_of = [], export_manifest.sha256_of
    monkeypatch.setattr(export_manifest, "sha256_of", lambda path: hashed.append(path) or sha256_of(path))
    words = ["export", "multiview-int8", str(assets / "images" / "london"), "--model", str(source)]
    assert cli.main([*words, "--out", str(tmp_path), *(["--fp8"] if name == "fp8" else [])]) == 0
    assert "same emotion of" in capsys.readouterr().out
    assert hashed.count(source / "encoder.onnx") == 1  # gigabytes, at the true size
    graph = onnx.load(str(tmp_path / "encoder.onnx")).graph
    values = {w.name: onnx.numpy_helper.to_array(w) for w in graph.initializer}
    quantising = [n for n in graph.node if n.op_type == "QuantizeLinear"]
    assert len(quantising) > 20
    for node in quantising:  # what TensorRT takes: signed, symmetric
        zero = next(w for w in graph.initializer if w.name == node.input[2])
        assert zero.data_type == getattr(onnx.TensorProto, kind)
        assert not np.asarray(values[zero.name], np.float32).any()
    scaled = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    products = [n for n in graph.node if n.op_type in ("MatMul", "Gemm")]
    assert sum(set(n.input[:2]) <= scaled for n in products) > 10
    assert not any(len(set(n.input[:2]) & scaled) == 1 for n in products)  # both operands or none
    assert json.loads((tmp_path / "export.json").read_text())["details"]["precision"] == name


def test_eight_bits_that_read_other_emotions_are_not_kept(exported, assets, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"1 people in 1 pictures, expected 30 or more; give more pictures"):
        multiview_int8.people_of(model.load(exported[0]), [cv2.imread(str(assets / "images/london/001_neutral.jpg"))])
    sure, other = np.eye(7)[[0, 1, 2]], np.eye(7)[[0, 1, 3]]
    int8.judge("m", sure, sure)
    with pytest.raises(UserError, match=r"fp8 reads other emotions than m \(at least 97% the same"):
        int8.judge("m", sure, other, "fp8")
