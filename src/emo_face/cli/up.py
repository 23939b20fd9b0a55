"""Start the whole graph: camera, perception, expression and face driver as separate processes (--compose: as two).

The same nodes with the same parameters as `ros2 launch emo_face bringup.launch.py`, for machines without launch.
A node that dies or hangs is replaced, with growing delays; Ctrl-C eases the face to neutral and ends all.
DDS stays on this host, where other nodes with default settings take part; --network opens it, and so do settings of
your own (ROS_AUTOMATIC_DISCOVERY_RANGE, a DDS profile, a discovery server).

examples:
  emo-face up                                          webcam 0 -> http://127.0.0.1:8765
  emo-face up --source talk.mp4 --exit-on-end          until the video ends
  emo-face up --set perception.detector.imgsz=416      one parameter of one node
  emo-face up --compose                                all but the face driver in one process: less memory, sooner
  emo-face up --tier medium --set perception.multiview.folder=out/export
  emo-face up --params my_robot.yaml --only perception,expression
  emo-face up --also door=/dev/video2                  a second camera; its people and the first one's are one list
  emo-face up --dashboard                              and http://127.0.0.1:8766: what it sees, hears, thinks and shows
exit code: 0 ended as asked, 1 a node was given up, 2 wrong arguments
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from emo_face.cli.main import main as verbs
from emo_face.core.arguments import arguments, option
from emo_face.core.errors import ConfigError
from emo_face.core.install import how_to_get
from emo_face.core.paths import share_dir
from emo_face.ros.images.transport import use_profile
from emo_face.ros.network import keep_local
from emo_face.ros.parameters.given import check_file, node_names, parse_overrides
from emo_face.ros.supervision import cameras
from emo_face.ros.supervision.graph import COMPOSED, GRAPH, NodeSpec, command_line, composed_command, node_words
from emo_face.ros.supervision.supervisor import Supervisor
from emo_face.runtime.process import PARENT, Child, Parent

TICK, ECHO = 0.05, 1.0  # s
TIER_SETTINGS = {
    "nano": ("perception.tier=nano", "expression.backend=prototypes"),
    "medium": ("perception.tier=medium", "expression.backend=prototypes"),
    "full": ("perception.tier=full", "expression.backend=contextface"),
}
"""What one word sets in the nodes; --set wins."""

DASHBOARD = option(
    "--dashboard",
    nargs="?",
    type=int,
    const=8766,
    metavar="PORT",
    help="a page with camera, scores and answers, in a process of its own (default port: 8766)",
)
add_arguments = arguments(
    option("--params", type=Path, metavar="FILE", help="ROS parameter file (default: config/emo_face.yaml)"),
    option(
        "--set", action="append", default=[], metavar="NODE.PARAM=VALUE", help="set one parameter; wins over the file"
    ),
    option(
        "--source",
        help="what the camera node reads: webcam index or device, rtsp:// or http:// camera, video, picture, folder, "
        "or a .url file that holds a camera's address with its password",
    ),
    option(
        "--also",
        action="append",
        default=[],
        metavar="NAME=SOURCE",
        help="a further camera, or NAME=topic:/its/image_raw of your own driver (docs/ros.md)",
    ),
    option(
        "--tier",
        choices=tuple(TIER_SETTINGS),
        help="of the whole graph: nano is packaged, medium and full need your own models (default: as in the file)",
    ),
    option("--only", metavar="NODES", help="comma-separated nodes to start (default: all)"),
    option("--without", metavar="NODES", help="comma-separated nodes to leave out, e.g. camera"),
    option(
        "--compose",
        action="store_true",
        help="camera, perception and expression as one process: less memory and latency",
    ),
    option("--namespace", default="", help="ROS namespace of every node"),
    option("--remap", action="append", default=[], metavar="FROM:=TO", help="remap a topic in every node"),
    option("--log-level", default="", help="debug, info, warn, error"),
    DASHBOARD,
    option("--network", action="store_true", help="let other hosts take part (default: this host only)"),
    option("--no-autostart", action="store_true", help="leave the lifecycle to your own manager"),
    option("--exit-on-end", action="store_true", help="stop everything when the camera's source has ended"),
    option("--seconds", type=float, default=0.0, help="stop after this long (0: run until Ctrl-C)"),
    option(
        "--watchdog",
        type=float,
        default=2.5,
        metavar="S",
        help="replace a node that sends no heartbeat for this long (default: 2.5; 0: never, for debugging)",
    ),
    option("--ros-args", nargs=argparse.REMAINDER, default=[], help="everything after it goes to every node"),
)


def dashboard_words(args: argparse.Namespace) -> list[str]:
    """Command line of the dashboard beside the graph; empty without ``--dashboard``."""
    if args.dashboard is None:
        return []
    words = [sys.executable, "-m", "emo_face.cli.main", "dashboard", "--port", str(args.dashboard)]
    words += ["--namespace", args.namespace] if args.namespace else []
    return [*words, *(["--network"] if args.network else [])]


@contextlib.contextmanager
def dashboard_beside(args: argparse.Namespace, log: IO[bytes] | None = None) -> Iterator[None]:
    """The dashboard's process while the graph runs, if it is asked for; its end is no end of the graph."""
    words = dashboard_words(args)
    child = Child(words, log, {PARENT: str(os.getpid())}) if words else None
    try:
        yield
    finally:
        if child is not None:
            child.ask_to_end()
            child.end(5.0)


def parse(words: list[str]) -> argparse.Namespace:
    """Arguments of ``emo-face up`` from its words."""
    parser = argparse.ArgumentParser(prog="emo-face up")
    add_arguments(parser)
    return parser.parse_args(words)


def main() -> int:
    """Entry point of ``ros2 run emo_face bringup`` and of the launch file."""
    return verbs(["up", *sys.argv[1:]])


def commands(args: argparse.Namespace) -> list[tuple[tuple[str, ...], list[str]]]:
    """(names of its nodes, command line) of every process that ``args`` asks for."""
    params = args.params or share_dir() / "config" / "emo_face.yaml"
    if not params.is_file():
        raise ConfigError(f"parameter file {params} does not exist; `emo-face params --write` makes a commented one")
    overrides = parse_overrides([*TIER_SETTINGS.get(args.tier or "", ()), *args.set])
    if args.dashboard:
        address = json.dumps(f"http://127.0.0.1:{args.dashboard}/")
        overrides.setdefault("face_driver", {}).setdefault("screen.dashboard", address)
    if args.source is not None:
        warn_of_password(args.source)
        overrides.setdefault("camera", {})["source"] = json.dumps(args.source)
    wanted = node_names(args.only, args.without)
    words = ros_words(args)
    further = cameras.read(args.also)
    space = f"/{args.namespace.strip('/')}".rstrip("/")
    for lost in check_file(params, [f"{space}/{spec.label}" for spec in (*GRAPH, *cameras.nodes(further))]):
        print(f"emo-face: {lost}", file=sys.stderr)
    specs = [spec for spec in GRAPH if spec.name in wanted]
    together = [spec for spec in specs if args.compose and spec.name in COMPOSED]
    early = [spec for spec in specs if spec.name not in ("perception", "camera")]
    specs = [*early, *cameras.nodes(further), *(spec for spec in specs if spec not in early)]

    def own(spec: NodeSpec) -> list[str]:
        settings = {**overrides.get(spec.name, {}), **cameras.settings(spec, further)}
        first = cameras.remaps(spec, further, args.namespace, words)
        return node_words(spec, params, args.namespace, settings, [*first, *words])

    if len(together) < 2:
        return [((spec.label,), command_line(spec, own(spec))) for spec in specs]
    alone = [((spec.label,), command_line(spec, own(spec))) for spec in specs if spec not in together]
    composed = composed_command({spec.name: own(spec) for spec in together})
    return [*alone, (tuple(spec.name for spec in together), composed)]


def warn_of_password(source: str) -> None:
    """One line if ``source`` has a secret in it: everybody on this host reads command lines."""
    from emo_face.runtime.sources import shown

    if shown(source) != source:
        print(
            f"emo-face: the password in {shown(source)} is in the process list; put the address into a file camera.url "
            "that only you can read, and name that",
            file=sys.stderr,
        )


def ros_words(args: argparse.Namespace) -> list[str]:
    """What follows ``--ros-args`` in every node's command. Raises ConfigError for what ROS does not understand."""
    words = [word for rule in args.remap for word in ("-r", rule)]
    if args.log_level:
        words += ["--log-level", args.log_level]
    words += [word for word in args.ros_args if word != "--ros-args"]
    for word in words:
        if word.startswith(("__node:=", "__name:=")):
            raise ConfigError(f"{word} would give every node this name; write NODE:{word} for one of them")
    namespace = args.namespace.strip("/")
    check_ros_arguments([*words, *(["-r", f"__ns:=/{namespace}"] if namespace else [])])
    return words


def check_ros_arguments(words: list[str]) -> None:
    """Let ROS itself read ``words``. Raises ConfigError with the first that is wrong."""
    ros_is_there()
    import rclpy

    from emo_face.ros.run import init

    context = rclpy.Context()
    init(["up", "--ros-args", *words], context)
    context.destroy()


def run(args: argparse.Namespace) -> int:
    parent = Parent.from_environment(os.environ)
    to_start = commands(args)
    log = start_ros(args.network)

    supervisor = Supervisor(to_start, log, patience=args.watchdog, autostart=not args.no_autostart)
    try:
        with dashboard_beside(args):
            return watch(supervisor, parent, args.seconds, args.exit_on_end)
    finally:
        with contextlib.suppress(KeyboardInterrupt):
            supervisor.stop()


def ros_is_there() -> None:
    """Raises ConfigError without rclpy."""
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"rclpy does not import ({error}): {how_to_get('rclpy')}") from None


def start_ros(network: bool) -> Any:
    """Choose who may take part, for us and our children; SIGINT and SIGTERM raise KeyboardInterrupt. Returns a logger.

    Also if a shell's ``&`` has had SIGINT ignored. Raises ConfigError without rclpy.
    """
    ros_is_there()
    from rclpy.logging import get_logger

    if network or not keep_local(os.environ):
        use_profile(os.environ)
    end_on_signals()
    return get_logger("emo_face_up")


def end_on_signals() -> None:
    """SIGINT and SIGTERM raise KeyboardInterrupt; one that follows at once is the same wish: Ctrl-C reaches us from
    the terminal and, once more, from `ros2 launch`."""
    last = -ECHO

    def stop(number: int, frame: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= ECHO:
            last = now
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def watch(supervisor: Supervisor, parent: Parent, seconds: float, exit_on_end: bool) -> int:
    """Tick until Ctrl-C (0), the time, the source or the parent is over (0), or a node is given up (1)."""
    started = time.monotonic()
    try:
        while True:
            now = time.monotonic()
            supervisor.tick(now)
            if supervisor.failed:
                return 1
            over = bool(seconds) and now - started > seconds
            if over or parent.gone() or (exit_on_end and supervisor.ended("camera")):
                return 0
            time.sleep(TICK)
    except KeyboardInterrupt:
        return 0
