"""How the exported graphs of ContextFace run on a GPU (``emo-face export contextface``)."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from emo_face.core.errors import ModelError
from emo_face.expression.contextface.exported.table import read_export
from emo_face.runtime.engines.base import Array, Shape
from emo_face.runtime.engines.ort import OrtEngine
from emo_face.runtime.engines.plan import Plan, Range

WORDS = 7
"""Faces of one answer: one per emotion word."""
FEWEST = 2
"""Tokens of the shortest prompt."""

VISION = Plan("contextface_vision")
ARKIT = Plan("contextface_arkit", cpu_only="it is a loop in double precision over 52 numbers: TensorRT has no doubles")


def head_plan(width: int) -> Plan:
    """``width``: of a hidden state. An answer has one state for each word."""
    state = Range((1, width), (WORDS, width), (WORDS, width))
    return Plan("contextface_head", {"state": state}, {"face": "state"}, (1, WORDS))


def prefill_plan(longest: int) -> Plan:
    """``longest``: tokens of the longest prompt that it was exported for."""
    ids = Range((1, FEWEST), (1, max(FEWEST, longest // 2)), (1, longest))
    return Plan("contextface_prefill", {"ids": ids}, sample=_prompt)


def _prompt(rng: np.random.Generator, shapes: Mapping[str, Shape]) -> dict[str, Array]:
    """A prompt, and any picture."""
    feeds: dict[str, Array] = {"ids": rng.integers(3, 200, shapes["ids"])}
    if "picture" in shapes:
        feeds["picture"] = rng.standard_normal(shapes["picture"]).astype(np.float32)
    return feeds


def plans(folder: Path) -> Iterator[tuple[Path, Plan]]:
    """The graphs of an export with their plans. Raises ModelError if there is no head, or no card."""
    head = folder / "head.onnx"
    if not head.is_file():
        raise ModelError(f"{folder}: no head.onnx here; export it by `emo-face export contextface --out {folder}`")
    width = OrtEngine(head).inputs[0].shape[1]
    yield head, head_plan(int(width or 0))
    if (path := folder / "vision.onnx").is_file():
        yield path, VISION
    if (path := folder / "prefill.onnx").is_file():
        yield path, prefill_plan(int(read_export(folder)["prompt"]))
    if (path := folder / "arkit.onnx").is_file():
        yield path, ARKIT
