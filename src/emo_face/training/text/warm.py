"""Start a training from a shipped student instead of the bare encoder: its int8 weights back in float.

What a student has learned of comments and subtitles need not be learned anew when sources or outputs are added: the
upper layers and the new head learn for one epoch, a sixth of the time of a training from the encoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from emo_face.core.errors import UserError
from emo_face.core.types import FloatArray
from emo_face.training.text.model import SEVEN, TextNet

_MATRICES = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
"""Weights of a layer in the order in which its graph uses them."""


def start_from(net: TextNet, path: Path) -> None:
    """Copy encoder and heads of the student in ``path`` into ``net`` (same encoder).

    Raises:
        UserError: the file is not a speech student of this encoder.
    """
    import onnx
    from onnx import numpy_helper

    try:
        graph = onnx.load(str(path)).graph
        stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        used = [node.input[1] for node in graph.node if node.op_type == "MatMulInteger"]
        state = _encoder(net, stored, used)
        head = net.head.weight.detach().clone(), net.head.bias.detach().clone()
        weight = _whole(stored, used[-1]).T
        rows = len(weight)
        if rows not in (SEVEN, len(head[0])):
            raise ValueError(f"a head of {rows} outputs")
        head[0][:rows], head[1][:rows] = torch.from_numpy(weight), torch.from_numpy(stored["head.bias"].copy())
        net.load_state_dict({**net.state_dict(), **state, "head.weight": head[0], "head.bias": head[1]})
    except (OSError, KeyError, ValueError, IndexError, RuntimeError) as error:
        raise UserError(f"--start {path}: expected a nano_text.onnx of the same encoder: {error}") from None


def _encoder(net: TextNet, stored: dict[str, FloatArray], used: list[str]) -> dict[str, torch.Tensor]:
    """State of ``net.encoder`` under the names of ``net.state_dict()``."""
    own: Any = net.encoder
    embeddings = own.embeddings
    table = stored["words.table"].astype(np.float32) * stored["words.scale"]
    positions = embeddings.position_embeddings.weight.detach().clone()
    kept = torch.from_numpy(stored["positions"].copy())
    positions[: len(kept)] = kept - embeddings.token_type_embeddings.weight[0].detach()
    state = {
        "encoder.embeddings.word_embeddings.weight": torch.from_numpy(table),
        "encoder.embeddings.position_embeddings.weight": positions,
        "encoder.embeddings.LayerNorm.weight": torch.from_numpy(stored["norm.weight"].copy()),
        "encoder.embeddings.LayerNorm.bias": torch.from_numpy(stored["norm.bias"].copy()),
    }
    for name, value in stored.items():
        if name.startswith("layers."):
            state[f"encoder.encoder.layer.{name.removeprefix('layers.')}"] = torch.from_numpy(value.copy())
    for index in range(len(own.encoder.layer)):
        for offset, name in enumerate(_MATRICES):
            weight = _whole(stored, used[index * len(_MATRICES) + offset])
            state[f"encoder.encoder.layer.{index}.{name}.weight"] = torch.from_numpy(weight.T.copy())
    return state


def _whole(stored: dict[str, FloatArray], name: str) -> FloatArray:
    """A quantised matrix (in, out) in float32."""
    base = name.removesuffix("_quantized")
    offset = stored[f"{base}_zero_point"].astype(np.float32)
    return np.asarray((stored[name].astype(np.float32) - offset) * stored[f"{base}_scale"])
