"""`emo-face say --tier full --chat`: the paper's figure 7 by hand, a line per turn."""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from emo_face.cli import _contextface, _person
from emo_face.cli._verb import printed
from emo_face.core.errors import UserError
from emo_face.expression.contextface.prompts import parse_emotion

HELP = """a sentence        somebody in the red box says it: the situation behind it, and their emotion
/speaker [FILE]   the face of who says it; FILE.png or FILE.json keeps it
/listener [FILE]  the face of who hears it, seen or not
/ask QUESTION     a free question about all of it
/image FILE [X,Y,W,H]   another picture and the person meant
/quit"""


def run(args: argparse.Namespace, quote: str) -> int:
    """Answer ``quote`` and the lines of standard input until they end. Raises UserError for an exported model."""
    engine, image, box = _contextface.opened(args)
    return talk(args, engine, image, box, quote)


def talk(args: argparse.Namespace, engine: Any, image: Any, box: Any, quote: str) -> int:
    """As :func:`run`, with an open engine."""
    if not hasattr(engine, "say"):
        raise UserError("--chat: an exported model cannot write; give the folder of the trained model")
    from emo_face.expression.contextface.talk import Conversation

    scene = Conversation(engine, image, box)
    for line in _lines(quote, args.json):
        if line == "/quit":
            break
        try:
            result = _turn(args, scene, line)
        except UserError as error:  # a turn that cannot be done costs no other
            print(error, file=sys.stderr)
            result = {"error": str(error)}
        if args.json:
            print(json.dumps({"turn": line, **result}, ensure_ascii=False), flush=True)
    return 0


def _lines(quote: str, quiet: bool) -> Iterable[str]:
    if quote.strip():
        yield quote.strip()
    while True:
        if sys.stdin.isatty() and not quiet:
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _turn(args: argparse.Namespace, scene: Any, line: str) -> dict[str, Any]:
    """What one line gives, as JSON. Raises UserError for what cannot be answered."""
    if not line.startswith("/"):
        text = printed(scene.tell(line, args.max_tokens), args.json)
        return {"text": text, "situation": scene.situation, "emotion": parse_emotion(text)}
    verb, _, rest = line[1:].partition(" ")
    if verb in ("speaker", "listener"):
        return _face(args, scene, verb, rest.strip())
    if verb == "ask":
        return {"text": printed(scene.ask(rest, args.max_tokens), args.json)}
    if verb == "image":
        return _image(scene, rest.split())
    print(HELP, file=sys.stderr)
    return {} if verb == "help" else {"error": f"/{verb}: no such turn"}


def _face(args: argparse.Namespace, scene: Any, side: Any, file: str) -> dict[str, Any]:
    result = _contextface.summary(scene.face(side), scene.engine, args.decision or "mean")
    if file:
        _contextface.write(Path(file), result, args.theme)
    if not args.json:
        best = sorted(result["probabilities"].items(), key=lambda item: -item[1])[:3]
        print(f"{side}: " + ", ".join(f"{word} {share:.0%}" for word, share in best))
    return result


def _image(scene: Any, words: list[str]) -> dict[str, Any]:
    from emo_face.api.look import read_image

    if not 1 <= len(words) <= 2:
        raise UserError("/image: expected a file and perhaps X,Y,W,H")
    scene.image = read_image(Path(words[0]))
    scene.box = _person.box(words[1], "/image") if len(words) == 2 else None
    scene.turns.clear()
    return {"image": words[0]}
