"""Write trained models as ONNX files, each checked against its original before it counts as done.

Examples:
  emo-face export fer --run out/train/fer --out models/nano_face.onnx
  emo-face export fer-int8 PICTURES                      a third of the size; refused if it reads other emotions
  emo-face export text --run out/train/text --data DATA --out models/nano_text.onnx
  emo-face export yolo                                   yolo11n, fetched by ultralytics from its own release page
  emo-face export yolo-int8 PICTURES                     half the time on a CPU; refused if it sees other people
  emo-face export multiview --base BLIP --model out/multiview --out out/export --precision fp16
  emo-face export multiview-int8 PICTURES --model out/export --out out/int8   for TensorRT; refused likewise
  emo-face export contextface --model out/contextface/best --out out/export
"""

import argparse
from importlib import import_module
from types import ModuleType

from emo_face.cli._verb import add_verb

KINDS = ("fer", "fer-int8", "text", "yolo", "yolo-int8", "multiview", "multiview-int8", "contextface")


def module_of(kind: str) -> ModuleType:
    """The module with ``add_arguments(parser)`` and ``run(args)``, which returns the ONNX files that it wrote."""
    return import_module(f"emo_face.export.{kind.replace('-', '_')}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One sub-verb per kind of model."""
    kinds = parser.add_subparsers(dest="kind", metavar="|".join(KINDS), required=True)
    for kind in KINDS:
        add_verb(kinds, kind, module_of(kind))


def run(args: argparse.Namespace) -> int:
    """Export the chosen kind. Raises UserError if something is missing or the copy differs from its original."""
    module_of(args.kind).run(args)
    return 0
