"""ContextFace to ONNX: the face head (E3), the ARKit map (E4), and for small backbones the whole one-pass prefill.

Every graph is checked against what it came from with onnxruntime before it is kept; a difference above the tolerance is
an error and the file is removed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emo_face.core.errors import ModelError
from emo_face.core.types import FloatArray
from emo_face.expression.contextface.exported.plans import FEWEST
from emo_face.expression.contextface.model import ContextFace, tree_reach
from emo_face.expression.contextface.packed import additive, pack, seen
from emo_face.face.expressions.basis import RIDGE, Basis
from emo_face.runtime.engines.onnx_bytes import ONE_FILE
from emo_face.runtime.engines.plan import Precision
from emo_face.runtime.files import write_json
from emo_face.runtime.store import sha256_of
from emo_face.training.common.precision import RELATIVE, lowered, runnable
from emo_face.training.contextface.arkit_graph import OPSET, arkit_graph

TOLERANCE = 1e-4
"""Largest difference that is rounding in float32; half precision: :data:`RELATIVE`."""
SKIN_MM = 0.01
"""Largest difference of a face that nobody sees."""


@dataclass(frozen=True)
class Parity:
    """A written graph and how far onnxruntime is from the original.

    ``worst``: largest absolute difference; in half precision relative to the largest value of the output.
    """

    path: Path
    worst: float


class Prefill(nn.Module):
    """The one-pass prefill: a prompt of any length, its branches behind it.

    Inputs: ``ids`` (1, n) int64, n from :data:`~...exported.plans.FEWEST`; with ``pictures`` also ``picture``
    (tokens, d), the picture's embeddings (:class:`Vision`), anything if the prompt has no picture. The branches are
    fixed. Outputs: ``log_probs`` (k,), ``faces`` (k, outputs). The language model runs in ``precision``, the softmax
    over its words and the face head in float32.

    Raises:
        ModelError: ``pictures`` for a backbone that places picture tokens in three dimensions (Qwen-VL), or one whose
            layers have memory, or a window that a prompt of ``longest`` tokens leaves.
    """

    branch_ids: Tensor
    owner: Tensor
    offsets: Tensor

    def __init__(
        self,
        model: ContextFace,
        branches: Sequence[Sequence[int]],
        longest: int,
        pictures: bool = False,
        precision: Precision = "fp32",
    ) -> None:
        super().__init__()
        base = lowered(model.base, precision)
        if pictures and getattr(base.model, "get_rope_index", None) is not None:
            raise ModelError(f"model type {base.config.model_type!r}: its prefill is exported for words only")
        self.core = base.get_decoder() if pictures else base.model
        self.embed, self.output = base.get_input_embeddings(), base.get_output_embeddings()
        self.dtype = self.embed.weight.dtype
        self.head, self.image_id = model.head, model.image_id
        packed = pack([0], branches)  # every place is counted from the prompt's end
        if max(packed.positions) - 1 + longest >= tree_reach(base, pictures):
            raise ModelError(f"model type {base.config.model_type!r}: its layers do not see the branches side by side")
        states, which, targets, faces = packed.reading(model.config.hidden_offset)
        self.register_buffer("branch_ids", torch.tensor(packed.ids[1:])[None])
        self.register_buffer("owner", torch.tensor(packed.branch[1:]))
        self.register_buffer("offsets", torch.tensor(packed.positions[1:])[None] - 1)
        owners = nn.functional.one_hot(self.owner).T.float()
        given = {"states": torch.tensor(states) - 1, "which": torch.tensor(which), "targets": torch.tensor(targets)}
        for name, value in (given | {"ends": torch.tensor(faces) - 1, "owners": owners}).items():
            self.register_buffer(name, value)

    def forward(self, ids: Tensor, picture: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See the class."""
        size = ids.shape[1]
        every = torch.cat([ids, self.branch_ids], 1)
        mask = additive(seen(nn.functional.pad(self.owner, (size, 0), value=-1)), self.dtype)
        positions = torch.cat([torch.arange(size)[None], size + self.offsets], 1)
        given = {"input_ids": every} if picture is None else {"inputs_embeds": self._embedded(every, picture)}
        states = self.core(**given, attention_mask=mask, position_ids=positions, use_cache=False).last_hidden_state[0]
        scores = torch.log_softmax(self.output(states[size + self.states]).float(), -1)
        each = scores[self.which, self.targets]
        return self.owners @ each, self.head(states[size + self.ends].float())

    def _embedded(self, ids: Tensor, picture: Tensor) -> Tensor:
        """Embeddings of the tokens, the n-th picture token that of the n-th row of ``picture``."""
        here = ids == self.image_id
        rows = (torch.cumsum(here.long(), 1) - 1).clamp(0, picture.shape[0] - 1)
        embedded: Tensor = torch.where(here[..., None], picture[rows].to(self.dtype), self.embed(ids))
        return embedded


class Vision(nn.Module):
    """The vision encoder and its projector: ``pixel_values`` of one picture -> ``picture`` (tokens, d), float32."""

    def __init__(self, model: ContextFace, precision: Precision = "fp32") -> None:
        super().__init__()
        base = lowered(model.base, precision)
        self.core, self.dtype = base.model, base.get_input_embeddings().weight.dtype

    def forward(self, pixel_values: Tensor) -> Tensor:
        """See the class."""
        given = pixel_values.to(self.dtype)
        features = self.core.get_image_features(pixel_values=given, return_dict=True).pooler_output
        rows: Tensor = features[0] if isinstance(features, (list, tuple)) else features
        return rows.reshape(-1, rows.shape[-1]).float()


def export_head(model: ContextFace, path: Path) -> Parity:
    """E3: ``state`` (b, d) -> ``face`` (b, outputs), any batch size."""
    states = torch.randn(3, model.head.hidden_size, generator=torch.Generator().manual_seed(0)) * 3
    batch = torch.export.Dim("batch", min=1, max=4096)
    parity = _export(model.head.eval().cpu(), [(states,)], ["state"], ["face"], path, ({0: batch},))
    card = {
        "groups": {n: [s.start, s.stop] for n, s in model.config.slices().items()},
        "face_basis": model.config.face_basis,
        "sha256": sha256_of(path),
    }
    write_json(path.with_suffix(".json"), card)
    return parity


def export_arkit(basis: Basis, path: Path, steps: int = 2000) -> Parity:
    """E4: ``code`` (b, 107) -> ``arkit`` (b, 52), any batch size, for a basis (the user's FLAME map or ``open-ict-1``).

    Parity is of the faces that come out, in the basis's own millimetres of skin: if two mixes of activations make
    the same face, which of them is found does not matter.

    Raises:
        ModelError: a face differs by more than :data:`SKIN_MM` from the exact solver's.
    """
    import onnx
    import onnxruntime

    path.parent.mkdir(parents=True, exist_ok=True)
    model = arkit_graph(basis, steps)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    rng = np.random.default_rng(0)
    codes = [basis.encode(rng.uniform(0, 1, 52) * (rng.uniform(size=52) < 0.3)) for _ in range(20)]
    stacked = np.stack([code.stacked() for code in codes])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"code": stacked.astype(np.float32)})
    exact = np.stack([basis.decode(code) for code in codes])
    worst = max(skin_mm(basis, a - b) for a, b in zip(got, exact, strict=True))
    if not worst <= SKIN_MM:
        path.unlink()
        raise ModelError(f"{path}: skin differs by {worst:.3f} mm, at most {SKIN_MM} counts as equal; not kept")
    return Parity(path, worst)


def skin_mm(basis: Basis, difference: FloatArray) -> float:
    """Root-mean-square movement of the skin in mm that a difference of ARKit activations (52,) makes."""
    metric = basis._hessian - np.eye(52) * RIDGE**2
    return float(np.sqrt(max(0.0, float(difference @ metric @ difference))))


def export_prefill(
    model: ContextFace,
    branches: Sequence[Sequence[int]],
    longest: int,
    path: Path,
    picture: Tensor | None = None,
    precision: Precision = "fp32",
) -> Parity:
    """The one-pass prefill for prompts of up to ``longest`` tokens; it costs what a prompt is long.

    ``picture``: (tokens, d) embeddings of some picture make a graph that takes pictures too.
    """
    least = FEWEST
    if picture is not None:
        if longest < len(picture) + 16:
            raise ModelError(f"prefill: {longest} tokens hold no picture of {len(picture)} and words; give more")
        least = len(picture) + 9
    samples = []
    for size in (longest, least):
        ids = torch.randint(3, 200, (1, size), generator=torch.Generator().manual_seed(size))
        if picture is not None:
            ids[0, 4 : 4 + len(picture)] = model.image_id
        samples.append((ids,) if picture is None else (ids, picture))
    names = ["ids", "picture"][: len(samples[0])]
    length = {1: torch.export.Dim("length", min=FEWEST, max=longest)}
    with torch.no_grad():
        exact = Prefill(model, branches, longest, picture is not None).eval()
        wanted = [exact(*given) for given in samples]
    graph = Prefill(model, branches, longest, picture is not None, precision).eval()
    dynamic = (length, None)[: len(names)]
    return _export(graph, samples, names, ["log_probs", "faces"], path, dynamic, wanted, precision)


def export_vision(
    model: ContextFace, pixels: Tensor, path: Path, precision: Precision = "fp32"
) -> tuple[Parity, Tensor]:
    """The vision encoder at the shape of ``pixels``, and the embeddings (tokens, d) that it gives for them."""
    with torch.no_grad():
        rows = Vision(model).eval()(pixels)
    graph = Vision(model, precision).eval()
    return _export(graph, [(pixels,)], ["pixel_values"], ["picture"], path, None, [(rows,)], precision), rows


def _export(
    graph: nn.Module,
    samples: Sequence[tuple[Tensor, ...]],
    names: list[str],
    outputs: list[str],
    path: Path,
    dynamic: Any,
    wanted: Sequence[tuple[Tensor, ...]] = (),
    precision: Precision = "fp32",
) -> Parity:
    """Write ``graph`` and compare it on each of ``samples`` with ``wanted``, what float32 gives; empty: what ``graph``
    itself gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = [*graph.parameters(), *graph.buffers()]
    with torch.no_grad():
        torch.onnx.export(
            graph,
            samples[0],
            str(path),
            input_names=names,
            output_names=outputs,
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=dynamic,
            external_data=sum(one.nbytes for one in weights) > ONE_FILE,
            verbose=False,
        )
        found = wanted or [(graph(*given),) for given in samples]
    worst = _worst(path, samples, names, found, precision)
    limit = TOLERANCE if precision == "fp32" else RELATIVE
    if not worst <= limit:
        for file in path.parent.glob(path.name + "*"):  # weights may lie beside the graph
            file.unlink()
        raise ModelError(f"{path}: onnxruntime differs by {worst:.2e}, at most {limit:g} is rounding; not kept")
    return Parity(path, worst)


def _worst(
    path: Path,
    samples: Sequence[tuple[Tensor, ...]],
    names: list[str],
    wanted: Sequence[tuple[Tensor, ...]],
    precision: Precision,
) -> float:
    import onnxruntime

    worst = []
    with runnable(path, precision) as graph:
        session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
        for inputs, right in zip(samples, wanted, strict=True):
            got = session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})
            scales = [1.0 if precision == "fp32" else max(1e-6, float(b.abs().max())) for b in right]
            worst += [float(np.abs(a - b.numpy()).max()) / s for a, b, s in zip(got, right, scales, strict=True)]
    return max(worst)
