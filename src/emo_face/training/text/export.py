"""From the trained speech student to one self-contained int8 ONNX file, checked before it is kept.

Word embeddings are stored as int8 with one scale a row; matrix products get int8 weights with one scale a column and
activations scaled at run time (onnxruntime dynamic quantisation). Seven bits of weight keep AVX2 machines, whose
int8 products saturate in 16 bits, from answering differently than newer ones.
"""

from __future__ import annotations

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
from emo_face.core.labels import basic7
from emo_face.core.numeric import softmax
from emo_face.datasets.text import TextSplits, read_splits
from emo_face.evaluation.metrics.single_label import macro_f1
from emo_face.perception.nano.wordpiece import WordPiece, clean
from emo_face.runtime.files import replacing, write_json
from emo_face.training.text.calibration import LogitAdjustment, Part, fit, priors
from emo_face.training.text.model import CHECKPOINT, ENCODER_SOURCE, TextNet, encoder_folder, load_encoder

MAX_BYTES = 25_000_000
MAX_CHANGED = 0.05
"""Largest share of validation rows whose top label may change by quantisation."""
MAX_F1_LOSS = 0.01
"""Largest macro-F1 that quantisation may cost on the validation rows of either corpus."""
OPSET = 17


class RowQuantisedEmbedding(nn.Module):
    """An embedding table as int8 with one scale a row; a quarter of the bytes, error under 0.4 % of a row's maximum."""

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
    """The student as it ships: rows of equal length in, ``softmax(logits * scale + bias)`` out."""

    def __init__(self, net: TextNet, max_length: int) -> None:
        super().__init__()
        embeddings: Any = net.encoder.embeddings
        self.words = RowQuantisedEmbedding(embeddings.word_embeddings.weight.detach())
        offset = embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
        self.register_buffer("positions", offset[:max_length].detach().clone())
        self.norm, self.layers, self.head = embeddings.LayerNorm, net.encoder.encoder.layer, net.head
        self.register_buffer("calibration_scale", torch.ones(1))
        self.register_buffer("calibration_bias", torch.zeros(len(basic7())))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Probabilities (n, 7) of ids (n, t) without padding."""
        hidden = self.norm(self.words(ids) + self.get_buffer("positions")[: ids.shape[1]])
        for layer in self.layers:
            hidden = _layer(layer, hidden)
        logits = self.head(hidden.mean(1))
        return (logits * self.get_buffer("calibration_scale") + self.get_buffer("calibration_bias")).softmax(-1)


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
    splits = read_splits(data)
    with tempfile.TemporaryDirectory() as scratch:
        plain, small = Path(scratch, "plain.onnx"), Path(scratch, "small.onnx")
        _to_onnx(ExportNet(net, config["max_length"]).eval(), plain)
        _quantise(plain, small)
        tokens = WordPiece(vocabulary)
        exact, rough = (_validation(path, tokens, splits, config["max_length"], threads) for path in (plain, small))
        differ = [exact[k].logits.argmax(1) != rough[k].logits.argmax(1) for k in exact]
        changed = float(np.concatenate(differ).mean())
        loss = max(_macro_f1(exact[k]) - _macro_f1(rough[k]) for k in exact)
        calibration = fit(rough, priors([row for row in splits.train if row.single]))
        finished = Path(scratch, "finished.onnx")
        _finish(small, finished, calibration, vocabulary, config)
        _keep(finished, target, run, calibration, changed, loss)
    return target


def _keep(finished: Path, target: Path, run: Path, calibration: LogitAdjustment, changed: float, loss: float) -> None:
    """Report, and put the file where it belongs. Raises UserError if it is too large or answers too differently."""
    size = finished.stat().st_size
    report = {"changed_by_quantisation": changed, "macro_f1_loss": loss, "bytes": size, **calibration.validation}
    write_json(run / "export.json", report)
    print(json.dumps(report, indent=1))
    print(f"prior strength {calibration.strength}, temperature {calibration.temperature:.3f}")
    if changed > MAX_CHANGED or loss > MAX_F1_LOSS or size > MAX_BYTES:
        raise UserError(
            f"{target} not written: quantisation changes {changed:.1%} of the labels (at most {MAX_CHANGED:.0%}) and "
            f"costs {loss:.3f} macro-F1 (at most {MAX_F1_LOSS}); {size} bytes (at most {MAX_BYTES})"
        )
    with replacing(target, size) as scratch:
        shutil.copyfile(finished, scratch)


def _macro_f1(part: Part) -> float:
    return macro_f1(part.truth, softmax(part.logits))


def _to_onnx(net: ExportNet, path: Path) -> None:
    ids = torch.arange(5)[None]
    axes = {"ids": {0: "n", 1: "t"}, "probabilities": {0: "n"}}
    torch.onnx.export(
        net,
        (ids,),
        str(path),
        input_names=["ids"],
        output_names=["probabilities"],
        dynamic_axes=axes,
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


def _validation(path: Path, tokens: WordPiece, splits: TextSplits, max_length: int, threads: int) -> dict[str, Part]:
    """Log-probabilities of the uncalibrated file; up to a constant a row they are its logits."""
    from emo_face.runtime.engines.ort import OrtEngine

    backend = OrtEngine(path, threads=threads)
    parts = {}
    for source, rows in splits.validation.items():
        ids = (np.asarray([tokens.encode(clean(row.text), max_length)], np.int64) for row in rows)
        said = np.concatenate([backend.run({"ids": row})[0] for row in ids]).astype(np.float64)
        parts[source] = Part(np.log(np.maximum(said, 1e-12)), np.array([row.labels[0] for row in rows]))
    return parts


def _finish(
    source: Path, target: Path, calibration: LogitAdjustment, vocabulary: tuple[str, ...], config: Mapping[str, Any]
) -> None:
    """Write the calibration into the graph and vocabulary, labels and origin into its metadata."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(source))
    values = {"calibration_scale": [calibration.scale], "calibration_bias": calibration.bias}
    for tensor in model.graph.initializer:
        if tensor.name in values:
            value = np.asarray(values.pop(tensor.name), np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    if values:
        raise UserError(f"the exported graph has no {', '.join(values)}: this version of torch.onnx folds it")
    meta = {
        "label_set": "basic7",
        "labels": json.dumps(list(basic7().labels)),
        "max_length": str(config["max_length"]),
        "vocabulary": "\n".join(vocabulary),
        "training": json.dumps(dict(config), sort_keys=True),
        "calibration": json.dumps({"strength": calibration.strength, "temperature": round(calibration.temperature, 4)}),
        "encoder": ENCODER_SOURCE,
        "licence": "Apache-2.0; data GoEmotions and XED, CC-BY-4.0",
    }
    onnx.helper.set_model_props(model, meta)
    model.doc_string = "emo_face speech student"
    onnx.save(model, str(target))
