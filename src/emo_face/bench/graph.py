"""The whole graph over DDS at 640 x 480 and 30 Hz, beside the pattern that most peers use.

Ours: camera, perception, expression and face driver as `emo-face up` starts them, measured from the camera's stamp to
the arrival of /emotion/scores in this process. The peer: the same camera and, in the image callback with a queue of 10,
ultralytics' YOLO at the same weights; people's boxes only, no faces, tracks or emotions. It needs an interpreter with
ultralytics and torch (--peer-python) and is left out without.

Three comparisons, all with the same people found: `peer`, the pattern as most packages have it, at ultralytics' own
input size of 640; `peer_same_input`, the peer at our input size of 320, so that only the pattern differs; `saturated`,
the same with a camera that is faster than either, where throughput shows and a queue fills.

keys: ours, peer {fps p50_ms p95_ms p99_ms dropped people}, peer_same_input and saturated likewise,
six_people_cost_ratio (processor time of the perception process per frame, six people over one), rss_mb and pss_mb
(all nodes; in the latter a page that several share counts once), startup_s (`emo-face up` to the first person's score),
machine, notes.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import rclpy
from emo_face_msgs.msg import EmotionScoresArray
from std_msgs.msg import Header

from emo_face.bench.probes.child import Child, child
from emo_face.bench.probes.graph_probe import Probe, figures
from emo_face.bench.probes.import_cost import memory_mb
from emo_face.bench.probes.machine import cpu_seconds, machine, rss_mb
from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.ros.images.transport import use_profile
from emo_face.runtime import samples

SETTLE = 3.0  # s after the first result before the stretch that is measured
GIVE_UP = 90.0  # s without a result


add_arguments = arguments(
    option("--one", type=Path, metavar="SOURCE", help="picture or video of one person (default: packaged)"),
    option("--six", type=Path, metavar="SOURCE", help="picture or video of six people (default: one person six times)"),
    option("--seconds", type=float, default=15.0, help="seconds measured (default 15)"),
    option("--rate", type=float, default=30.0, help="camera rate, Hz (default 30)"),
    option("--set", action="append", default=[], metavar="NODE.PARAM=VALUE", help="as in `emo-face up`"),
    option("--domain", type=int, help="ROS domain of the runs (default: one that is probably free)"),
    option("--peer-python", metavar="PYTHON", help="interpreter with ultralytics (default: no peer)"),
    option("--peer-weights", type=Path, metavar="FILE", help="weights of the peer (.pt or .onnx)"),
    option("--saturate", type=float, default=100.0, metavar="HZ", help="camera rate of the figure `saturated`"),
)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run ours with one person, ours with six, then the peer."""
    for source in filter(None, (args.one, args.six)):
        if not source.exists():
            raise UserError(f"{source}: no such file")
    with tempfile.TemporaryDirectory() as folder:
        args.one = args.one or samples.portrait()
        args.six = args.six or _group(Path(folder))
        return _measure(args)


def _group(folder: Path) -> Path:
    path = folder / "six.png"
    cv2.imwrite(str(path), samples.group())
    return path


def alone(domain: int | None) -> None:
    """Let nobody else's graph answer: this process and its children take a domain of their own on this host."""
    os.environ["ROS_DOMAIN_ID"] = str(40 + os.getpid() % 60 if domain is None else domain)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    about = machine()
    alone(args.domain)
    notes: list[str] = []
    one, six = ours(args, args.one, args.rate), ours(args, args.six, args.rate)
    result: dict[str, Any] = {
        "ours": one["figures"],
        "peer": None,
        "six_people_cost_ratio": round(six["cpu_ms"] / one["cpu_ms"], 2) if one["cpu_ms"] else None,
        "six_people": six["figures"],
        "rss_mb": one["rss_mb"],
        "pss_mb": one["pss_mb"],
        "rss_mb_by_node": one["rss_by_node"],
        "startup_s": one["startup_s"],
        "perception_cpu_ms_per_frame": one["cpu_ms"],
    }
    if args.peer_python:
        result["peer"] = _peer(args, args.rate, imgsz=640)
        result["peer_same_input"] = _peer(args, args.rate, imgsz=320)
        fast = ours(args, args.one, args.saturate)["figures"]
        saturated = {"rate": args.saturate, "ours": fast, "peer": _peer(args, args.saturate, imgsz=320)}
        result["saturated"] = {**saturated, **_compare(fast, saturated["peer"])}
        result.update(_compare(result["ours"], result["peer"]))
        result["peer_same_input"].update(_compare(result["ours"], result["peer_same_input"]))
    else:
        notes.append("no --peer-python: the peer was not measured")
    return {**result, "machine": about, "notes": notes}


def _camera_settings(args: argparse.Namespace, source: Path, rate: float) -> list[str]:
    settings = [f"camera.rate={rate}", "camera.width=640", "camera.height=480", "camera.loop=true"]
    settings += ["face_driver.screen.port=0", *args.set]  # a free port: a face may be running
    return ["--source", str(source), *(part for setting in settings for part in ("--set", setting))]


def ours(args: argparse.Namespace, source: Path, rate: float, *words: str) -> dict[str, Any]:
    """Start the graph on ``source``, with further ``words`` of `emo-face up`, and measure it."""
    command = [sys.executable, "-m", "emo_face.cli.main", "up", *_camera_settings(args, source, rate), *words]
    with _probe() as probe:
        probe.listen(EmotionScoresArray, "/emotion/scores", lambda msg: (msg.header, len(msg.people)))
        start = time.time()
        with child(command) as up:
            _first(probe, up, "emo-face up")
            startup = next(arrival for _, arrival, people in probe.rows if people) - start
            probe.spin(lambda: False, SETTLE)
            nodes = up.nodes()
            used = _cpu_seconds(nodes)
            rows = _stretch(probe, args.seconds)
            used = {name: spent - used[name] for name, spent in _cpu_seconds(nodes).items()}
            memory = {name: memory_mb(pid) for name, pid in nodes.items()}
    frames = max(len(rows), 1)
    return {
        "figures": figures(rows, rate),
        "startup_s": round(startup, 2),
        "rss_mb": round(sum(each["rss"] for each in memory.values()), 1),
        "pss_mb": round(sum(each["pss"] for each in memory.values()), 1),
        "rss_by_node": {name: round(each["rss"], 1) for name, each in memory.items()},
        "cpu_ms": round(used.get("perception", 0.0) * 1e3 / frames, 2),
        "cpu_ms_all": round(sum(used.values()) * 1e3 / frames, 2),
    }


def _cpu_seconds(nodes: dict[str, int]) -> dict[str, float]:
    return {name: cpu_seconds(pid) for name, pid in nodes.items()}


def _peer(args: argparse.Namespace, rate: float, imgsz: int) -> dict[str, Any]:
    """Start the same camera and the peer, and measure the peer."""
    if args.peer_weights is None or not args.peer_weights.is_file():
        raise UserError(f"--peer-weights {args.peer_weights}: expected a .pt or .onnx file for the peer")
    script = Path(__file__).with_name("probes") / "peer_ultralytics.py"
    command = [args.peer_python, str(script), "--weights", str(args.peer_weights), "--imgsz", str(imgsz)]
    up = [sys.executable, "-m", "emo_face.cli.main", "up", "--only", "camera", *_camera_settings(args, args.one, rate)]
    # rclpy and the messages come from this interpreter; the peer's own packages go first.
    environment = {**os.environ, "EMO_FACE_PEER_PATH": os.pathsep.join(p for p in sys.path if p), "YOLO_OFFLINE": "1"}
    with _probe() as probe:
        probe.listen(Header, "/peer/detections", lambda msg: (msg, int(msg.frame_id)))
        with child(command, environment) as peer, child(up):
            _first(probe, peer, "the peer")
            probe.spin(lambda: False, SETTLE)
            rows = _stretch(probe, args.seconds)
            memory = rss_mb(peer.pid)
    return {**figures(rows, rate), "imgsz": imgsz, "rss_mb": round(memory, 1), "weights": args.peer_weights.name}


def _compare(ours: dict[str, Any], peer: dict[str, Any]) -> dict[str, float | str]:
    """Ratios ours / peer, or why they would mean nothing."""
    if ours["people"] != peer["people"]:
        return {"not_comparable": f"ours sees {ours['people']} people, the peer {peer['people']}"}
    if not peer["fps"] or not ours["p95_ms"]:
        return {"not_comparable": "too few results"}
    throughput, latency = ours["fps"] / peer["fps"], ours["p95_ms"] / peer["p95_ms"]
    return {"throughput_ratio": round(throughput, 2), "p95_ratio": round(latency, 3)}


def _first(probe: Probe, program: Child, who: str) -> None:
    probe.spin(lambda: probe.seen() or program.process.poll() is not None, GIVE_UP)
    if not probe.seen():
        code = program.process.poll()
        raise UserError(
            f"{who} gave no result with a person in it (exit code {code}); end of its log:\n{program.tail()}"
        )


def _stretch(probe: Probe, seconds: float) -> list[tuple[float, float, int]]:
    first = len(probe.rows)
    probe.spin(lambda: False, seconds)
    return probe.rows[first:]


@contextlib.contextmanager
def _probe() -> Iterator[Probe]:
    use_profile(os.environ)
    rclpy.init(args=[])
    node = rclpy.create_node("emo_face_bench")
    try:
        yield Probe(node)
    finally:
        node.destroy_node()
        rclpy.shutdown()
