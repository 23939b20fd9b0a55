"""Half precision for exported graphs: what is lowered, what stays float32, and a way to run bfloat16 on a CPU.

Graphs are strongly typed, so precision is in them and no engine's flag. LayerNorm and convolutions over pixels compute
in float32 (the latter are one layer of a transformer, and ONNX knows them in bfloat16 from opset 22 only).
"""

import copy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emo_face.runtime.engines.plan import Precision

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
RELATIVE = 2e-2
"""Largest difference from float32 that half precision explains, relative to the largest value of an output."""
EXACT = (nn.LayerNorm, nn.Conv2d)


class InFloat32(nn.Module):
    """A layer computed in float32 between half-precision ones; exports as casts around one operator."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer, self.dtype = layer.float(), dtype

    @property
    def weight(self) -> Any:
        """Callers ask a patch embedding or a norm for its weight's type."""
        return self.layer.weight

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x.float())
        return found.to(self.dtype)


def lowered(module: Any, precision: Precision) -> Any:
    """``module`` itself for ``fp32``, else a copy in that type whose :data:`EXACT` layers compute in float32."""
    if precision == "fp32":
        return module
    dtype = DTYPES[precision]
    half = copy.deepcopy(module).to(dtype)
    for parent in list(half.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, EXACT):
                setattr(parent, name, InFloat32(child, dtype))
    return half


@contextmanager
def runnable(path: Path, precision: Precision) -> Iterator[Path]:
    """A graph of ``precision`` as any CPU can run it: itself, or for bfloat16 a copy while the context lasts.

    onnxruntime has no bfloat16 products on a CPU. Every result of that type is computed in float32 there and rounded to
    bfloat16, which is what a GPU's tensor cores do: products of bfloat16, sums in float32, one rounding.
    """
    if precision != "bf16":
        yield path
        return
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        onnx.save(_rounding(path), f"{folder}/graph.onnx", save_as_external_data=True, location="graph.onnx.data")
        yield Path(folder) / "graph.onnx"


def _rounding(path: Path) -> Any:
    """The graph in float32 with every bfloat16 result rounded to that type."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    half, model = set(_half_values(path, TensorProto.BFLOAT16)), onnx.load(str(path))

    def widened(tensor: Any) -> Any:
        return numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float32"), tensor.name)

    graph, nodes = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.BFLOAT16:
            tensor.CopyFrom(widened(tensor))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i == TensorProto.BFLOAT16:
                attribute.i = TensorProto.FLOAT
            elif attribute.HasField("t") and attribute.t.data_type == TensorProto.BFLOAT16:
                attribute.t.CopyFrom(widened(attribute.t))
        nodes.append(node)
        for number, name in enumerate(node.output):
            if name in half:
                node.output[number] = f"{name}/exact"
                nodes.append(helper.make_node("Cast", [f"{name}/exact"], [f"{name}/16"], to=TensorProto.BFLOAT16))
                nodes.append(helper.make_node("Cast", [f"{name}/16"], [name], to=TensorProto.FLOAT))
    ordered = copy.deepcopy(nodes)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(ordered)
    return model


def _half_values(path: Path, kind: int) -> Iterator[str]:
    """Names of the values of that type between the nodes of a graph."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:  # by path: graphs over 2 GB cannot be passed as bytes
        onnx.shape_inference.infer_shapes_path(str(path), f"{folder}/typed.onnx")
        graph = onnx.load(f"{folder}/typed.onnx", load_external_data=False).graph
    for value in (*graph.value_info, *graph.output):
        if value.type.tensor_type.elem_type == kind:
            yield value.name
