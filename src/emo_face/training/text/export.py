"""From the trained speech student to one self-contained int8 ONNX file, checked before it is kept.

Word embeddings are stored as int8 with one scale per row; matrix products get int8 weights with one per column and
activations scaled at run time (onnxruntime dynamic quantisation). Seven bits of weight keep AVX2 machines, whose
int8 products saturate in 16 bits, from answering differently than newer ones.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from emo_face.core.errors import UserError
from emo_face.core.labels import basic7, label_set
from emo_face.core.types import FloatArray
from emo_face.datasets.text import text_folder
from emo_face.perception.nano.text import VERSION
from emo_face.perception.nano.wordpiece import WordPiece
from emo_face.runtime.files import replacing, write_json
from emo_face.training.text import language
from emo_face.training.text.examples import read_sources
from emo_face.training.text.model import CHECKPOINT, ENCODER_SOURCE, FINE, SEVEN, TextNet, encoder_folder, load_encoder
from emo_face.training.text.validation import Calibration, Outputs, agreement, calibrate, figures, register_of

MAX_BYTES = 30_000_000
MAX_CHANGED = 0.05
"""Largest share of validation rows whose top label may change by quantisation."""
MAX_F1_LOSS = 0.01
"""Largest macro-F1 that quantisation may cost on the validation rows of either corpus."""
OPSET = 17


class RowQuantisedEmbedding(nn.Module):
    """An embedding table as int8 with one scale per row; a quarter of the bytes, error below 0.4 % of its maximum."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        scale = table.abs().amax(1, keepdim=True).clamp(min=1e-8) / 127
        self.register_buffer("table", (table / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(n, t) ids to (n, t, width) float32."""
        table, scale = self.get_buffer("table"), self.get_buffer("scale")
        rows = nn.functional.embedding(ids, table).to(torch.float32)
        return rows * nn.functional.embedding(ids, scale)


class ExportNet(nn.Module):
    """The student as it ships: rows of equal length in, calibrated outputs ``head * scale + bias`` out.

    Args:
        register: weights (width,) and bias of the log-odds that a line is talk and no comment; the seven have a scale
            and a bias for each of the two, and the answers are mixed.
    """

    def __init__(self, net: TextNet, max_length: int, register: tuple[FloatArray, float]) -> None:
        super().__init__()
        embeddings: Any = net.encoder.embeddings
        self.words = RowQuantisedEmbedding(embeddings.word_embeddings.weight.detach())
        offset = embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
        self.norm, self.layers, self.head = embeddings.LayerNorm, net.encoder.encoder.layer, net.head
        numbers = {
            "positions": offset[:max_length].detach().clone(),
            "calibration_scale": torch.ones(net.head.out_features),
            "calibration_bias": torch.zeros(net.head.out_features),
            "talk_scale": torch.ones(SEVEN),
            "talk_bias": torch.zeros(SEVEN),
            "register_weight": torch.from_numpy(register[0]).float(),
            "register_bias": torch.tensor([register[1]]).float(),
        }
        for name, value in numbers.items():
            self.register_buffer(name, value)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Probabilities (n, 7), fine emotions (n, 28), valence and arousal (n, 2) of ids (n, t) without padding."""
        hidden = self.norm(self.words(ids) + self.get_buffer("positions")[: ids.shape[1]])
        for layer in self.layers:
            hidden = _layer(layer, hidden)
        pooled = hidden.mean(1)
        raw = self.head(pooled)
        said = raw * self.get_buffer("calibration_scale") + self.get_buffer("calibration_bias")
        talk = (raw[:, :SEVEN] * self.get_buffer("talk_scale") + self.get_buffer("talk_bias")).softmax(-1)
        like_talk = (pooled * self.get_buffer("register_weight")).sum(-1, keepdim=True) + self.get_buffer(
            "register_bias"
        )
        seven = torch.lerp(said[:, :SEVEN].softmax(-1), talk, like_talk.sigmoid())
        return seven, said[:, SEVEN : SEVEN + FINE].sigmoid(), said[:, SEVEN + FINE :]


def _layer(layer: Any, hidden: torch.Tensor) -> torch.Tensor:
    """One post-norm transformer layer (Vaswani et al. 2017; BERT) on rows without padding."""
    attention = layer.attention.self
    heads = attention.num_attention_heads
    query, key, value = (
        linear(hidden).reshape(hidden.shape[0], -1, heads, attention.attention_head_size).transpose(1, 2)
        for linear in (attention.query, attention.key, attention.value)
    )
    weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
    context = (weights @ value).transpose(1, 2).flatten(2)
    output = layer.attention.output
    hidden = output.LayerNorm(output.dense(context) + hidden)
    return layer.output.LayerNorm(layer.output.dense(nn.functional.gelu(layer.intermediate.dense(hidden))) + hidden)


def load_checkpoint(folder: Path, encoder: Path | None = None) -> tuple[TextNet, tuple[str, ...], dict[str, Any]]:
    """The trained net, its vocabulary and the run's configuration. Raises UserError if the folder is incomplete."""
    from safetensors.torch import load_file

    for name in (CHECKPOINT, "config.json"):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} not found; train first by `emo-face train text --data DIR --out DIR`")
    base = load_encoder(encoder_folder(encoder))
    net = TextNet(base.module, base.width)
    net.load_state_dict(load_file(folder / CHECKPOINT))
    return net.eval(), base.vocabulary, json.loads((folder / "config.json").read_text())


def export(run: Path, data: Path, target: Path, encoder: Path | None = None, threads: int = 1) -> Path:
    """Export, quantise, calibrate on validation, check size and agreement, write ``target``.

    Raises:
        UserError: the file is too large or the quantised student disagrees too often with the trained one.
    """
    torch.set_num_threads(threads)
    net, vocabulary, config = load_checkpoint(run, encoder)
    sources, tokens = read_sources(data), WordPiece(vocabulary)
    with tempfile.TemporaryDirectory() as scratch:
        plain, small = Path(scratch, "plain.onnx"), Path(scratch, "small.onnx")
        register = register_of(net, tokens, sources, int(config["seed"]), config["max_length"])
        graph = ExportNet(net, config["max_length"], register)
        to_onnx(graph, plain, torch.arange(5)[None], {"ids": {0: "n", 1: "t"}})
        _quantise(plain, small)
        length = int(config["max_length"])
        exact = Outputs.of(plain, tokens, sources, length, threads)
        rough = Outputs.of(small, tokens, sources, length, threads, whole=True)
        report = agreement(exact, rough)
        calibration = calibrate(rough, sources)
        languages = config["languages"].split()
        own = [*sources.quotable, *(text for pool in sources.drawn.values() for text in pool.texts)]
        detector = language.train(text_folder(data), {languages[0]: own}, languages, int(config["seed"]))
        finished = Path(scratch, "finished.onnx")
        meta = {
            "vocabulary": "\n".join(vocabulary),
            "max_length": str(config["max_length"]),
            "thresholds": json.dumps([round(float(t), 3) for t in calibration.thresholds]),
            "language": detector.to_text(),
            "languages": json.dumps(languages),
            "training": json.dumps({**config, "sources": sources.hashes}, sort_keys=True),
        }
        _finish(small, finished, calibration, meta)
        report |= calibration.figures
        report["validation"] = figures(Outputs.of(finished, tokens, sources, length, threads))
        _keep(finished, target, run, report)
    return target


def _keep(finished: Path, target: Path, run: Path, report: dict[str, Any]) -> None:
    """Report, and put the file where it belongs. Raises UserError if it is too large or answers too differently."""
    report["bytes"] = size = finished.stat().st_size
    write_json(run / "export.json", report)
    print(json.dumps(report, indent=1))
    changed, loss = report["changed_by_quantisation"], report["macro_f1_loss"]
    if changed > MAX_CHANGED or loss > MAX_F1_LOSS or size > MAX_BYTES:
        raise UserError(
            f"{target} not written: quantisation changes {changed:.1%} of the labels (at most {MAX_CHANGED:.0%}) and "
            f"costs {loss:.3f} macro-F1 (at most {MAX_F1_LOSS}); {size} bytes (at most {MAX_BYTES})"
        )
    with replacing(target, size) as scratch:
        shutil.copyfile(finished, scratch)


def to_onnx(net: nn.Module, path: Path, example: torch.Tensor, axes: Mapping[str, Mapping[int, str]]) -> None:
    """Write a student's graph; ``axes``: its one input, like ``example``, and which of its sizes are open."""
    names = ["probabilities", "emotions", "affect"]
    torch.onnx.export(
        net.eval(),
        (example,),
        str(path),
        input_names=list(axes),
        output_names=names,
        dynamic_axes={**axes, **{name: {0: "n"} for name in names}},
        opset_version=OPSET,
        dynamo=False,
    )


def _quantise(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True},
    )


def _finish(source: Path, target: Path, calibration: Calibration, meta: Mapping[str, str]) -> None:
    """Write the calibration into the graph, and vocabulary, labels, detector and origin into its metadata."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(source))
    values = {
        "calibration_scale": calibration.scale,
        "calibration_bias": calibration.bias,
        "talk_scale": calibration.talk.scale,
        "talk_bias": calibration.talk.bias,
    }
    for tensor in model.graph.initializer:
        if tensor.name in values:
            value = np.asarray(values.pop(tensor.name), np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    if values:
        raise UserError(f"the exported graph has no {', '.join(values)}: this version of torch.onnx folds it")
    describe(model, {"encoder": ENCODER_SOURCE, "licence": "Apache-2.0; data: see models/nano_text.md", **meta})
    onnx.save(model, str(target))


def describe(model: Any, meta: Mapping[str, str]) -> None:
    """Write what every speech student's file says, and ``meta``, into an ONNX model's metadata."""
    import onnx

    labels = {
        "version": str(VERSION),
        "label_set": "basic7",
        "labels": json.dumps(list(basic7().labels)),
        "emotions": json.dumps(list(label_set("goemotions28").labels)),
    }
    onnx.helper.set_model_props(model, {**labels, **meta})
    model.doc_string = "emo_face speech student"
