"""Watch a running graph in the browser: camera, people and scores, what was heard, what the face shows and why.

A process of its own beside the graph. It shows pictures and words only as far as people's consent goes
(topic perception/consent), and can stop the motors. Another --host needs a --token.

examples:
  emo-face dashboard                                  at http://127.0.0.1:8766
  emo-face dashboard --port 0 --no-pictures           a free port, never a camera picture
  emo-face dashboard --namespace robot1 --image /robot1/camera/image_raw
  python3 -c 'import secrets; print(secrets.token_urlsafe(16))' > dashboard.token; chmod 600 dashboard.token
  emo-face dashboard --host 0.0.0.0 --token @dashboard.token
"""

import argparse
import json
import os
import sys

from emo_face.cli import up
from emo_face.cli.main import main as verbs
from emo_face.core.arguments import arguments, option
from emo_face.ros.network import keep_local

add_arguments = arguments(
    option("--port", type=int, default=8766, help="0 takes a free one (default: 8766)"),
    option("--host", default="127.0.0.1", help="address to serve on (default: this machine only)"),
    option("--token", default="", help="what a browser must present once as ?token=..., or @FILE"),
    option("--origin", action="append", default=[], help="further origin, for a reverse proxy"),
    option("--theme", default="robot", help="the face that is drawn (default: robot)"),
    option("--namespace", default="", help="ROS namespace of the graph"),
    option("--image", default="camera/image_raw", help="topic of the camera (default: camera/image_raw)"),
    option("--no-pictures", action="store_true", help="never show the camera"),
    option("--network", action="store_true", help="find graphs of other hosts (default: this host only)"),
)


def main() -> int:
    """Entry point of ``ros2 run emo_face dashboard``."""
    return verbs(["dashboard", *sys.argv[1:]])


def run(args: argparse.Namespace) -> int:
    """Become the dashboard's process. Its settings go by the environment: a token is in no process list then."""
    up.ros_is_there()
    if not args.network:
        keep_local(os.environ)
    settings = {"host": args.host, "port": args.port, "token": args.token, "theme": args.theme}
    settings |= {"origins": args.origin, "image": args.image, "pictures": not args.no_pictures}
    space = args.namespace.strip("/")
    words = ["--ros-args", "-r", f"__ns:=/{space}"] if space else []
    os.environ["EMO_FACE_DASHBOARD"] = json.dumps(settings)
    os.execv(sys.executable, [sys.executable, "-m", "emo_face.nodes.dashboard", *words])
