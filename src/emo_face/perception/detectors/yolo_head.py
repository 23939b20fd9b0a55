"""What an ultralytics ONNX file of YOLO11 or later gives out: read off its shapes and its own key-value pairs.

The exporter (ultralytics/engine/exporter.py, 8.3 and 8.4) writes ``names`` (a dictionary of class numbers), ``task``,
``stride``, ``kpt_shape`` of pose files, and one of three outputs:

    [n, 4 + classes + extra, anchors]   rows cx, cy, w, h in pixels of the input, a score per class, and the extra
                                        values: mask coefficients (segment) or keypoints (pose)
    [n, anchors, 4 + classes + extra]   the same transposed, by other exporters
    [n, found, 6 + extra]               x1, y1, x2, y2, score, class, best first: NMS inside (``nms=True``), or none
                                        needed (``end2end``, YOLO26)
"""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import ModelError
from emo_face.core.types import FloatArray
from emo_face.runtime.engines.base import TensorSpec

PEOPLE = frozenset(
    {
        "person",
        "persons",
        "people",
        "pedestrian",
        "pedestrians",
        "human",
        "humans",
        "man",
        "woman",
        "boy",
        "girl",
        "child",
    }
)
COCO_CLASSES, COCO_PERSON = 80, 0
STRIDES = (8, 16, 32)
TASKS = ("detect", "segment", "pose")
MEND = "export a detector of people by `emo-face export yolo`"


@dataclass(frozen=True, slots=True)
class YoloHead:
    """How to feed a file and read what comes out.

    Attributes:
        name: of the network, by the file, for example ``yolo11n``.
        layout: ``columns`` [rows, anchors], ``rows`` the same transposed, ``found`` boxes that are chosen already.
        people: numbers of the classes that are people.
        size: (height, width) that the input is fixed at, pixels; None takes any multiple of the stride.
        dtype: of the input.
    """

    name: str
    layout: Literal["columns", "rows", "found"]
    people: tuple[int, ...]
    size: tuple[int, int] | None
    dtype: str

    def read(self, raw: NDArray[np.generic]) -> tuple[FloatArray, FloatArray]:
        """(n, 4) boxes cx, cy, w, h in pixels of the input, and (n,) scores of a person; float64, as they come."""
        values = np.asarray(raw, np.float64)
        if self.layout == "found":
            chosen = values[np.isin(values[:, 5], self.people)]
            x1, y1, x2, y2 = chosen[:, :4].T
            return np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=1), chosen[:, 4]
        rows = values if self.layout == "columns" else values.T
        return rows[:4].T, rows[[4 + number for number in self.people]].max(axis=0)


def understand(
    path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], metadata: Mapping[str, str]
) -> YoloHead:
    """Say how a file is fed and read. Raises ModelError that names the file and what was found in it."""
    found = f"inputs {_shapes(inputs)}, outputs {_shapes(outputs)}"
    task = metadata.get("task", "detect")
    if task not in TASKS:
        raise ModelError(f"{path}: a YOLO file for the task {task!r}, expected {', '.join(TASKS)}; {MEND}")
    entry = inputs[0].shape if len(inputs) == 1 else ()
    detections = [output for output in outputs if len(output.shape) == 3]
    masks = [output for output in outputs if len(output.shape) == 4]
    if len(entry) != 4 or entry[1] not in (3, None) or len(detections) != 1 or len(outputs) != 1 + len(masks):
        raise ModelError(
            f"{path}: not a YOLO detector: expected one input [n,3,h,w] and one output "
            f"[n,4+classes,anchors] or [n,found,6], got {found}; {MEND}"
        )
    if entry[0] not in (1, None):
        raise ModelError(f"{path}: takes {entry[0]} pictures at once, expected 1; export it with batch=1")
    if inputs[0].dtype not in ("float32", "float16"):
        raise ModelError(f"{path}: takes {inputs[0].dtype} pictures, expected float32 or float16; {MEND}")
    if (entry[2] is None) != (entry[3] is None):
        raise ModelError(f"{path}: one side of its input is fixed and one is not, got {found}; {MEND}")
    size = None if entry[2] is None or entry[3] is None else (entry[2], entry[3])
    names = _names(path, metadata)
    extra = _extra(metadata, task, masks)
    layout = _layout(detections[0].shape, size, len(names) if names else None, extra)
    if layout is None:
        classes = f"{len(names)} classes" if names else "no names of classes"
        raise ModelError(f"{path}: cannot tell boxes from scores: {found}, {classes}, task {task!r}; {MEND}")
    return YoloHead(_title(metadata), layout, _people(path, names, detections[0].shape, layout), size, inputs[0].dtype)


def _shapes(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.dtype}[{','.join('?' if n is None else str(n) for n in spec.shape)}]" for spec in specs)


def _title(metadata: Mapping[str, str]) -> str:
    """``yolo11n`` of "Ultralytics YOLO11n model trained on coco.yaml"."""
    match = re.search(r"YOLO[\w-]*", metadata.get("description", ""), re.IGNORECASE)
    return match.group().lower() if match else "yolo"


def _names(path: Path, metadata: Mapping[str, str]) -> dict[int, str] | None:
    """Class names by number, or None if the file does not say."""
    if not metadata.get("names"):
        return None
    try:
        names = ast.literal_eval(metadata["names"])
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): str(name) for number, name in pairs}
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ModelError(f"{path}: names: expected a dictionary of classes, got {metadata['names'][:60]!r}") from None


def _extra(metadata: Mapping[str, str], task: str, masks: Sequence[TensorSpec]) -> int | None:
    """Values of each box beside box and scores: none, a mask's coefficients or keypoints; None if not told."""
    if masks:
        return masks[0].shape[1]
    if task == "pose" or "kpt_shape" in metadata:
        numbers = [int(n) for n in re.findall(r"\d+", metadata.get("kpt_shape", ""))]
        return numbers[0] * numbers[1] if len(numbers) == 2 else None
    return 0


def _layout(
    shape: Sequence[int | None], size: tuple[int, int] | None, classes: int | None, extra: int | None
) -> Literal["columns", "rows", "found"] | None:
    """Which axis holds what: by the number of rows, and of anchors if the input is fixed. None if it cannot be told."""
    if extra is None:
        return None
    _, first, second = shape
    rows = (COCO_CLASSES if classes is None else classes) + 4 + extra
    anchors = None if size is None else sum((size[0] // s) * (size[1] // s) for s in STRIDES)
    fits = {number for number in (first, second) if anchors is None or number in (anchors, None)}
    if first == rows and second != rows and second in fits:
        return "columns"
    if second == 6 + extra and (rows != 6 + extra or (anchors is not None and first not in fits)):
        return "found"
    if second == rows and first in fits and (rows != 6 + extra or anchors is not None):
        return "rows"
    # the exporter leaves the number of rows open in some dynamic files; columns are all that it writes then
    return "columns" if first is None and second is None else None


def _people(path: Path, names: Mapping[int, str] | None, shape: Sequence[int | None], layout: str) -> tuple[int, ...]:
    if names is None:
        if layout == "found" or shape[1 if layout == "columns" else 2] is None:
            raise ModelError(f"{path}: does not name its classes, so people cannot be told; {MEND}")
        return (COCO_PERSON,)
    people = tuple(number for number, name in sorted(names.items()) if name.strip().lower() in PEOPLE)
    if not people:
        some = ", ".join(list(names.values())[:5]) + (", ..." if len(names) > 5 else "")
        raise ModelError(f"{path}: detects {some}, no people (expected a class person); {MEND}")
    return people
