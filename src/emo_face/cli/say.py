"""Say a sentence: which emotions do its words carry, and which face goes with them?

  emo-face say "What a lovely surprise!"
  emo-face say "I am so angry with you" --perspective listener --out answer.png
  emo-face say "I got the job!" "I lost it again" --json
  printf 'I did it!\\nLeave me alone.\\n' | emo-face say
  emo-face say "I lost my job today." --tier full --model smollm2_face     the small one (scripts/setup.sh contextface)
  emo-face say "It's over." --tier full --model out/contextface/best --image cafe.jpg --box 120,40,260,580
  emo-face say --tier full --model best --situation "She folds paper during a quiet break at home." --json
  emo-face say "It's over." --tier full --model best --image cafe.jpg --ask ""    the situation behind the quote

Without a sentence, or with -, each line of standard input is one. --perspective speaker shows what the words say,
listener how one who hears them answers. Faces are drawn into OUT, side by side, if you name it.
--tier full is ContextFace: picture, quote and situation together, and words with --ask; it needs torch and a model:
smollm2_face, which knows words alone, or one of yours (scripts/setup.sh full). Nothing leaves this machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_face.cli import _chat, _contextface
from emo_face.cli._drawing import write_faces
from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.core.transcript import clean

if TYPE_CHECKING:
    from emo_face.api.say import SayResult

SHOWN = 3  # emotions per sentence in the text
CHANNELS = 5  # ARKit channels per sentence in the text
BAR = 30  # characters of a full bar
ECHOED = 400  # bytes of the sentence that are shown, without what would move a terminal's cursor


add_arguments = arguments(
    option("text", nargs="*", help="sentences; -, and the default: lines of standard input"),
    option("--perspective", choices=("speaker", "listener"), default="speaker", help="whose face"),
    option("--theme", default="human", help="theme of the drawing: robot, eyes or human (default human)"),
    option("--out", type=Path, metavar="FILE", help="draw the face (.png); --tier full: also FLAME numbers (.json)"),
    option("--json", action="store_true", help="print only JSON, one object per sentence and line"),
    option("--tier", choices=("nano", "full"), default="nano", help="nano: packaged; full: ContextFace"),
    _contextface.add_arguments,
)


def run(args: argparse.Namespace) -> int:
    """Read each sentence, print, draw. Raises UserError if there is none, or flags do not fit together."""
    if args.tier == "full":
        answer = _chat.run if args.chat else _contextface.run
        return answer(args, " ".join(sentences(args.text)) if args.text else "")
    if foreign := _contextface.given(args):
        raise UserError(f"{foreign}: works only with --tier full; add that, or leave {foreign} out")
    from emo_face.api.say import say

    said = []
    for text in sentences(args.text):
        one = say(text, args.perspective)
        said.append(one)
        print(json.dumps(as_json(one, args.perspective), ensure_ascii=False) if args.json else _text(one), flush=True)
    if not said:
        raise UserError('nothing was said: give a sentence, for example emo-face say "I did it!"')
    if args.out is not None:
        write_faces(args.out, [one.arkit for one in said], args.theme)
    return 0


def sentences(words: list[str]) -> Iterator[str]:
    """The sentences of the command line; for ``-``, or without any in a pipe, the lines of standard input."""
    found = sys.stdin if words == ["-"] or not (words or sys.stdin.isatty()) else words
    return (text.strip() for text in found if text.strip())


def as_json(one: SayResult, perspective: str) -> dict[str, Any]:
    """Plain fields."""
    return {
        "text": one.text,
        "top": one.top,
        "probabilities": one.probabilities,
        "valence": one.emotion.valence,
        "arousal": one.emotion.arousal,
        "quality": one.quality,
        "perspective": perspective,
        "blendshapes": one.blendshapes,
    }


def _text(one: SayResult) -> str:
    affect = f"valence {one.emotion.valence:+.2f}, arousal {one.emotion.arousal:+.2f}, quality {one.quality:.2f}"
    lines = [f"{clean(one.text, ECHOED)}\n  {affect}"]
    if not one.top:
        from emo_face.api.look import nano_model

        known = ", ".join(nano_model().languages or ())
        more = "" if "," in known else f"; eleven others with {how_to_install('multilingual')}"
        return "\n".join([*lines, f"  nothing clear is read from these words (languages read: {known}{more})"])
    lines += [f"  {label:<14} {p:6.1%}  {'█' * round(BAR * p)}" for label, p in list(one.probabilities.items())[:SHOWN]]
    moving = [f"{name} {value:.2f}" for name, value in list(one.blendshapes.items())[:CHANNELS]]
    return "\n".join([*lines, f"  face: {', '.join(moving) or 'at rest'}"])
