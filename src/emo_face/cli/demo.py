"""Run the whole graph on a source, watch it live, and keep a video, plots, a bag and the figures.

camera -> perception -> expression -> face driver run as real lifecycle nodes over DDS; the robot's face is at
http://127.0.0.1:8765. DDS stays on this host; --network opens it.

examples:
  emo-face demo                                   a drawn visitor with three moods and a voice, 30 s, results in out/
  emo-face demo --source 0 --seconds 0            your webcam until Ctrl-C
  emo-face demo --rig head_12servo                a servo head, simulated by MuJoCo, in the film too
  emo-face demo --source talk.mp4 --out results   a video; results/demo.{mp4,html,mcap,json}
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from emo_face.cli import up
from emo_face.core.arguments import arguments, option
from emo_face.core.errors import ConfigError
from emo_face.core.paths import share_dir
from emo_face.core.yaml_files import BoundedLoader
from emo_face.ros.supervision.supervisor import Supervisor
from emo_face.runtime.samples import visitor

IMAGE_TOPIC = "camera/image_raw"


add_arguments = arguments(
    option(
        "--source",
        default="",
        help="webcam index or device, rtsp:// camera, video, picture, folder, or a .url file with the address of a "
        "camera that has a password (default: a drawn visitor)",
    ),
    option("--seconds", type=float, default=30.0, help="how long; 0 runs until Ctrl-C (default: 30)"),
    option("--out", type=Path, default=Path("out"), help="folder of the results (default: out)"),
    option("--port", type=int, default=8765, help="port of the screen face (default: 8765)"),
    option(
        "--speech",
        type=Path,
        help="YAML timeline of spoken lines; 'none' for silence (default: config/demo_scene.yaml with the visitor)",
    ),
    option("--rig", default="", help="a servo head, simulated, in the film: head_12servo or a rig file of yours"),
    option("--set", action="append", default=[], metavar="NODE.PARAM=VALUE", help="set one parameter of one node"),
    up.DASHBOARD,
    option("--network", action="store_true", help="let other hosts take part (default: this host only)"),
    option("--no-video", action="store_true", help="skip demo.mp4, which takes about half as long as the run"),
)


def up_arguments(args: argparse.Namespace) -> argparse.Namespace:
    """Arguments of ``emo-face up`` for this demo."""
    settings = [f"face_driver.screen.port={args.port}"]
    if args.rig:
        settings += [f"face_driver.rig={args.rig}", "face_driver.rig_driver=sim"]
    source = args.source
    if not source:
        source = str(visitor())
        settings.append("camera.loop=true")
    words = ["--source", source, *(["--dashboard", str(args.dashboard)] if args.dashboard is not None else [])]
    for setting in [*settings, *args.set]:
        words += ["--set", setting]
    return up.parse([*words, *(["--network"] if args.network else [])])


class Timeline:
    """Lines that are due at given seconds, again and again every ``period``."""

    def __init__(self, lines: list[tuple[float, str]], period: float) -> None:
        self._lines, self._period, self._spoken = lines, period, -1e-9

    def due(self, elapsed: float) -> Iterator[str]:
        """Lines whose time came since the last call."""
        turn = 0
        while self._lines and (turn * self._period <= elapsed):
            for at, text in self._lines:
                if self._spoken < at + turn * self._period <= elapsed:
                    yield text
            turn += 1
            if not self._period:
                break
        self._spoken = max(self._spoken, elapsed)


def load_timeline(path: Path | None, source: str) -> Timeline:
    """The spoken lines. A real source brings its own speech or silence, so only the visitor has lines by default."""
    if (path is None and source) or (path is not None and str(path) == "none"):
        return Timeline([], 0.0)
    path = path or share_dir() / "config" / "demo_scene.yaml"
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=BoundedLoader)
        lines = sorted((float(entry["at"]), str(entry["text"])) for entry in raw["lines"])
        return Timeline(lines, float(raw["period"]))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: expected `period: seconds` and `lines: [{{at: seconds, text: ...}}]`, got {error}"
        ) from None


def run(args: argparse.Namespace) -> int:
    args.out.mkdir(parents=True, exist_ok=True)
    timeline = load_timeline(args.speech, args.source)

    log = up.start_ros(args.network)
    import rclpy

    from emo_face.ros.run import init

    init([])
    try:
        code, peak = _record(args, timeline, log)
    finally:
        rclpy.shutdown()
    if code == 0:
        _report(args, peak)
    return code


def _record(args: argparse.Namespace, timeline: Timeline, log: Any) -> tuple[int, float]:
    """Run the graph and write the bag; returns (exit code, peak RSS of all nodes in MB)."""
    import rclpy
    from std_msgs.msg import String

    from emo_face.cli._live import LiveView
    from emo_face.recording.bag import BagWriter, describe
    from emo_face.ros.recorder import Recorder

    view = LiveView("emo_face demo", f"http://127.0.0.1:{args.port}")
    started = up_arguments(args)
    commands = up.commands(started)
    node = rclpy.create_node("emo_face_demo")
    speech = node.create_publisher(String, "speech/text", 10)
    executor = rclpy.executors.SingleThreadedExecutor()
    executor.add_node(node)
    with (args.out / "demo.log").open("wb") as output, BagWriter(args.out / "demo.mcap") as bag:
        recorder = Recorder(node, bag, IMAGE_TOPIC, on_message=view.on_message)
        supervisor = Supervisor(commands, log, output=output)
        try:
            with up.dashboard_beside(started, output), _screen() as show:
                code = _loop(
                    args.seconds,
                    supervisor,
                    executor,
                    view,
                    show,
                    lambda text: speech.publish(String(data=text)),
                    timeline,
                    recorder,
                )
        except KeyboardInterrupt:
            code = 0
        finally:
            peak = supervisor.peak_rss_mb
            with contextlib.suppress(KeyboardInterrupt):
                supervisor.stop()
        node.destroy_node()
    for said in describe(bag):
        print(f"emo-face demo: {said}", file=sys.stderr)
    for managed in supervisor.failed:
        print(f"emo-face demo: node {managed.name}: {managed.error} (see {args.out / 'demo.log'})", file=sys.stderr)
    return code, peak


def _loop(
    seconds: float, supervisor: Any, executor: Any, view: Any, show: Any, say: Any, timeline: Timeline, recorder: Any
) -> int:
    """Spin until the time is over or the source has ended (0), or a node is given up (1)."""
    first_frame = None
    shown = float("-inf")
    while True:
        now = time.monotonic()
        supervisor.tick(now)
        executor.spin_once(timeout_sec=0.05)
        if first_frame is None and recorder.images_seen and supervisor.all_active:
            first_frame = now
        elapsed = 0.0 if first_frame is None else now - first_frame
        for line in timeline.due(elapsed) if first_frame is not None else ():
            say(line)
        if now - shown >= 0.25:
            shown = now
            phases = {m.name: m.phase.value for m in supervisor.nodes}
            show(partial(view.render, elapsed, seconds, phases))
        if supervisor.failed:
            return 1
        if (seconds and elapsed >= seconds) or supervisor.ended("camera"):
            return 0


@contextlib.contextmanager
def _screen() -> Iterator[Any]:
    """Yields ``show(draw)``: a live screen in a terminal, one line every five seconds elsewhere.

    ``draw`` makes what is shown for a width in columns.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if console.is_terminal:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            yield lambda draw: live.update(draw(console.width), refresh=True)
        return
    last = float("-inf")

    def show(draw: Any) -> None:
        nonlocal last
        if time.monotonic() - last >= 5.0:
            last = time.monotonic()
            console.print(draw(console.width))

    yield show


def _report(args: argparse.Namespace, peak_rss_mb: float) -> None:
    """demo.json, demo.html and demo.mp4 from demo.mcap."""
    from emo_face.recording.report import write_report

    written = write_report(args.out / "demo.mcap", args.out, "demo", peak_rss_mb, not args.no_video, args.rig)
    print("\n".join(["", *(f"  {path}" for path in [args.out / "demo.mcap", *written])]))
