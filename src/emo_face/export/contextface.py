"""Parts of a trained ContextFace to ONNX; each is compared with its original before it is kept.

    emo-face export contextface --model out/contextface/best --out out/export              head.onnx, arkit.onnx
    emo-face export contextface --model best --out out/export --prefill 160                and prefill.onnx
    emo-face export contextface --model best --out out/export --prefill 320 --pictures     and vision.onnx
    emo-face export contextface --model best --out out/export --prefill 96 --bits 8 --records quotes.jsonl   smaller
    emo-face export contextface --model best --out small --half --backbone smollm2         the folder, half as large

head.onnx: state of <FACE> -> face. arkit.onnx: face code -> ARKit, for the model's FLAME version if its map is on
this machine (emo-face flame import), else for open-ict-1. prefill.onnx: the whole one-pass answer to a quote of at most
so many prompt tokens; --precision fp16 or bf16 halves it and vision.onnx for a GPU.
With --pictures it takes a picture's embeddings as well, and vision.onnx makes them of pixels (LLaVA and SmolVLM;
Qwen-VL places a picture's tokens in three dimensions and stays with words).

A folder with a prefill serves without torch, on any engine:
`emo-face up --set expression.backend=contextface --set expression.contextface.model=out/export`.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.arguments import arguments, option
from emo_face.core.errors import ModelError, UserError
from emo_face.export.tensorrt import add_flag, add_precision, tell
from emo_face.expression.contextface.exported.plans import plans
from emo_face.expression.contextface.exported.table import cleared, write_card
from emo_face.expression.contextface.prompts import expression_question
from emo_face.face.expressions.basis import OPEN_BASIS, find_basis
from emo_face.face.motion.keyframes import ARKIT_BASIS
from emo_face.perception.engines import Target
from emo_face.runtime.files import numbered_lines

QUOTES = 400
"""Validation quotes that a smaller graph is compared by."""


add_arguments = arguments(
    option("--model", type=Path, required=True, metavar="DIR"),
    option("--backbone", default="", metavar="DIR", help="default: the one the model's card names"),
    option("--out", type=Path, required=True, metavar="DIR"),
    option("--prefill", type=int, default=0, metavar="N", help="also the prefill, for prompts of at most N tokens"),
    option(
        "--bits",
        type=int,
        choices=(8, 32),
        default=32,
        help="8: quantise the prefill, if answers stay",
    ),
    option("--records", type=Path, metavar="FILE", help="for --bits 8: its val quotes are compared"),
    option("--half", action="store_true", help="no graphs: write the folder in half precision, for shipping"),
    option("--pictures", action="store_true", help="the prefill takes a picture too; adds vision.onnx"),
    option("--json", action="store_true", help="print only JSON"),
    add_precision,
    add_flag,
)


def run(args: argparse.Namespace) -> list[Path]:
    """Export and print the comparison; the files written. Raises UserError if something is missing or differs."""
    if args.half:
        from emo_face.expression.contextface.checkpoint import halved

        small = halved(args.model, args.out, args.backbone)
        size = sum(file.stat().st_size for file in small.iterdir())
        print(json.dumps([{"file": str(small), "bytes": size}]) if args.json else f"{small}: {size / 1e6:.1f} MB")
        return sorted(small.iterdir())
    from emo_face.expression.contextface.engine import EngineSettings, load_engine
    from emo_face.training.contextface import export

    if not args.prefill and (args.pictures or args.precision != "fp32"):
        raise UserError("--pictures and --precision need --prefill N")
    if args.bits == 8 and (not args.prefill or args.pictures or args.records is None or args.precision != "fp32"):
        raise UserError("--bits 8 needs --prefill N and --records FILE, and neither --pictures nor --precision")
    quotes = _quotes(args.records) if args.bits == 8 else []
    engine = load_engine(EngineSettings(args.model, args.backbone))
    _check(args, engine)
    head = export.export_head(engine.model, cleared(args.out) / "head.onnx")
    basis = _basis(engine.config.basis)
    parts = [(head, "")]
    if basis is not None:
        parts.append((export.export_arkit(basis, args.out / "arkit.onnx"), "mm of skin"))
    if args.prefill:
        parts += [(parity, "") for parity in _prefill(args, engine)]
        eyes = engine.eyes if args.pictures else None
        known = engine.builder, engine.config, args.prefill, eyes, basis.name if basis else ""
        card = partial(write_card, args.out, *known)
        card()  # if 8 bits are refused, what is there serves
        if args.bits == 8:
            changed = _in_8_bits(args, quotes, engine)
            card()
            print(f"prefill.onnx: 8 bits, {changed:.1%} of the answers changed", file=sys.stderr)
    rows = [{"file": str(parity.path), "worst": parity.worst, "unit": unit} for parity, unit in parts]
    targets = (Target(path, plan) for path, plan in plans(args.out))
    tell(args, rows, "{file}: largest difference {worst:.2e} {unit}", targets)
    return [parity.path for parity, _ in parts]


def _check(args: argparse.Namespace, engine: Any) -> None:
    """Raises UserError for a prefill without room for a question, or for more than the model takes."""
    prefill, shortest = args.prefill, len(_asked("a", engine)[0])
    if args.pictures and (not engine.eyes.tokens or engine.model.placed):
        kind = engine.model.base.config.model_type
        raise UserError(f"--pictures: model type {kind!r}: its prefill is exported for words only; leave it out")
    if prefill and not shortest <= prefill <= engine.config.max_tokens:
        raise UserError(
            f"--prefill: expected {shortest} tokens, which the shortest question takes, to {engine.config.max_tokens}, "
            f"which the model takes, got {prefill}"
        )


def _asked(quote: str, engine: Any) -> Any:
    """Ids of the question about a quote, and of its endings."""
    return engine.onepass.endings(expression_question(quote, style=engine.model.config.style), "quote")


def _basis(name: str) -> Any:
    """What ``arkit.onnx`` decodes: the model's own basis if it is on this machine, else the open one.

    None if the head gives ARKit's values already.
    """
    if name == ARKIT_BASIS:
        return None
    try:
        return find_basis(name)
    except ModelError as error:
        print(f"arkit.onnx is for {OPEN_BASIS}: {error}", file=sys.stderr)
        return find_basis(OPEN_BASIS)


def _quotes(records: Path) -> list[str]:
    """The first validation quotes of records. Raises UserError if it is no such file, or there are too few."""
    from emo_face.export.contextface_int8 import FEWEST

    try:
        rows = [json.loads(line) for _, line in numbered_lines(records)]
        quotes = [str(row["quote"]) for row in rows if row.get("split") == "val" and row.get("quote")][:QUOTES]
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{records}: no records file ({error}); make one: emo-face data quotes --help") from None
    if len(quotes) < FEWEST:
        raise UserError(
            f"{records}: {len(quotes)} quotes of split val, at least {FEWEST} are needed to compare answers"
        )
    return quotes


def _in_8_bits(args: argparse.Namespace, quotes: list[str], engine: Any) -> float:
    """Make the prefill small; the share of answers to ``quotes`` that changed."""
    from emo_face.export.contextface_int8 import shrink

    prompts = [_asked(quote, engine)[0] for quote in quotes]
    fitting = [prompt for prompt in prompts if len(prompt) <= args.prefill]
    return shrink(args.out / "prefill.onnx", fitting, engine.model.config)


def _prefill(args: argparse.Namespace, engine: Any) -> list[Any]:
    """prefill.onnx, and with pictures vision.onnx."""

    from emo_face.training.contextface import export

    made, picture = [], None
    if args.pictures:
        grey = engine.eyes.fitted(np.full((64, 64, 3), 114, np.uint8))
        pixels = engine.eyes.tensors([grey])["pixel_values"]
        parity, picture = export.export_vision(engine.model, pixels, args.out / "vision.onnx", args.precision)
        made.append(parity)
    _, ends = _asked("words", engine)
    path = args.out / "prefill.onnx"
    return [*made, export.export_prefill(engine.model, ends, args.prefill, path, picture, args.precision)]
