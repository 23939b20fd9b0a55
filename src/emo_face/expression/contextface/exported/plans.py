"""How the exported graphs of ContextFace run on a GPU (``emo-face export contextface``)."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from emo_face.core.errors import ModelError
from emo_face.runtime.engines.base import Array, Shape
from emo_face.runtime.engines.ort import OrtEngine
from emo_face.runtime.engines.plan import Plan, Range

WORDS = 7
"""Faces of one answer: one per emotion word."""

VISION = Plan("contextface_vision")
ARKIT = Plan("contextface_arkit", cpu_only="it is a loop in double precision over 52 numbers: TensorRT has no doubles")


def head_plan(width: int) -> Plan:
    """``width``: of a hidden state. An answer has one state for each word."""
    state = Range((1, width), (WORDS, width), (WORDS, width))
    return Plan("contextface_head", {"state": state}, {"face": "state"}, (1, WORDS))


def prefill_plan() -> Plan:
    """Every shape is fixed by the export."""
    return Plan("contextface_prefill", sample=_prompt)


def _prompt(rng: np.random.Generator, shapes: Mapping[str, Shape]) -> dict[str, Array]:
    """A prompt padded on the left, and any picture."""
    size = shapes["ids"][1]
    real = max(1, size - 7)
    ids = np.zeros((1, size), np.int64)
    ids[0, size - real :] = rng.integers(3, 200, real)
    feeds: dict[str, Array] = {"ids": ids, "length": np.array([real], np.int64)}
    if "picture" in shapes:
        feeds["picture"] = rng.standard_normal(shapes["picture"]).astype(np.float32)
    return feeds


def plans(folder: Path) -> Iterator[tuple[Path, Plan]]:
    """The graphs of an export with their plans. Raises ModelError if there is no head."""
    head = folder / "head.onnx"
    if not head.is_file():
        raise ModelError(f"{folder}: no head.onnx here; export it by `emo-face export contextface --out {folder}`")
    width = OrtEngine(head).inputs[0].shape[1]
    yield head, head_plan(int(width or 0))
    for name, plan in (("vision", VISION), ("prefill", prefill_plan()), ("arkit", ARKIT)):
        if (path := folder / f"{name}.onnx").is_file():
            yield path, plan
