"""Draw the seven emotions at three intensities on every face theme into one picture.

emo-face gallery                                   # docs/gallery.png
emo-face gallery --out out/human.png --theme human --cell 320
emo-face gallery --words --theme human --out docs/gallery_words.png --cell 110
emo-face gallery --words --theme human --shuffle 7 --out blind.png   # numbers; the names are in blind.key.json
"""

import argparse
import json
from pathlib import Path

from emo_face.cli._drawing import write_picture
from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.core.paths import share_dir
from emo_face.face.pictures.facedata import load_face, theme_names
from emo_face.face.rig.rig import load_rig
from emo_face.runtime.files import write_json

add_arguments = arguments(
    option("--out", type=Path, default=Path("docs/gallery.png"), help="PNG to write (default %(default)s)"),
    option("--theme", action="append", help="a theme; may be given again (default: all)"),
    option("--rig", action="append", type=Path, help="a rig file; may be given again (default: all)"),
    option("--cell", type=int, default=150, help="width of one face, 32 to 1000 pixels (default %(default)s)"),
    option(
        "--words",
        action="store_true",
        help="draw the answers to words instead: 28 emotions and a listener's answers",
    ),
    option(
        "--shuffle", type=int, metavar="SEED", help="with --words: numbers instead of names, the key in OUT.key.json"
    ),
    option("--json", action="store_true", help="print the result as JSON"),
)


def run(args: argparse.Namespace) -> int:
    """Draw and write the picture."""
    from emo_face.face.pictures.gallery import draw_expressions, draw_gallery, draw_shuffled, spoken_expressions

    if not 32 <= args.cell <= 1000:
        raise UserError(f"--cell {args.cell}: expected 32 to 1000 pixels")
    if args.out.suffix.lower() != ".png":
        raise UserError(f"--out {args.out}: expected a name that ends in .png")
    if args.shuffle is not None and not args.words:
        raise UserError("--shuffle: only together with --words")
    themes = args.theme or list(theme_names())
    files = args.rig or ([] if args.theme else sorted((share_dir() / "config" / "rigs").glob("*.yaml")))
    rigs = [load_rig(path) for path in files]
    for theme in themes:
        load_face(theme)  # complains before the work starts
    if args.words:
        themes, rigs = themes[:1], []
    if args.shuffle is not None:
        picture, names = draw_shuffled(themes[0], spoken_expressions(), args.cell, args.shuffle)
        write_json(args.out.with_suffix(".key.json"), dict(enumerate(names, 1)))
    elif args.words:
        picture = draw_expressions(themes[0], spoken_expressions(), args.cell)
    else:
        picture = draw_gallery(themes, rigs, args.cell)
    write_picture(args.out, picture, 9)
    height, width = picture.shape[:2]
    if args.json:
        print(
            json.dumps(
                {
                    "out": str(args.out),
                    "themes": themes,
                    "rigs": [r.name for r in rigs],
                    "width": width,
                    "height": height,
                }
            )
        )
    else:
        print(f"{args.out}: {', '.join([*themes, *(r.name for r in rigs)])}, {width} x {height}")
    return 0
