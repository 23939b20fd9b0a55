"""`emo-face say --tier full`: what ContextFace makes of a picture, a quote and a situation."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.cli import _person
from emo_face.cli._drawing import write_faces
from emo_face.cli._verb import printed
from emo_face.core.arguments import arguments, option
from emo_face.core.arkit import ARKIT_52
from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.expression.contextface.conditions import condition_of, nearest
from emo_face.face.flame.codes import FlameCodes, write_codes
from emo_face.face.flame.model import VERSIONS
from emo_face.face.motion.keyframes import ARKIT_BASIS
from emo_face.runtime.engines.select import REQUESTS, Engines
from emo_face.runtime.weights import model_folder

ONLY = ("model", "backbone", "image", "box", "situation", "decision", "ask", "chat", "quantisation")


add_arguments = arguments(
    option("--model", type=Path, metavar="DIR", help="for --tier full: a trained ContextFace, or smollm2_face"),
    option("--backbone", metavar="DIR", help="folder of its backbone (default: the one its card names)"),
    option("--image", type=Path, metavar="FILE", help="a picture of the surroundings of the person"),
    option("--box", metavar="X,Y,W,H", help="the person meant, pixels of the image"),
    option("--situation", help="the situation, in words"),
    option("--decision", choices=("map", "mean"), help="best emotion's face, or all weighted (mean)"),
    option("--ask", metavar="TEXT", help="also answer in words; empty: the situation behind the quote"),
    option("--chat", action="store_true", default=None, help="converse on stdin; /help lists the commands"),
    option("--max-tokens", type=int, default=96, help="longest answer of --ask and --chat, in tokens (default 96)"),
    option("--device", default="cpu", help="cpu or cuda (default cpu); graphs: also tensorrt"),
    option("--quantisation", choices=("none", "4bit", "8bit")),
)


def given(args: argparse.Namespace) -> str:
    """The first flag of ContextFace that was given, or ""."""
    return next((f"--{name}" for name in ONLY if getattr(args, name) is not None), "")


def opened(args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The engine, the picture and the box that the flags name, None if not. Raises UserError for a bad one."""
    from emo_face.api.look import read_image

    if args.model is None:
        raise UserError("--tier full: needs --model, the folder of a trained ContextFace")
    if args.box and not args.image:
        raise UserError("--box: needs --image")
    if args.max_tokens < 1:
        raise UserError(f"--max-tokens: expected at least 1, got {args.max_tokens}")
    box = _person.box(args.box, "--box") if args.box else None
    image = read_image(args.image) if args.image else None
    return _engine(args), image, box


def run(args: argparse.Namespace, quote: str) -> int:
    """One answer. Raises UserError for a bad box, picture, model or if there is nothing to read."""
    if args.model is not None and not (quote.strip() or args.situation or args.image):
        raise UserError("nothing to read: give a sentence, --situation or --image")
    engine, image, box = opened(args)
    start = time.perf_counter()
    situation = args.situation or ""
    answer = engine.answer(quote, situation, image, box, args.perspective)
    given = condition_of(quote, situation, image is not None, args.perspective)
    used = nearest(given, engine.config.conditions)
    if used != given:
        print(f"this model did not learn {given.name}: it was asked {used.name if used else ''}", file=sys.stderr)
    result = summary(answer, engine, args.decision or "mean")
    result |= {"perspective": args.perspective, "seconds": time.perf_counter() - start, "degraded": engine.degraded}
    if args.out:
        write(args.out, result, args.theme)
    if not args.json:
        _print(result)
    if args.ask is not None:
        words = engine.ask(args.ask, quote or situation, image, box, args.max_tokens)
        result["words"] = printed(words, args.json)
    if args.json:
        print(json.dumps(result))
    return 0


def summary(answer: Any, engine: Any, decision: str) -> dict[str, Any]:
    """An answer as plain JSON: probabilities by word, the decided face by group, and what it cost.

    ``arkit``, the 52 activations, is missing if only a FLAME file could tell them.
    """
    face = answer.face(decision)
    config = engine.config
    result = {
        "emotion": answer.word,
        "probabilities": {w: float(p) for w, p in zip(answer.words, answer.probabilities, strict=True)},
        "emission": answer.emission,
        "decision": decision,
        "face_basis": config.face_basis,
        "face": {name: [float(v) for v in face[where]] for name, where in config.slices().items()},
        "tokens": answer.tokens,
        "reused": answer.reused,
    }
    activations = engine.arkit(face) if hasattr(engine, "arkit") else face if config.face_basis == ARKIT_BASIS else None
    if activations is not None:
        result["arkit"] = dict(zip(ARKIT_52, map(float, activations), strict=True))
    return result


def _engine(args: argparse.Namespace) -> Any:
    from emo_face.expression.contextface.exported.engine import is_exported, load_exported

    model = model_folder(args.model)
    exported = is_exported(model)
    needed = ("tokenizers",) if exported else ("torch", "transformers", "peft")
    absent = [name for name in needed if find_spec(name) is None]
    if absent:
        raise UserError(f"--tier full needs {absent[0]}, which the nano tier lacks: {how_to_install('full')}")
    if exported:
        if args.backbone or args.quantisation or args.device not in REQUESTS:
            devices = ", ".join(REQUESTS)
            raise UserError(f"{model}: graphs take no --backbone or --quantisation, and a --device of {devices}")
        return load_exported(model, Engines(args.device, threads=0))
    from emo_face.expression.contextface.engine import EngineSettings, load_engine

    return load_engine(EngineSettings(model, args.backbone or "", args.device, "", args.quantisation or "none"))


def write(path: Path, result: dict[str, Any], theme: str) -> None:
    """A drawing of the face, or its numbers in the format of ``emo-face flame render``."""

    if path.suffix.lower() in (".png", ".jpg", ".jpeg") and "arkit" in result:
        write_faces(path, [np.array(list(result["arkit"].values()))], theme)
        return
    if result["face_basis"] not in VERSIONS:
        raise UserError(
            f"--out {path}: .json holds FLAME parameters, this model speaks {result['face_basis']}: use .png or --json"
        )
    write_codes(path, FlameCodes(result["face_basis"], **{name: np.array(v) for name, v in result["face"].items()}))


def _print(result: dict[str, Any]) -> None:
    for word, probability in sorted(result["probabilities"].items(), key=lambda item: -item[1]):
        print(f"{word:<9} {probability:6.1%}  {'#' * round(40 * probability)}")
    strongest = sorted(enumerate(result["face"]["expression"]), key=lambda item: -abs(item[1]))[:5]
    names: Sequence[object] = (
        ARKIT_52 if result["face_basis"] == ARKIT_BASIS else range(len(result["face"]["expression"]))
    )
    print(f"{result['face_basis']} expression, strongest: " + ", ".join(f"{names[i]} {v:+.2f}" for i, v in strongest))
    note = f"; {result['degraded']}" if result["degraded"] else ""
    print(f"{result['seconds'] * 1000:.0f} ms, {result['tokens']} tokens{note}", file=sys.stderr)
