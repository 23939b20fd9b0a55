"""Check a servo rig file, report what the head can and cannot show, or write ROS's own files from it.

Examples:
  emo-face rig check config/rigs/head_12servo.yaml
  emo-face rig report minimal_4servo --out report.png
  emo-face rig report my_head.yaml --json
  emo-face rig urdf head_25channel --out head.urdf         for robot_state_publisher, RViz and ros2_control
  emo-face rig controllers head_25channel                  parameters of ros2_control_node, printed
"""

import argparse
import json
from pathlib import Path

from emo_face.cli._drawing import write_picture
from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.face.drivers import MissingLibrary, open_driver
from emo_face.face.rig.rig import Rig, load_rig
from emo_face.face.sim import urdf
from emo_face.runtime.files import write_text

add_arguments = arguments(
    option("action", choices=["check", "report", "urdf", "controllers"]),
    option("rig", metavar="FILE", help="rig file, or the name of one in config/rigs"),
    option("--out", type=Path, help="write the report's picture, or the URDF or YAML, to this file"),
    option("--intensity", type=float, default=1.0, help="intensity of the emotions, 0 to 1 (default 1)"),
    option("--theme", default="human", help="face theme of the picture (default human)"),
    option("--json", action="store_true", help="print only JSON"),
)


def run(args: argparse.Namespace) -> int:
    """Check or report; a wrong file raises ConfigError with file, line and field."""
    if not 0 < args.intensity <= 1:
        raise UserError(f"--intensity: expected more than 0 and at most 1, got {args.intensity}")
    rig = load_rig(args.rig)
    if args.action == "report":
        return _report(rig, args)
    if args.action in ("urdf", "controllers"):
        return _write(getattr(urdf, args.action)(rig), args.out)
    absent = ""
    try:
        open_driver(rig)  # checks options, units and ids; nothing is opened
    except MissingLibrary as error:
        absent = str(error)
    if args.json:
        found = {
            "name": rig.name,
            "actuators": list(rig.names),
            "driver": rig.driver.kind,
            "missing": absent,
            "ok": True,
        }
        print(json.dumps(found))
    else:
        print(
            f"{rig.source.path}: {rig.name}: {len(rig.names)} actuators, {len(rig.interlocks)} interlocks, "
            f"{len(rig.dwells)} dwell limits, {rig.driver.kind} driver: good"
        )
        steps = zip(rig.names, rig.limits.stopping_distance, rig.units, strict=True)
        print("after a stall of the loop a motor steps at most: " + ", ".join(f"{n} {d:.3g} {u}" for n, d, u in steps))
        if absent:
            print(f"not on this machine yet: {absent}")
    return 0


def _write(text: str, path: Path | None) -> int:
    if path is None:
        print(text, end="")
        return 0
    print(write_text(path, text))
    return 0


def _report(rig: Rig, args: argparse.Namespace) -> int:
    from emo_face.face.pictures.rig_report import picture, reach, text_report, unreachable

    reaches = reach(rig, args.intensity)
    if args.out is not None:
        write_picture(args.out, picture(rig, reaches, args.theme))
    if args.json:
        emotions = {
            r.emotion: {
                "score": round(r.score, 4),
                "closest": r.distinct_from[0],
                "similarity": round(r.distinct_from[1], 4),
                "missing": {name: [round(a, 3), round(b, 3)] for name, a, b in r.missing},
                "saturated": list(r.saturated),
            }
            for r in reaches
        }
        print(json.dumps({"rig": rig.name, "emotions": emotions, "unreachable": list(unreachable(rig))}, indent=2))
    else:
        print(text_report(rig, reaches))
        if args.out is not None:
            print(f"\npicture: {args.out}")
    return 0
