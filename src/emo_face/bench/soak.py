"""Hours of operation: people come and go, cables are pulled, nodes hang or die, pages are reloaded, stops pressed.

The whole graph runs as `emo-face up` starts it, with a camera over HTTP and the 12-servo rig on an emulated Feetech
bus, both in this process (emo_face.bench.emulated.cables). Meanwhile, over and over:

  every second        a page is loaded and its WebSocket opened and closed; a person comes or goes every few seconds
  every 20 s          an emergency stop by service, then its release and enable; what the servos hold is compared
  every --trouble     the camera is unplugged for 10 s; a third later the bus, with a stop in between; then a process is
                      harmed: the camera's killed, perception stopped (SIGSTOP), the driver killed, in turn

keys: minutes, faults, restarts, stops_tried, stops_missed (not answered in 2 s, or torque on 15 s after the bus could
be reached), stops_that_lied (said stopped, torque was on), stops_verified_at_once, stop_ms {p50 p99 max}, not_back
(torque not on 15 s after the release), torque_after_kill (drivers that came back with torque on), camera_back (times,
max_s: longest from its cable's return to the next scores), pages, scores; as sums over `emo-face up` and its nodes
cores_used and, for memory_mb, descriptors, threads and disk_mb (logs, state, /dev/shm), first and last (medians of the
second and the last fifth of the time) and growth_percent. A row per minute goes to stderr.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from emo_face.bench.emulated.cables import Head, NetworkEye
from emo_face.bench.probes.child import Child
from emo_face.bench.probes.life import Visitor, resources
from emo_face.bench.probes.machine import cpu_seconds, machine
from emo_face.bench.probes.survival import ALL_ACTIVE, graph
from emo_face.bench.probes.troubles import Stops, Troubles
from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.runtime.samples import portrait
from emo_face.runtime.stills import read_picture

LOOK, ROW = 5.0, 60.0  # s between two measurements, two rows on stderr
QUIET = 60.0  # s without faults at the end: all must be back then


add_arguments = arguments(
    option("--minutes", type=float, default=10.0, help="duration (default 10; 120 for the published figures)"),
    option("--trouble", type=float, default=120.0, metavar="S", help="interval of faults of one kind (default 120)"),
    option("--rate", type=float, default=8.0, metavar="HZ", help="camera rate, Hz (default 8)"),
    option("--set", action="append", default=[], metavar="NODE.PARAM=VALUE", help="as in `emo-face up`"),
    option("--person", type=Path, help="a picture of a person (default: the packaged portrait)"),
)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run it. Raises UserError if the graph does not come up, or is not whole at the end."""
    os.environ.setdefault("ROS_DOMAIN_ID", str(40 + os.getpid() % 60))
    about = machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        head, eye = Head(folder), NetworkEye(_people(args.person, args.rate), args.rate)
        settings = [f"face_driver.rig={head.rig}", *args.set]
        words = ["--source", eye.url, *(word for setting in settings for word in ("--set", setting))]
        with graph(folder, words) as up, Visitor(up) as visitor:
            if up.wait(ALL_ACTIVE) is None:
                raise UserError(f"the graph did not come up: {up.said()[-500:]}")
            stops = Stops(visitor, head)
            troubles = Troubles(up, stops, head, eye, visitor, args.trouble)
            seen = _live(up, folder, args.minutes * 60.0, visitor, stops, troubles)
            restarts = up.said().count("; restart in")
    if missing := {"camera", "perception", "expression", "face_driver"} - seen.nodes:
        raise UserError(f"the graph was not whole at the end: no {', '.join(sorted(missing))}")
    return {
        "minutes": args.minutes,
        "faults": troubles.done,
        "restarts": restarts,
        **stops.figures(),
        "camera_back": {"times": len(troubles.blind), "max_s": max(troubles.blind, default=None)},
        "torque_after_kill": troubles.torque_after_kill,
        "pages": seen.pages,
        "scores": visitor.scores,
        "cores_used": round(sum(seen.cpu.values()) / (60.0 * args.minutes), 2),
        **_flat(seen.rows),
        "machine": about,
    }


def _people(person: Path | None, rate: float) -> list[bytes]:
    """JPEGs of ten seconds, in which somebody is there for three seconds and away for two, twice."""
    picture = read_picture(person or portrait())
    there, away = cv2.resize(picture, (640, 480)), np.full((480, 640, 3), 90, np.uint8)
    shown = [there if n / rate % 5 < 3 else away for n in range(round(10 * rate))]
    return [cv2.imencode(".jpg", image)[1].tobytes() for image in shown]


@dataclass
class _Seen:
    """Measurements every five seconds, pages loaded, processor seconds of each process, nodes at the end."""

    rows: list[dict[str, float]] = field(default_factory=list)
    pages: int = 0
    cpu: dict[int, float] = field(default_factory=dict)
    nodes: set[str] = field(default_factory=set)

    def look(self, at: float, up: Child, folder: Path) -> None:
        nodes = up.nodes()
        pids = [up.pid, *nodes.values()]
        self.rows.append({"at": round(at, 1), **resources(pids, folder)})
        self.cpu.update({pid: cpu_seconds(pid) for pid in pids})
        self.nodes = set(nodes)


def _live(up: Child, folder: Path, seconds: float, visitor: Visitor, stops: Stops, troubles: Troubles) -> _Seen:
    seen, start = _Seen(), time.monotonic()
    looked = told = paged = start
    while (now := time.monotonic()) - start < seconds:
        if up.process.poll() is not None:
            raise UserError(f"the graph ended by itself: {up.said()[-500:]}")
        visitor.spin(0.1)
        troubles.step(now, quiet=seconds - (now - start) < QUIET)
        if now >= stops.next_at and stops.idle and troubles.driver_is_there:
            stops.press()
        stops.settle(time.monotonic())
        if now - paged >= 1.0:
            paged = now
            seen.pages += visitor.load_page()
        if now - looked >= LOOK:
            looked = now
            seen.look(now - start, up, folder)
        if now - told >= ROW:
            told = now
            row = {**seen.rows[-1], **stops.figures(), "faults": troubles.done.total(), "scores": visitor.scores}
            print(json.dumps(row), file=sys.stderr, flush=True)
    return seen


def _flat(rows: list[dict[str, float]]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    fifth = max(1, len(rows) // 5)
    for key in ("memory_mb", "descriptors", "threads", "disk_mb"):
        first = float(np.median([row[key] for row in rows[fifth : 2 * fifth]]))
        last = float(np.median([row[key] for row in rows[-fifth:]]))
        flat[key] = {"first": round(first, 1), "last": round(last, 1)}
        flat[key]["growth_percent"] = round(100.0 * (last - first) / first, 1) if first else 0.0
    return flat
