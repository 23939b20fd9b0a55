"""Make the person detector twice as fast on a CPU: int8 by calibration on your own pictures, no training.

Weights become int8 a channel, activations uint8 from the ranges seen on the pictures; the last layers of the head
stay float. The result is compared with the float model on pictures kept aside, and refused if it sees other people.

  scripts/setup.sh ultralytics                    # for onnx
  emo-face export yolo-int8 PICTURES            # folder of pictures like those the robot sees, 20 or more
  emo-face up --set perception.detector.yolo=yolo11n_int8

The file goes to the user cache and its hash into the overlay manifest there, as with emo-face export yolo.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.core.geometry import Letterbox, iou
from emo_face.core.types import ImageArray
from emo_face.export import int8
from emo_face.perception.detect_yolo import Body, YoloPersonDetector, preprocess
from emo_face.runtime.engines.ort import OrtEngine
from emo_face.runtime.files import replacing
from emo_face.runtime.stills import readable
from emo_face.runtime.store import entry_of, open_store, register, user_cache

PICTURES = (".jpg", ".jpeg", ".png")
LEAST = 20
QUANTISED = ["Conv", "Mul", "Sigmoid", "Add", "Concat", "MaxPool", "Split"]
CLEAR = 0.1  # a person this far above the threshold must be seen by both; nearer ones may flip
MIN_AGREEMENT = 0.97  # share of the pictures kept aside in which both see the same people
MIN_OVERLAP = 0.9  # median overlap of the boxes


def read_pictures(folder: Path) -> list[ImageArray]:
    """Every picture below ``folder``. Raises UserError if there are too few."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES)
    frames = [frame for frame in map(readable, files) if frame is not None]
    if len(frames) < LEAST:
        raise UserError(f"{folder}: {len(frames)} readable pictures, expected {LEAST} or more ({', '.join(PICTURES)})")
    return frames


def quantise(source: Path, target: Path, frames: Sequence[ImageArray], imgsz: int) -> None:
    """Write the int8 form of ``source``, calibrated on ``frames``. Raises UserError without the package onnx."""
    int8.quantise(source, target, lambda: _inputs(frames, imgsz), QUANTISED, _head)


def _inputs(frames: Sequence[ImageArray], imgsz: int) -> Iterator[dict[str, Any]]:
    for frame in frames:
        yield {"images": preprocess(frame, Letterbox.fit(frame.shape[1], frame.shape[0], imgsz))}


def _head(graph: Any) -> list[str]:
    """Names of the arithmetic in the detection head (the last block): boxes in pixels need more than 8 bits."""
    blocks = [int(n.name.split("/")[1].removeprefix("model.")) for n in graph.node if n.name.startswith("/model.")]
    last = f"/model.{max(blocks, default=23)}/"
    return [node.name for node in graph.node if node.name.startswith(last) and node.op_type != "Conv"]


def compare(source: Path, target: Path, frames: Sequence[ImageArray], imgsz: int) -> tuple[float, float]:
    """Share of ``frames`` in which both see the same people, and the median overlap of the boxes."""
    before, after = (YoloPersonDetector(OrtEngine(path), imgsz) for path in (source, target))
    same = 0
    overlaps: list[float] = []
    for frame in frames:
        old, new = before.detect(frame), after.detect(frame)
        same += _covered(old, new, before.confidence) and _covered(new, old, before.confidence)
        overlaps += [max((iou(a.box, b.box) for b in new), default=0.0) for a in old]
    return same / len(frames), float(np.median(overlaps)) if overlaps else 0.0


def _covered(these: Sequence[Body], those: Sequence[Body], confidence: float) -> bool:
    """Whether every clear detection of ``these`` has a partner among ``those``."""
    clear = [body for body in these if body.score >= confidence + CLEAR]
    return all(any(iou(body.box, other.box) > 0.5 for other in those) for body in clear)


add_arguments = arguments(
    option("pictures", type=Path, help="folder of pictures; every third is held out for the comparison"),
    option("--model", default="yolo11n", help="name of the float model in the store"),
    option("--imgsz", type=int, default=320),
)


def run(args: argparse.Namespace) -> list[Path]:
    """Quantise, compare, register; the file written. Raises UserError if int8 sees other people."""
    name = f"{args.model}_int8"
    target = user_cache() / f"{name}.onnx"
    frames = read_pictures(args.pictures)
    source = open_store().resolve(args.model)
    with replacing(target) as partial:
        quantise(source.path, partial, [f for i, f in enumerate(frames) if i % 3], args.imgsz)
        same, overlap = compare(source.path, partial, frames[::3], args.imgsz)
        print(f"same people in {same:.0%} of {len(frames[::3])} pictures, median overlap {overlap:.3f}")
        if same < MIN_AGREEMENT or overlap < MIN_OVERLAP:
            raise UserError(f"int8 sees other people than {args.model}: not kept; give more pictures of your camera")
    purpose = f"{args.model} in int8, by emo-face export yolo-int8"
    register(entry_of(target, name, licence=source.entry.licence, purpose=purpose))
    print(f"{name}: {target}; use it by the parameter detector.yolo: {name}")
    return [target]
