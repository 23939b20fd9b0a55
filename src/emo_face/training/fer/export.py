"""From trained nets to ``nano_face.onnx``, and proof that both say the same."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from emo_face.core.errors import ModelError
from emo_face.evaluation.fer.folds import FILE, read_folds
from emo_face.perception.nano.facecrop import CROP
from emo_face.training.fer.model import Exported, FerNet

MODEL = "nano_face.onnx"
CHECKPOINT = "nano_face.pt"
OPSET = 17
TOLERANCE = 1e-3
LIMIT = 4_000_000
SMALL = 1024  # numbers; what has fewer, the biases above all, stays float32
VERSION = 1
"""Of the file; :class:`~emo_face.perception.nano.face.FaceStudent` refuses others."""


def load_trained(run: Path) -> Exported:
    """The calibrated net of a folder that ``emo-face train fer`` wrote. Raises UserError, ModelError naming a file."""
    made = read_folds(run / FILE).made
    path = run / CHECKPOINT
    try:
        net = FerNet.of(torch.load(path, weights_only=True, map_location="cpu"))
    except (OSError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ModelError(f"{path} is no checkpoint of the FER student: {error}; run emo-face train fer") from None
    bias = torch.tensor(made["shipped_bias"])
    return Exported(net, float(made["shipped_temperature"]), bias, float(made["shipped_shift"]))


def export(model: Exported, path: Path) -> Path:
    """Write ONNX with input ``crops`` [n,1,48,48] and outputs ``probabilities`` [n,7], ``face`` [n].

    The weights are kept in half precision.

    Raises:
        ModelError: the file is over 4 MB, or onnxruntime does not reproduce torch's numbers.
    """
    import onnx
    import onnxruntime as ort

    model.eval()
    example = torch.randn(3, 1, CROP, CROP, generator=torch.Generator().manual_seed(0))
    path.parent.mkdir(parents=True, exist_ok=True)
    outputs = ["probabilities", "face"]
    torch.onnx.export(
        model,
        (example,),
        str(path),
        input_names=["crops"],
        output_names=outputs,
        opset_version=OPSET,
        dynamic_axes={name: {0: "n"} for name in ("crops", *outputs)},
        dynamo=False,
    )
    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, {"version": str(VERSION)})
    halve(graph.graph)
    onnx.save(graph, path)
    size = path.stat().st_size
    if size > LIMIT:
        raise ModelError(f"{path}: {size} bytes, expected at most {LIMIT}")
    with torch.no_grad():
        expected = [t.numpy() for t in model(example)]
    found = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"crops": example.numpy()})
    worst = max(float(np.abs(a - b).max()) for a, b in zip(expected, found, strict=True))
    if worst > TOLERANCE:
        raise ModelError(f"{path}: onnxruntime differs from torch by {worst:.2g}, expected at most {TOLERANCE}")
    return path


def halve(graph: Any) -> None:
    """Keep the weights of an ONNX graph in half precision, each with a cast back to float32.

    The arithmetic stays float32: onnxruntime computes such casts once, when it loads the file, and TensorRT's parser
    takes the kernel of a convolution from another node (onnx-tensorrt, ``Conv`` with "dynamic weights").
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weights in graph.initializer:
        if weights.data_type != TensorProto.FLOAT or np.prod(weights.dims) < SMALL:
            continue
        name, values = weights.name, numpy_helper.to_array(weights)
        weights.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], f"{name}.cast", to=TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.node.insert(0, cast)
