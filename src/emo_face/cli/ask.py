"""Ask the full tier's vision-language model about a person in a picture.

  emo-face ask --base ~/instructblip-vicuna-7b --image party.jpg --box 120,40,260,580 \\
      "Why is the person feeling this way?"
  emo-face ask --base ~/instructblip-vicuna-7b --stage1 out/stage1/best --image a.jpg --box 0,0,300,400 \\
      --face 90,20,80,90 --json "What does the person feel?"

Boxes are x,y,width,height in pixels. The text is printed as it is generated. Needs torch and transformers
(scripts/setup.sh full), the InstructBLIP checkpoint and, for a tuned model, the folder of Stage 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", help="at most 500 characters are used")
    parser.add_argument("--image", type=Path, required=True, metavar="FILE")
    parser.add_argument("--box", required=True, metavar="X,Y,W,H", help="the person's body, pixels")
    parser.add_argument("--face", metavar="X,Y,W,H", help="the person's face, pixels (else that view is masked)")
    parser.add_argument("--base", type=Path, required=True, metavar="DIR", help="InstructBLIP checkpoint")
    parser.add_argument("--stage1", type=Path, metavar="DIR", help="trained encoder (default: untrained views)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--max-tokens", type=int, default=128, help="of the answer (default 128)")
    parser.add_argument("--json", action="store_true", help="print only JSON")


def run(args: argparse.Namespace) -> int:
    """Answer one question. Raises UserError for a bad box, picture or checkpoint."""
    from importlib.util import find_spec

    from emo_face.api.look import read_image
    from emo_face.cli._person import box
    from emo_face.core.errors import UserError
    from emo_face.core.types import Face, Person

    body = box(args.box, "--box")
    face = None if args.face is None else Face(box(args.face, "--face"), 1.0)
    if args.max_tokens < 1:
        raise UserError(f"--max-tokens: expected at least 1, got {args.max_tokens}")
    frame = read_image(args.image)
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise UserError("ask needs torch and transformers, which the nano tier does not bring: scripts/setup.sh full")
    from emo_face.perception.multiview.ask import load

    asker = load(args.base, args.stage1, args.device)
    start = time.perf_counter()
    pieces = []
    for piece in asker.ask(frame, Person("p00000", 1.0, body, face), args.question, max_new_tokens=args.max_tokens):
        pieces.append(piece)
        if not args.json:
            print(piece, end="", flush=True)
    seconds = time.perf_counter() - start
    if args.json:
        print(json.dumps({"answer": "".join(pieces).strip(), "seconds": seconds}))
    else:
        print()
        print(f"{seconds:.1f} s", file=sys.stderr)
    return 0
