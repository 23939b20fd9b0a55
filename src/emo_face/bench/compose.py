"""`emo-face up --compose` beside the four-process graph, on one picture at 640 x 480: memory, latency, processor time.

Both graphs run in turn, as often as --rounds says; figures are medians. Latency is from the camera's stamp to the
arrival of /emotion/scores in this process.

keys: separate, composed {p50_ms p95_ms rss_mb pss_mb cpu_ms startup_s rss_by_process}, saved {rss_mb pss_mb p50_ms
cpu_ms}, imports (what each costs an interpreter on top of those before it: mb resident, own_mb, ms), machine.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

from emo_face.bench.graph import alone, ours
from emo_face.bench.probes.import_cost import import_costs
from emo_face.bench.probes.machine import machine
from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.runtime import samples

IMPORTS = (
    "numpy",
    "yaml",
    "pydantic",
    "cv2",
    "rclpy.lifecycle",
    "sensor_msgs.msg",
    "diagnostic_msgs.msg",
    "emo_face_msgs.msg",
    "emo_face.ros.run",
    "emo_face.nodes.camera",
    "onnxruntime",
    "trackforge",
    "emo_face.nodes.perception",
    "emo_face.nodes.expression",
    "emo_face.nodes.face_driver",
)


add_arguments = arguments(
    option("--one", type=Path, metavar="SOURCE", help="picture or video (default: a packaged portrait)"),
    option("--seconds", type=float, default=10.0, help="seconds measured (default 10)"),
    option("--rounds", type=int, default=2, help="runs of each graph (default 2)"),
    option("--rate", type=float, default=30.0, help="camera rate, Hz (default 30)"),
    option("--set", action="append", default=[], metavar="NODE.PARAM=VALUE", help="as in `emo-face up`"),
    option("--domain", type=int, help="ROS domain of the runs (default: one that is probably free)"),
)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run both in turn; see the module's docstring for the keys."""
    source = args.one or samples.portrait()
    if not source.exists():
        raise UserError(f"{source}: no such file")
    about = machine()
    alone(args.domain)
    runs: dict[str, list[dict[str, Any]]] = {"separate": [], "composed": []}
    for _ in range(max(args.rounds, 1)):
        runs["separate"].append(ours(args, source, args.rate))
        runs["composed"].append(ours(args, source, args.rate, "--compose"))
    found: dict[str, Any] = {name: _summary(each) for name, each in runs.items()}
    keys = ("rss_mb", "pss_mb", "p50_ms", "cpu_ms")
    found["saved"] = {key: round(found["separate"][key] - found["composed"][key], 2) for key in keys}
    return {**found, "imports": import_costs(IMPORTS), "machine": about}


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    rows = [
        {
            "p50_ms": run["figures"]["p50_ms"] or 0.0,
            "p95_ms": run["figures"]["p95_ms"] or 0.0,
            "rss_mb": run["rss_mb"],
            "pss_mb": run["pss_mb"],
            "cpu_ms": run["cpu_ms_all"],
            "startup_s": run["startup_s"],
        }
        for run in runs
    ]
    medians = {key: round(statistics.median(row[key] for row in rows), 2) for key in rows[0]}
    return {**medians, "rss_by_process": runs[-1]["rss_by_node"], "dropped": runs[-1]["figures"]["dropped"]}
