"""From trained nets to ``nano_face.onnx``, and proof that both say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from emo_face.core.errors import ModelError
from emo_face.perception.nano.facecrop import CROP
from emo_face.training.fer.model import Exported

OPSET = 17
TOLERANCE = 1e-3
LIMIT = 4_000_000


def export(model: Exported, path: Path) -> Path:
    """Write ONNX with input ``crops`` [n,1,48,48] and outputs ``probabilities`` [n,7], ``face`` [n].

    Raises:
        ModelError: the file is over 4 MB, or onnxruntime does not reproduce torch's numbers.
    """
    import onnxruntime as ort

    model.eval()
    example = torch.randn(3, 1, CROP, CROP, generator=torch.Generator().manual_seed(0))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model, (example,), str(path), input_names=["crops"], output_names=["probabilities", "face"],
        opset_version=OPSET,
        dynamic_axes={"crops": {0: "n"}, "probabilities": {0: "n"}, "face": {0: "n"}}, dynamo=False,
    )  # fmt: skip
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
