"""What an ultralytics ONNX file of YOLO11 or later gives out: seen in one run, and read off its own key-value pairs.

The exporter (ultralytics/engine/exporter.py, 8.3 and 8.4) writes ``names`` (a dictionary of class numbers), ``task``,
``stride``, ``kpt_shape`` of pose files, and one of three outputs:

    [n, 4 + classes + extra, anchors]   rows cx, cy, w, h in pixels of the input, a score per class, and the extra
                                        values: mask coefficients (segment) or keypoints (pose)
    [n, anchors, 4 + classes + extra]   the same transposed, by other exporters
    [n, found, 6 + extra]               x1, y1, x2, y2, score, class, best first: NMS inside (``nms=True``), or none
                                        needed (``end2end``, YOLO26)

Which one is told by a run on a grey picture: the file's own shapes may be open or wrong (a ``dynamic`` file that
onnxslim did not see calls the six columns of the last form "anchors").
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
from emo_face.runtime.engines.base import Engine, TensorSpec

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
        "baby",
        "rider",  # cityscapes.yaml, BDD100K
        "person_sitting",  # kitti.yaml
    }
)
COCO_CLASSES, COCO_PERSON = 80, 0
STRIDES = ((8, 16, 32), (4, 8, 16, 32), (8, 16, 32, 64))
"""Of the heads of yolo11.yaml, yolo26-p2.yaml and yolo26-p6.yaml."""
GREY = 114  # the colour of the letterbox that YOLO was trained with
ROUNDING = 1e-3  # a score of 16 bits or of int8 weights may be above 1 by this
TASKS = ("detect", "segment", "pose")
Layout = Literal["columns", "rows", "found"]
MEND = "export a detector of people by `emo-face export yolo`"


@dataclass(frozen=True, slots=True)
class YoloHead:
    """How to feed a file and read what comes out.

    Attributes:
        name: of the network, by the file, for example ``yolo11n``.
        layout: ``columns`` [rows, anchors], ``rows`` the same transposed, ``found`` boxes that are chosen already.
        people: numbers of the classes that are people.
        size: (height, width) that the input is fixed at, pixels; None takes any multiple of the stride.
        dtype: of the input. stride: its sides are multiples of this, pixels.
    """

    name: str
    layout: Layout
    people: tuple[int, ...]
    size: tuple[int, int] | None
    dtype: str
    stride: int

    def read(self, raw: NDArray[np.generic]) -> tuple[FloatArray, FloatArray]:
        """(n, 4) boxes cx, cy, w, h in pixels of the input, and (n,) scores of a person; float64, as they come."""
        values = np.asarray(raw, np.float64)
        if self.layout == "found":
            chosen = values[np.isin(values[:, 5], self.people)]
            x1, y1, x2, y2 = chosen[:, :4].T
            return np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=1), chosen[:, 4]
        rows = values if self.layout == "columns" else values.T
        return rows[:4].T, rows[[4 + number for number in self.people]].max(axis=0)


def understand(engine: Engine, imgsz: int) -> YoloHead:
    """Say how a file is fed and read, by one run on a grey picture.

    Args:
        imgsz: side of that picture, pixels, if the file takes any.

    Raises:
        ModelError: the file is no YOLO detector of people, or its numbers are no boxes and scores; names the file and
            what was found in it.
    """
    path, metadata = engine.path, engine.metadata
    size = _entry(engine)
    stride = 64 if metadata.get("stride") == "64" else 32  # P6, or all others
    side = -(-imgsz // stride) * stride
    height, width = size or (side, side)
    grey = np.full((1, 3, height, width), GREY / 255, engine.inputs[0].dtype)
    outputs = engine.run({engine.inputs[0].name: grey})
    raw = next(output for output in outputs if output.ndim == 3)
    names, extra = _names(path, metadata), _extra(metadata, [output for output in outputs if output.ndim == 4])
    layout = _layout(raw.shape[1:], (height, width), len(names) if names else COCO_CLASSES, extra)
    if layout is None:
        classes = f"{len(names)} classes" if names else "no names of classes"
        raise ModelError(
            f"{path}: cannot tell boxes from scores: {_found(engine)}, {classes}, "
            f"task {metadata.get('task', 'detect')!r}, it gave {list(raw.shape)}; {MEND}"
        )
    people = _people(path, names, layout)
    head = YoloHead(_title(metadata), layout, people, size, engine.inputs[0].dtype, stride)
    if said := _odd(*head.read(raw[0]), width, layout):
        raise ModelError(f"{path}: read as a YOLO file it gives {said}; {MEND}")
    return head


def _entry(engine: Engine) -> tuple[int, int] | None:
    """The input's fixed (height, width), or None. Raises ModelError."""
    path, inputs, outputs = engine.path, engine.inputs, engine.outputs
    task = engine.metadata.get("task", "detect")
    if task not in TASKS:
        raise ModelError(f"{path}: a YOLO file for the task {task!r}, expected {', '.join(TASKS)}; {MEND}")
    entry = inputs[0].shape if len(inputs) == 1 else ()
    ranks = [len(output.shape) for output in outputs]
    if len(entry) != 4 or entry[1] not in (3, None) or sorted(ranks) not in ([3], [3, 4]):
        raise ModelError(
            f"{path}: not a YOLO detector: expected one input [n,3,h,w] and one output "
            f"[n,4+classes,anchors] or [n,found,6], got {_found(engine)}; {MEND}"
        )
    if entry[0] not in (1, None):
        raise ModelError(f"{path}: takes {entry[0]} pictures at once, expected 1; export it with batch=1")
    if inputs[0].dtype not in ("float32", "float16"):
        raise ModelError(f"{path}: takes {inputs[0].dtype} pictures, expected float32 or float16; {MEND}")
    if (entry[2] is None) != (entry[3] is None):
        raise ModelError(f"{path}: one side of its input is fixed and one is not, got {_found(engine)}; {MEND}")
    return None if entry[2] is None or entry[3] is None else (entry[2], entry[3])


def _odd(boxes: FloatArray, scores: FloatArray, width: int, layout: Layout) -> str:
    """What no detector can say about a grey picture, or ""."""
    low, high = (float(scores.min()), float(scores.max())) if scores.size else (0.0, 0.0)
    if not -ROUNDING <= low <= high <= 1 + ROUNDING:
        return f"scores from {low:.3g} to {high:.3g}, expected 0 to 1"
    if layout != "found" and not width / 2 < float(boxes[:, 0].max()) < 2 * width:
        return f"box centres up to {boxes[:, 0].max():.3g}, expected pixels of an input {width} wide"
    return ""


def _found(engine: Engine) -> str:
    return f"inputs {_shapes(engine.inputs)}, outputs {_shapes(engine.outputs)}"


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


def _extra(metadata: Mapping[str, str], masks: Sequence[NDArray[np.generic]]) -> int | None:
    """Values of each box beside box and scores: none, a mask's coefficients or keypoints; None if not told."""
    if masks:
        return int(masks[0].shape[1])
    if metadata.get("task") == "pose" or "kpt_shape" in metadata:
        numbers = [int(n) for n in re.findall(r"\d+", metadata.get("kpt_shape", ""))]
        return numbers[0] * numbers[1] if len(numbers) == 2 else None
    return 0


def _layout(shape: Sequence[int], size: tuple[int, int], classes: int, extra: int | None) -> Layout | None:
    """Which of the two axes holds what, for an input of (height, width). None if it cannot be told."""
    if extra is None:
        return None
    first, second = shape
    rows = 4 + classes + extra
    anchors = {sum((size[0] // s) * (size[1] // s) for s in strides) for strides in STRIDES}
    if first == rows and second in anchors:
        return "columns"
    if second == rows and first in anchors:
        return "rows"
    return "found" if second == 6 + extra else None


def _people(path: Path, names: Mapping[int, str] | None, layout: Layout) -> tuple[int, ...]:
    """Numbers of the classes that are people; LVIS names one "person/baby/child/boy/girl/man/woman/human"."""
    if names is None:
        if layout == "found":
            raise ModelError(f"{path}: does not name its classes, so people cannot be recognised; {MEND}")
        return (COCO_PERSON,)
    people = (number for number, name in names.items() if PEOPLE & {part.strip() for part in name.lower().split("/")})
    if not (known := tuple(sorted(people))):
        some = ", ".join(list(names.values())[:5]) + (", ..." if len(names) > 5 else "")
        raise ModelError(f"{path}: detects {some}, no people (expected a class person); {MEND}")
    return known
