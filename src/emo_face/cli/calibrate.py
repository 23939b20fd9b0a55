"""Find the limits and the neutral of each servo of a rig, one at a time, and write them into its file.

Only one actuator moves, slowly and in small steps; the others hold still. A servo that reports its load backs off when
it touches something. The file is saved after each actuator and work is resumed where it was left.

Keys:
  +  -     one step up, down (also k, j)        [  ]     smaller, larger steps
  l        this is min                          u        this is max
  n        this is neutral                      h        go to neutral
  enter    accept and go on                     p        back to the one before
  x        torque off and quit                  q        quit; accepted actuators are saved

Examples:
  emo-face calibrate my_head.yaml
  emo-face calibrate config/rigs/head_12servo.yaml --out my_head.yaml --actuator jaw
  emo-face calibrate my_head.yaml --driver mock        try it without motors
"""

import argparse
from pathlib import Path

from emo_face.cli._calibrate_screen import Keys, Session
from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.face.drivers import DriverError, open_driver
from emo_face.face.rig.rig import load_rig
from emo_face.runtime.files import write_text

add_arguments = arguments(
    option("rig", metavar="RIG", help="rig file, or the name of one in config/rigs (then give --out)"),
    option("--out", type=Path, help="write here instead of into RIG; resumes if it exists"),
    option("--actuator", help="begin with this one, whatever has been done"),
    option("--driver", help="another driver than the rig's, for example mock"),
    option("--port", help="serial port instead of the rig's"),
)


def run(args: argparse.Namespace) -> int:
    """Calibrate interactively."""
    path = _file(args)
    rig = load_rig(path)
    if args.actuator and args.actuator not in rig.names:
        raise UserError(f"--actuator: {args.actuator!r} is not in {path}: it has {', '.join(rig.names)}")
    options = {"port": args.port} if args.port else {}
    driver = open_driver(rig, kind=args.driver, **options)
    with Keys() as keys:
        session = Session(path, rig, driver, keys.read)
        try:
            return session.run(args.actuator)
        except DriverError as error:
            raise UserError(f"{error}; what was accepted is saved in {path}") from None


def _file(args: argparse.Namespace) -> Path:
    """The file to work on; a copy of RIG if --out names a new one."""
    source = Path(load_rig(args.rig).source.path)
    if args.out is None:
        if not Path(args.rig).is_file():
            raise UserError(f"{args.rig} is a packaged example: give --out FILE for your own copy")
        return source
    if not args.out.exists():
        write_text(args.out, source.read_text(encoding="utf-8"))
    return Path(args.out)
