"""Start a training from a shipped student instead of the bare encoder: its int8 weights back in float.

What a student has learned of comments and subtitles need not be learned anew when sources or outputs are added: the
upper layers and the new head learn for one epoch, a sixth of the time of a training from the encoder.
"""

from collections.abc import Mapping, Sequence
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


def start_from(net: TextNet, paths: Sequence[Path]) -> int:
    """Give ``net`` the mean weights of the students in ``paths``; returns how many outputs they have, 7 or 37.

    An output that only some have is theirs.

    Students of one encoder that learned from one another lie in one valley of the loss, and the middle is better than
    either end (Wortsman et al., "Model soups", ICML 2022).

    Raises:
        UserError: a file is not a speech student of this encoder.
    """
    states = [_state(net, path) for path in paths]
    outputs = max(len(state["head.bias"]) for state in states)
    mean = {}
    for name in states[0]:
        parts = [state[name] for state in states]
        if name.startswith("head."):
            mean[name] = torch.stack(
                [torch.stack([part[row] for part in parts if len(part) > row]).mean(0) for row in range(outputs)]
            )
        else:
            mean[name] = torch.stack(parts).mean(0)
    whole = net.state_dict()
    for name in ("head.weight", "head.bias"):
        mean[name] = torch.cat([mean[name], whole[name][outputs:]])
    net.load_state_dict({**whole, **mean})
    return outputs


def mixed_with(
    trained: Mapping[str, torch.Tensor], start: Mapping[str, torch.Tensor], share: float, outputs: int
) -> dict[str, torch.Tensor]:
    """Weights of which ``share`` is the start's, but for outputs that the start did not have.

    A share of the start keeps what was good and loses little of what is new (Wortsman et al., "Robust fine-tuning of
    zero-shot models", CVPR 2022).
    """
    mixed = {}
    for name, value in trained.items():
        mixed[name] = torch.lerp(value, start[name], share) if value.is_floating_point() else value
        if name.startswith("head."):
            mixed[name] = torch.cat([mixed[name][:outputs], value[outputs:]])
    return mixed


def _state(net: TextNet, path: Path) -> dict[str, torch.Tensor]:
    """Encoder and head of a student under the names of ``net.state_dict()``; the head has its own outputs only."""
    import onnx
    from onnx import numpy_helper

    try:
        graph = onnx.load(str(path)).graph
        stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        used = [node.input[1] for node in graph.node if node.op_type == "MatMulInteger"]
        state = _encoder(net, stored, used)
        weight = torch.from_numpy(np.ascontiguousarray(_whole(stored, used[-1]).T))
        if len(weight) not in (SEVEN, len(net.head.bias)):
            raise ValueError(f"a head of {len(weight)} outputs")
        state |= {"head.weight": weight, "head.bias": torch.from_numpy(stored["head.bias"].copy())}
        whole = net.state_dict()
        for name, value in state.items():
            if value.shape[-1:] != whole[name].shape[-1:] and name != "head.bias":
                raise ValueError(f"{name} is {tuple(value.shape)} instead of {tuple(whole[name].shape)}")
        return state
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
