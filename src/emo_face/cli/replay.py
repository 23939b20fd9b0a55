"""Turn a recording into a video, a page of plots and figures, without ROS.

examples:
  emo-face replay out/demo.mcap --out again
  emo-face replay ~/bags/visitors --no-video      a rosbag2 folder with the graph's topics in it
"""

import argparse
from pathlib import Path

from emo_face.core.arguments import arguments, option

add_arguments = arguments(
    option("bag", type=Path, help="an .mcap or .db3 file, or a rosbag2 folder"),
    option("--out", type=Path, default=Path("out"), help="folder of the results (default: out)"),
    option("--no-video", action="store_true", help="skip the film"),
)


def run(args: argparse.Namespace) -> int:
    from emo_face.recording.report import write_report
    from emo_face.ros.images.convert import raw_to_jpeg

    for path in write_report(args.bag, args.out, args.bag.stem, video=not args.no_video, encode=raw_to_jpeg):
        print(path)
    return 0
