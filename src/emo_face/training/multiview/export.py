"""Export the multi-view encoder (E1) and the Stage-2 head (E2) to ONNX, checked and compared in the same command.

Graphs are strongly typed and TensorRT-friendly: LayerNormalization stays one operator, there is no IsNaN, batch axes
are dynamic, opset 18. In half precision (float16 or bfloat16) LayerNorm, softmax and the sigmoid-to-be stay in float32
and so do inputs and outputs.
"""

import contextlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emo_face.core.errors import ModelError
from emo_face.perception.multiview.config import VIEWS
from emo_face.perception.multiview.export_manifest import write
from emo_face.perception.multiview.graphs import EncoderGraph, HeadGraph
from emo_face.perception.multiview.head_file import HeadCard
from emo_face.runtime.engines.ort import OrtEngine
from emo_face.runtime.engines.plan import Precision
from emo_face.training.common.precision import RELATIVE, lowered, runnable

OPSET = 18
MAX_BATCH = 64
ABSOLUTE = 1e-4
"""Largest difference that is rounding in float32; half precision: :data:`RELATIVE`."""


@dataclass(frozen=True)
class Parity:
    """Largest difference between torch and onnxruntime at one batch size."""

    graph: str
    batch: int
    absolute: float
    relative: float


def export(
    folder: Path,
    encoder: Any,
    head: Any,
    card: HeadCard,
    precision: Precision = "fp32",
    batches: Sequence[int] = (1, 3),
) -> list[Parity]:
    """Write ``encoder.onnx``, ``head.onnx`` (with ``.data``) and ``export.json`` into ``folder``.

    ``encoder`` and ``head`` are in eval mode on the CPU in float32. Half precision converts the encoder's graph only:
    the head is small and calibration hangs on it.

    Raises:
        ModelError: the checker, a structural rule or parity fails; nothing calls such a graph done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    encoder, head = encoder.float().eval().folded(), head.float().eval()
    size, views = encoder.config.image_size, encoder.config.views
    batch = torch.export.Dim("people", min=1, max=MAX_BATCH)
    dims = [torch.export.Dim(view, min=1, max=MAX_BATCH) for view in views]
    pixels = tuple(torch.randn(2 + i, 3, size, size, generator=_generator(i)) for i in range(len(views)))
    graph = lowered(encoder, precision)
    with _plain_attention(graph):
        names = [f"{view}_tokens" for view in views]
        _to_onnx(EncoderGraph(graph), pixels, folder / "encoder.onnx", list(views), names, dims)
    features = torch.randn(3, len(card.fusion.views), card.fusion.in_features, generator=_generator(9))
    outputs = ["logits", "vad"] if card.fusion.vad else ["logits"]
    present = torch.ones(features.shape[:2])
    _to_onnx(
        HeadGraph(head), (features, present), folder / "head.onnx", ["features", "present"], outputs, [batch, batch]
    )
    del graph
    for name in ("encoder.onnx", "head.onnx"):
        check_graph(folder / name)
    parity = [p for b in batches for p in _parity(folder, encoder, head, card, b, precision)]
    details = {
        "opset": OPSET,
        "precision": precision,
        "tolerance": ABSOLUTE if precision == "fp32" else RELATIVE,
        "parity": [asdict(row) for row in parity],
        "torch": torch.__version__,
        "max_batch": MAX_BATCH,
    }
    write(folder, encoder.config, card, details)
    return parity


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _to_onnx(
    module: nn.Module, example: tuple[Tensor, ...], path: Path, inputs: list[str], outputs: list[str], dims: list[Any]
) -> None:
    for stale in path.parent.glob(path.name + "*"):
        stale.unlink()
    shapes: Any = tuple({0: dim} for dim in dims)
    if isinstance(module, EncoderGraph):
        shapes = (shapes,)  # one variadic argument
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            module.eval(),
            example,
            str(path),
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            external_data=True,
            verbose=False,
        )


@contextlib.contextmanager
def _plain_attention(encoder: Any) -> Iterator[None]:
    """Attend by :func:`_attend` while exporting, without masks: every token of a fixed instruction counts."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register("emo_face_export", _attend)
    AttentionMaskInterface.register("emo_face_export", lambda *_, **__: None)
    configs = {id(m.config): m.config for m in encoder.modules() if hasattr(m, "config")}
    known = [config for config in configs.values() if hasattr(config, "_attn_implementation")]
    before = [config._attn_implementation for config in known]
    try:
        for config in known:
            config._attn_implementation = "emo_face_export"
        yield
    finally:
        for config, name in zip(known, before, strict=True):
            config._attn_implementation = name


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints its steps to stdout, where --json must be alone, and warns of packages that nobody needs."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


def check_graph(path: Path) -> dict[str, int]:
    """Check an exported graph and count its operators.

    Raises ModelError: the ONNX checker fails, IsNaN is in it, LayerNorm was taken apart, or a batch axis is fixed.
    """
    import onnx

    try:
        onnx.checker.check_model(str(path))  # by path: graphs over 2 GB cannot be passed as bytes
    except onnx.checker.ValidationError as error:
        raise ModelError(f"{path}: the ONNX checker says: {str(error).splitlines()[0]}") from None
    model = onnx.load(str(path), load_external_data=False)
    counts = Counter(node.op_type for node in _nodes(model.graph))
    if counts["IsNaN"]:
        raise ModelError(f"{path}: {counts['IsNaN']} IsNaN operators; an attention mask entered the graph")
    if counts["ReduceMean"] and not counts["LayerNormalization"]:
        raise ModelError(f"{path}: LayerNormalization was taken apart; export with opset {OPSET}")
    fixed = [value.name for value in model.graph.input if not value.type.tensor_type.shape.dim[0].dim_param]
    if fixed:
        raise ModelError(f"{path}: the batch axis of {', '.join(fixed)} is fixed")
    return counts


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """Attention as matmul, float32 softmax, matmul: the fused form brings NaN guards into the graph."""
    scores = (query @ key.transpose(-1, -2) * scaling).float()
    if attention_mask is not None:
        scores = scores + attention_mask.float()
    mixed = torch.softmax(scores, -1).to(value.dtype) @ value
    return mixed.transpose(1, 2).contiguous(), None


def _parity(folder: Path, encoder: Any, head: Any, card: HeadCard, batch: int, precision: Precision) -> list[Parity]:
    size, views = encoder.config.image_size, encoder.config.views
    # The scene is one per frame; bodies and faces come in different numbers.
    counts = {view: 1 if view == "scene" else batch + (view == VIEWS[2]) for view in views}
    pixels = [torch.randn(counts[view], 3, size, size, generator=_generator(7 + i)) for i, view in enumerate(views)]
    features = torch.randn(batch, len(views), card.fusion.in_features, generator=_generator(17))
    present = (torch.rand(batch, len(views), generator=_generator(18)) > 0.3).float()
    with torch.no_grad():
        wanted = {"encoder": EncoderGraph(encoder)(*pixels), "head": HeadGraph(head)(features, present)}
    feeds = {
        "encoder": dict(zip(views, (p.numpy() for p in pixels), strict=True)),
        "head": {"features": features.numpy(), "present": present.numpy()},
    }
    return [_compare(folder / f"{name}.onnx", name, batch, feeds[name], wanted[name], precision) for name in wanted]


def _compare(
    path: Path, name: str, batch: int, feeds: Mapping[str, Any], wanted: Sequence[Tensor], precision: Precision
) -> Parity:
    half = precision != "fp32" and name == "encoder"
    with runnable(path, precision if half else "fp32") as graph:
        found = OrtEngine(graph, threads=0).run(feeds)
    pairs = [(a, b.numpy()) for a, b in zip(found, wanted, strict=True)]
    absolute = max(float(np.abs(a - b).max()) for a, b in pairs)
    relative = max(float(np.abs(a - b).max() / max(1e-6, float(np.abs(b).max()))) for a, b in pairs)
    error, limit, kind = (relative, RELATIVE, "relative") if half else (absolute, ABSOLUTE, "absolute")
    if not error <= limit:  # also catches NaN
        raise ModelError(f"{path}: at batch {batch} differs from torch by {error:.2e} ({kind}), allowed {limit:.0e}")
    return Parity(name, batch, absolute, relative)
