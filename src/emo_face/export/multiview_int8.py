"""An exported multi-view model in 8 bits for TensorRT, by calibration on your own pictures; refused if answers change.

Products with weights become int8 (--fp8: float8, for Ada, Hopper and later); attention, LayerNorm and the head stay
float. The result is compared with the float model on people kept aside.

  emo-face export multiview-int8 PICTURES --model out/export --out out/int8            # Jetson Orin and every newer GPU
  emo-face export multiview-int8 PICTURES --model out/export --out out/fp8 --fp8 --tensorrt
  emo-face up --tier full --set perception.multiview.folder=out/int8
"""

import argparse
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.core.types import FloatArray, ImageArray, Person
from emo_face.export.int8 import FP8, GPU, judge, quantise
from emo_face.export.tensorrt import add_flag, build, shown
from emo_face.export.yolo_int8 import read_pictures
from emo_face.perception.build import build_pipeline
from emo_face.perception.engines import multiview_targets
from emo_face.perception.multiview import export_manifest
from emo_face.perception.multiview.config import EncoderConfig
from emo_face.perception.multiview.model import MultiViewEmotion, load, of_export
from emo_face.perception.multiview.parts import blank_views
from emo_face.perception.multiview.preprocess import view_batch
from emo_face.runtime.store import open_store

LEAST = 30  # people: a third of them judges
Seen = Sequence[tuple[ImageArray, Sequence[Person]]]


add_arguments = arguments(
    option("pictures", type=Path, help="folder of pictures with people; every third is held out"),
    option("--model", type=Path, required=True, metavar="DIR", help="folder written by emo-face export multiview"),
    option("--out", type=Path, required=True, metavar="DIR"),
    option("--fp8", action="store_true", help="float8 (E4M3) in place of int8"),
    add_flag,
)


def run(args: argparse.Namespace) -> list[Path]:
    """Quantise, compare, write; the files written. Raises UserError if 8 bits read other emotions."""
    if args.out.resolve() == args.model.resolve():
        raise UserError(f"--out {args.out}: expected another folder than --model")
    manifest = export_manifest.read(args.model)
    model = of_export(manifest)
    seen = people_of(model, read_pictures(args.pictures))
    args.out.mkdir(parents=True, exist_ok=True)
    name, form = ("fp8", FP8) if args.fp8 else ("int8", GPU)
    calibrating = [one for i, one in enumerate(seen) if i % 3]
    graph = args.out / "encoder.onnx"
    feeds = partial(_feeds, calibrating, manifest.encoder)
    quantise(args.model / "encoder.onnx", graph, feeds, ("MatMul", "Gemm"), _without_weights, form)
    for part in manifest.files("head"):
        shutil.copy2(part, args.out / part.name)
    details = {**manifest.details, "precision": name}
    written = export_manifest.write(args.out, manifest.encoder, manifest.head, details)
    try:
        judge(str(args.model), _scores(model, seen[::3]), _scores(load(args.out, backend="onnx"), seen[::3]), name)
    except UserError:
        written.unlink()
        raise
    if args.tensorrt:
        for made in build(multiview_targets(args.out)):
            print(shown(made))
    return [graph, args.out / "head.onnx"]


def people_of(model: MultiViewEmotion, frames: Sequence[ImageArray]) -> Seen:
    """The pictures with people in them, and who is there. Raises UserError if there are too few."""
    pipeline, _ = build_pipeline(open_store(), model)
    detected = [(frame, pipeline.detect(frame)) for frame in frames]
    seen = [
        (frame, [Person(f"p{i}", d.score, d.body, d.face) for i, d in enumerate(found)])
        for frame, found in detected
        if found
    ]
    count = sum(len(people) for _, people in seen)
    if count < LEAST:
        raise UserError(f"{count} people in {len(frames)} pictures, expected {LEAST} or more; give more pictures")
    return seen


def _feeds(seen: Seen, config: EncoderConfig) -> Iterator[dict[str, Any]]:
    """Inputs of the encoder, one picture at a time."""
    for frame, people in seen:
        yield blank_views(view_batch(frame, people, config).pixels, config)


def _scores(model: MultiViewEmotion, seen: Seen) -> FloatArray:
    """(people, classes) probabilities."""
    found = [emotion.probabilities for frame, people in seen for emotion in model.estimate(frame, people, {}, 0.0)]
    return np.stack(found)


def _without_weights(graph: Any) -> list[str]:
    """Products of two activations: attention, whose range a few pictures do not show."""
    weights = {tensor.name for tensor in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "MatMul" and not weights & set(node.input)]
