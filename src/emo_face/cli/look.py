"""Look at a picture, a film or a camera: who is in it, and what do they show?

  emo-face look                                a packaged picture
  emo-face look photo.jpg --said "I did it!"   the nearest person's words count beside the face
  emo-face look film.mp4 --out seen.mp4
  emo-face look 0 --seconds 20                 the first webcam
  emo-face look --json
  emo-face look photo.jpg --tier full --model out/multiview --base BLIP
  emo-face look photo.jpg --ask "Why is the person feeling this way?" --base BLIP --stage1 out/stage1/best

People, probabilities and evidence are printed and drawn into OUT (default: the source's name with _look, in this
folder). --tier medium and full are the multi-view model, --ask words about one person: --person p00001 (default: the
nearest), or --box X,Y,WIDTH,HEIGHT in pixels. They need torch and weights of yours: scripts/setup.sh full. Nothing
leaves this machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_face.cli import _ask, _film
from emo_face.cli._drawing import write_picture
from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.runtime.engines.select import Engines
from emo_face.runtime.store import open_store

if TYPE_CHECKING:
    from emo_face.api.look import LookResult, PersonReading
    from emo_face.perception.pipeline import PerceptionPipeline

TIERS = ("nano", "medium", "full")
SHOWN = 3  # emotions per person in the text
BAR = 30  # characters of a full bar


add_arguments = arguments(
    option("source", nargs="?", default="", help="picture, film or camera (default: a packaged picture)"),
    option("--said", default="", metavar="TEXT", help="what the nearest person just said (picture only)"),
    option("--out", type=Path, metavar="FILE", help="picture (.png, .jpg) or film (.mp4) to write"),
    option("--seconds", type=float, default=0.0, help="length of a film or camera (default: all; camera 10)"),
    option("--json", action="store_true", help="print only JSON; draw only with --out"),
    option("--verbose", action="store_true", help="say which optional models are missing, and how to get them"),
    option(
        "--tier",
        choices=TIERS,
        default="nano",
        help="nano (default) is packaged; the others are multi-view",
    ),
    option("--model", type=Path, metavar="DIR", help="for --tier medium or full: folder of Stage 2 or its export"),
    option("--base", type=Path, metavar="DIR", help="checkpoint of --model, or the one that answers"),
    option("--ask", default="", metavar="QUESTION", help="answer in words about one person"),
    option("--stage1", type=Path, metavar="DIR", help="with --ask: trained encoder (default: untrained)"),
    option("--person", default="", metavar="ID", help="with --ask: the person (default: the nearest)"),
    option("--box", metavar="X,Y,W,H", help="with --ask: a person's body in pixels, instead of a detected one"),
    option("--face", metavar="X,Y,W,H", help="with --box: the face (otherwise that view is masked)"),
    option("--max-tokens", type=int, default=128, help="longest answer (default 128)"),
    option("--device", default="cpu", help="device of torch: cpu or cuda (default cpu)"),
)


def run(args: argparse.Namespace) -> int:
    """Look, print, draw. Raises UserError for a source that cannot be read and flags that do not fit together."""
    from emo_face.runtime.samples import portrait
    from emo_face.runtime.sources import is_picture

    if args.seconds < 0:
        raise UserError(f"--seconds: expected at least 0, got {args.seconds:g}")
    source = args.source or str(portrait())
    if not is_picture(Path(source)):
        if args.ask or args.said:
            raise UserError(f"{source}: --ask and --said need a picture; this is a film or a camera")
        return _film.look(source, _pipeline(args), args)
    from emo_face.api.look import look_with, read_image

    image = read_image(source)
    if args.box:
        return _answer(args, image, None)
    seen = look_with(_pipeline(args), image, args.said)
    if not args.json:
        _print(source, seen)
    for warning in seen.warnings if args.verbose else ():
        print(f"look: {warning}", file=sys.stderr)
    _draw(args, seen, source)
    if args.ask:
        return _answer(args, image, seen)
    if args.json:
        print(json.dumps(as_json(source, seen)))
    return 0


def as_json(source: str, seen: LookResult) -> dict[str, Any]:
    """Plain fields; boxes are [x, y, width, height] in pixels."""
    people = [_row(one) for one in seen.people]
    return {"source": source, "detector": seen.detector, "people": people, "warnings": list(seen.warnings)}


def _row(one: PersonReading) -> dict[str, Any]:
    def corners(box: Any) -> list[float] | None:
        return None if box is None else [round(v, 1) for v in (box.x, box.y, box.width, box.height)]

    return {
        "id": one.person.person_id,
        "top": one.top,
        "probabilities": one.probabilities,
        "valence": one.emotion.valence,
        "arousal": one.emotion.arousal,
        "quality": one.quality,
        "evidence": dict(one.evidence),
        "body": corners(one.body),
        "face": corners(None if one.face is None else one.face.box),
    }


def _pipeline(args: argparse.Namespace) -> PerceptionPipeline:
    from emo_face.api.look import nano_pipeline

    if args.tier == "nano":
        return nano_pipeline()
    from emo_face.perception.build import build_pipeline
    from emo_face.perception.multiview.model import load

    if args.model is None:
        raise UserError(f"--tier {args.tier}: needs --model, a folder of `emo-face train multiview` or its export")
    engines = Engines(args.device, threads=0)
    return build_pipeline(open_store(), load(args.model, args.base, engines=engines, tier=args.tier), smoothing=0.0)[0]


def _print(source: str, seen: LookResult) -> None:
    count = f"{len(seen.people)} {'person' if len(seen.people) == 1 else 'people'}"
    print(f"{Path(source).name}: {count} ({seen.detector})")
    for one in seen.people:
        evidence = ", ".join(f"{name} {share:+.2f}" for name, share in one.evidence.items())
        affect = f"valence {one.emotion.valence:+.2f}, arousal {one.emotion.arousal:+.2f}"
        print(f"\n{one.person.person_id}  {affect}, quality {one.quality:.2f}  ({evidence or 'no evidence'})")
        if not one.top:
            print("  nothing usable was seen")
            continue
        for label, p in list(one.probabilities.items())[:SHOWN]:
            print(f"  {label:<14} {p:6.1%}  {'█' * round(BAR * p)}")


def _draw(args: argparse.Namespace, seen: LookResult, source: str) -> None:
    if args.json and args.out is None:
        return
    path = args.out or Path(f"{Path(source).stem}_look.png")
    write_picture(path, seen.drawn())
    print(f"drawn: {path}", file=sys.stderr)


def _answer(args: argparse.Namespace, image: Any, seen: LookResult | None) -> int:
    if not args.ask:
        raise UserError("--box: works only with --ask; without that everybody who is found is read")
    return _ask.answer(args, image, () if seen is None else [one.person for one in seen.people])
