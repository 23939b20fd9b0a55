"""A trained multi-view model to ONNX: encoder, head, manifest; checked and compared before it is called done.

Example: emo-face export multiview --base ~/instructblip-vicuna-7b --model out/model --out out/export --precision fp16

At full size the encoder in float32 is 4.7 GB (weights in encoder.onnx.data) and needs about 10 GB of memory.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.export.tensorrt import add_flag, add_precision, tell
from emo_face.perception.multiview.config import EncoderConfig, FusionConfig
from emo_face.perception.multiview.encoders.tiny import full_base, tiny_base
from emo_face.perception.multiview.head_file import HeadCard

add_arguments = arguments(
    option("--base", type=Path, metavar="DIR", help="InstructBLIP checkpoint"),
    option("--model", type=Path, metavar="DIR", help="folder with encoder.* and head.*"),
    option("--random", choices=("tiny", "full"), help="random weights instead: a dry run at that size"),
    option("--out", type=Path, required=True, metavar="DIR"),
    add_precision,
    option("--batches", type=int, nargs="+", default=[1, 3], help="batch sizes to compare"),
    option("--json", action="store_true", help="print only JSON"),
    add_flag,
)


def run(args: argparse.Namespace) -> list[Path]:
    """Export and print the comparison; the files written. Raises UserError if something is missing or differs."""
    from emo_face.perception.engines import multiview_targets
    from emo_face.perception.multiview.model import load_torch
    from emo_face.training.multiview.export import export

    if not args.random and (args.base is None or args.model is None):
        raise UserError("give --base and --model, or --random")
    encoder, head, card = _random(args.random) if args.random else load_torch(args.model, args.base)
    parity = export(args.out, encoder, head, card, args.precision, args.batches)
    form = "{graph}: batch {batch}, largest difference {absolute:.2e} ({relative:.2e} relative)"
    tell(args, [asdict(row) for row in parity], form, multiview_targets(args.out))
    return [args.out / "encoder.onnx", args.out / "head.onnx"]


def _random(size: str) -> tuple[Any, Any, Any]:
    from emo_face.perception.multiview.encoders.instructblip import MultiViewEncoder
    from emo_face.perception.multiview.fusion_head import FusionHead

    base = full_base() if size == "full" else tiny_base()
    side = int(base.config.vision_config.image_size)
    encoder = MultiViewEncoder(base, EncoderConfig(image_size=side, instruction_ids=tuple(range(4, 44))))
    fusion = FusionConfig("emotic26", in_features=encoder.feature_size, vad=True)
    return encoder.eval(), FusionHead(fusion).eval(), HeadCard(fusion, np.full(26, 0.5), np.ones(26), np.zeros(26))
