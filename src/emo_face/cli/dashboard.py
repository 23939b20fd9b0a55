"""Watch a running graph in the browser: camera, people and scores, what was heard, what the face shows and why.

A process of its own beside the graph. It shows pictures and words only as far as people's consent goes
(topic perception/consent), and can stop the motors. Another --host needs a --token.

examples:
  emo-face dashboard                                  at http://127.0.0.1:8766
  emo-face dashboard --port 0 --no-pictures           a free port, never a camera picture
  emo-face dashboard --namespace robot1 --image /robot1/camera/image_raw
  emo-face dashboard --host 0.0.0.0 --token "$(python3 -c 'import secrets; print(secrets.token_urlsafe(16))')"
"""

from __future__ import annotations

import argparse
import os


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the page is and what it listens to."""
    parser.add_argument("--port", type=int, default=8766, help="0 takes a free one (default: 8766)")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: this machine only)")
    parser.add_argument("--token", default="", help="what a browser must present once as ?token=...")
    parser.add_argument("--origin", action="append", default=[], help="further origin, for a reverse proxy")
    parser.add_argument("--theme", default="robot", help="the face that is drawn (default: robot)")
    parser.add_argument("--namespace", default="", help="ROS namespace of the graph")
    parser.add_argument("--image", default="camera/image_raw", help="topic of the camera (default: camera/image_raw)")
    parser.add_argument("--no-pictures", action="store_true", help="never show the camera")
    parser.add_argument("--network", action="store_true", help="find graphs of other hosts (default: this host only)")


def main() -> int:
    """Entry point of ``ros2 run emo_face dashboard``."""
    import sys

    from emo_face.cli.main import main as verbs

    return verbs(["dashboard", *sys.argv[1:]])


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C, or until the process that started us is gone."""
    from emo_face.cli import up
    from emo_face.runtime.process import Parent

    parent = Parent.from_environment(os.environ)
    up.start_ros(args.network)
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

    from emo_face.nodes.dashboard import DashboardNode, DashboardSettings
    from emo_face.ros.run import init

    space = args.namespace.strip("/")
    init(["dashboard", *(["--ros-args", "-r", f"__ns:=/{space}"] if space else [])])
    node = None
    try:
        node = DashboardNode(
            DashboardSettings(
                args.host, args.port, args.token, args.theme, args.origin, args.image, not args.no_pictures
            )
        )
        print(f"dashboard: {node.server.url}", flush=True)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not parent.gone():
            executor.spin_once(timeout_sec=0.5)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
