"""``emo-face train multiview``: the multi-view emotion model, by a recipe or in three steps.

  emo-face train multiview --recipe emotic.yaml --set data.root=EMOTIC --set run.base=BLIP --set run.out=out/emotic

does everything from the download to an exported model and its report, or step by step:

  emo-face data convert --set emotic --root EMOTIC --to emotic.jsonl
  emo-face data qa --records emotic.jsonl --to qa.jsonl
  accelerate launch -m emo_face.cli.main train multiview stage1 --base BLIP --images EMOTIC --corpus qa.jsonl \\
      --out out/stage1 --precision bf16 --checkpointing
  emo-face train multiview cache --base BLIP --images EMOTIC --records emotic.jsonl --encoder out/stage1/best \\
      --out out/features
  emo-face train multiview stage2 --records emotic.jsonl --cache out/features --encoder out/stage1/best --vad \\
      --out out/multiview
  emo-face export multiview --base BLIP --model out/multiview --out out/export --precision fp16

BLIP is a folder with the files of Salesforce/instructblip-vicuna-7b. Every step can be killed and started again.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.perception.multiview.config import EncoderConfig, FusionConfig
from emo_face.runtime.files import is_full
from emo_face.runtime.runners import arguments as runners
from emo_face.training.common.arguments import add_fields
from emo_face.training.common.processes import process_group
from emo_face.training.multiview import steps
from emo_face.training.multiview.config import Stage1Config, Stage2Config

OF_CHECKPOINT = ("kind", "image_size", "instruction_ids", "mean", "std", "resample")
"""Fields of the encoder that follow from the checkpoint."""
OF_LANGUAGE = ("qformer_sharing", "train", "feature", "instruction")
"""Fields that only an encoder with a language model has."""
OF_FEATURES = ("label_set", "views", "in_features")
"""Fields of the head that follow from records and features."""


_BASE = arguments(
    option("--base", type=Path, required=True, help="checkpoint: InstructBLIP (7B: 32 GB), SigLIP2, SmolVLM"),
    option("--images", type=Path, required=True, help="folder the picture paths are relative to"),
    option("--out", type=Path, required=True),
    option("--device", default="", help="cpu or cuda (default: cuda if there is one)"),
    option("--dtype", choices=("float32", "bfloat16", "float16"), default="", help="data type of the frozen weights"),
)
STEPS: dict[str, tuple[Any, ...]] = {
    "stage1": (
        "instruction tuning of the encoder",
        _BASE,
        option("--corpus", type=Path, required=True, help="file from emo-face data qa"),
        partial(add_fields, kind=EncoderConfig, without=(*OF_CHECKPOINT, "lora_rank")),
        partial(add_fields, kind=Stage1Config),
    ),
    "adapt": (
        "the encoder of a SigLIP2 checkpoint, with LoRA if asked (tier medium)",
        _BASE,
        option("--records", type=Path, required=True, help="file from emo-face data convert"),
        partial(add_fields, kind=EncoderConfig, without=(*OF_CHECKPOINT, *OF_LANGUAGE)),
        partial(add_fields, kind=Stage1Config, without=Stage1Config.OF_TEXT),
    ),
    "cache": (
        "frozen features of all people, once",
        _BASE,
        option("--records", type=Path, required=True, help="file from emo-face data convert"),
        option("--encoder", type=Path, required=True, help="folder of Stage 1 (best/)"),
        option("--batch-size", type=int, default=16, help="people per pass (default 16)"),
        runners.add_arguments,
    ),
    "stage2": (
        "the fusion head on cached features",
        option("--records", type=Path, required=True),
        option("--cache", type=Path, required=True),
        option("--encoder", type=Path, help="folder to copy beside the head, so that one folder is the whole model"),
        option("--out", type=Path, required=True),
        partial(add_fields, kind=FusionConfig, without=OF_FEATURES),
        partial(add_fields, kind=Stage2Config),
    ),
}
"""Help and arguments of each step; a config's fields are flags with their defaults."""


def _add_steps(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="step", metavar="stage1|adapt|cache|stage2")
    for name, (told, *options) in STEPS.items():
        arguments(*options)(actions.add_parser(name, help=told))


add_arguments = arguments(
    option("--recipe", metavar="FILE", help="run a whole recipe: emotic.yaml, caer_s.yaml, heco.yaml or your own"),
    option("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help="one field of the recipe"),
    option("--dry-run", action="store_true", help="check the recipe and print its commands"),
    _add_steps,
)


def run(args: argparse.Namespace) -> int:
    """Run one step. Raises UserError for a user's mistake or a full disk."""
    if args.step is None:
        raise UserError("train multiview: name a step (stage1 or adapt, cache, stage2) or a --recipe; see --help")
    try:
        with process_group():
            getattr(steps, args.step)(args)
    except Exception as error:
        if not is_full(error):
            raise
        raise UserError(f"{args.out}: the disk is full ({error}); free space and rerun") from None
    return 0
