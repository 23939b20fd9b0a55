"""Train a model with one command; every run can be killed and started again with the same arguments.

Needs torch (CPU is enough for the nano tier's): scripts/setup.sh train

Examples:
  emo-face train fer --data DATA --ferplus FERPLUS --out out/train/fer       face crop to emotion, an hour on two cores
  emo-face train text --data DATA --out out/train/text                       words to emotion, 35 min on one core
  emo-face train text --multilingual --data DATA --out out/train             eleven other languages, two minutes
  emo-face train fusion --data DATA --out out/train                          how much each of the two counts, no torch
  emo-face train blendshapes --data DATA --out out/train                     second opinion on MediaPipe's blendshapes
  emo-face train multiview --recipe emotic.yaml --set data.root=EMOTIC --set run.base=BLIP --set run.out=out/emotic
  emo-face train multiview stage1 --base BLIP --images EMOTIC --corpus qa.jsonl --out out/stage1
  emo-face train contextface --backbone LLAVA --contexts CAER_S_C --images CAER_S --out out/contextface

Use a student of your own by `emo-face models add nano_text OUT/nano_text.onnx`. The same seed, data, thread count and
kind of processor give the same file. On several GPUs: accelerate launch --multi_gpu -m emo_face.cli.main train ...
"""

import argparse
import os
from contextlib import nullcontext
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from emo_face.cli import _recipe
from emo_face.cli._verb import add_verb, summary
from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.runtime.files import alone

MODELS = ("fer", "text", "fusion", "blendshapes", "multiview", "contextface")
WITHOUT_TORCH = ("fusion", "blendshapes")


def module_of(model: str) -> ModuleType:
    """The module with ``add_arguments(parser)`` and ``run(args) -> int``; importing it needs no torch."""
    return import_module(f"emo_face.training.{model}.main")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One sub-verb per model."""
    models = parser.add_subparsers(dest="model_kind", metavar="|".join(MODELS), required=True)
    for model in MODELS:
        module = module_of(model)
        add_verb(models, model, module, summary(module.__doc__).split(": ", 1)[-1])


def run(args: argparse.Namespace) -> int:
    """Train the chosen model. Raises UserError if torch is missing."""
    if args.model_kind not in WITHOUT_TORCH and find_spec("torch") is None:
        raise UserError(f"training needs torch, which the nano tier lacks: {how_to_install('train')}")
    if args.model_kind == "multiview" and args.recipe:  # its steps are verbs, which training does not know
        return _recipe.run(args)
    # features are cached by as many processes as there are, and of a launch of many the first speaks for all
    shared = getattr(args, "step", "") == "cache" or os.environ.get("RANK", "0") != "0"
    with nullcontext() if shared or getattr(args, "out", None) is None else alone(args.out):
        return int(module_of(args.model_kind).run(args) or 0)
