"""From trained nets to ``nano_face.onnx``, and proof that both say the same."""

from pathlib import Path

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
VERSION = 1
"""Of the file; :class:`~emo_face.perception.nano.face.FaceStudent` refuses others."""


def load_trained(run: Path) -> Exported:
    """The calibrated net of a folder that ``emo-face train fer`` wrote. Raises UserError, ModelError naming a file."""
    made = read_folds(run / FILE).made
    path = run / CHECKPOINT
    try:
        net = FerNet().eval()
        net.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    except (OSError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ModelError(f"{path} is no checkpoint of the FER student: {error}; run emo-face train fer") from None
    bias = torch.tensor(made["shipped_bias"])
    return Exported(net, float(made["shipped_temperature"]), bias, float(made["shipped_shift"]))


def export(model: Exported, path: Path) -> Path:
    """Write ONNX with input ``crops`` [n,1,48,48] and outputs ``probabilities`` [n,7], ``face`` [n].

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
