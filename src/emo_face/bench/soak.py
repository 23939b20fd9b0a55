"""Hours of a robot's life: people come and go, the camera is lost, a node hangs, pages are reloaded, stops are pressed.

The whole graph runs as `emo-face up` starts it, the 12-servo rig on the mock driver. Meanwhile, over and over:

  every second        a page is loaded and its WebSocket opened and closed; a person comes or goes
  every 20 s          an emergency stop by service, then its release and enable
  every --trouble     in turn: the camera's process is killed, perception is stopped (SIGSTOP), the driver is killed

keys: minutes, restarts, stops_tried, stops_missed, stop_ms {p50 max}, pages, scores, and for memory_mb, descriptors,
threads (sums over the nodes) and disk_mb (logs and /dev/shm): first and last (medians of the second and the last fifth
of the time) and growth_percent.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.bench.probes.life import Visitor, resources, striker
from emo_face.bench.probes.survival import Graph, graph
from emo_face.core.errors import UserError
from emo_face.runtime.samples import portrait

LOOK, STOP = 5.0, 20.0  # s between two measurements, two stops


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Length and how often something breaks."""
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default 10; 120 for the record)")
    parser.add_argument("--trouble", type=float, default=60.0, metavar="S", help="between two faults (default 60)")
    parser.add_argument("--person", type=Path, help="a picture of a person (default: the packaged portrait)")


@dataclass
class Life:
    """What was seen."""

    rows: list[dict[str, float]] = field(default_factory=list)
    stops: list[float | None] = field(default_factory=list)
    pages = scores = 0


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run it. Raises UserError if the graph does not come up, or is not whole at the end."""
    from emo_face.bench.probes.machine import machine

    os.environ.setdefault("ROS_DOMAIN_ID", str(40 + os.getpid() % 60))
    about = machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        people = _people(folder / "people", args.person)
        words = ["--source", str(people), "--set", "camera.loop=true", "--set", "face_driver.rig=head_12servo"]
        with graph(folder, [*words, "--set", "face_driver.rig_driver=mock"]) as up:
            if up.wait("all 4 nodes active") is None:
                raise UserError(f"the graph did not come up: {up.said()[-500:]}")
            life = _live(up, folder, args.minutes * 60.0, args.trouble)
            whole = up.wait("all 4 nodes active", up.said().count("waiting: ") and 1) is not None
            restarts = up.said().count("; restart in")
    if not whole:
        raise UserError("the graph was not whole at the end")
    return {**_figures(life, args.minutes), "restarts": restarts, "machine": about}


def _people(folder: Path, person: Path | None) -> Path:
    """A folder of pictures, one a second, in which somebody is there for three seconds and away for two."""
    import cv2

    picture = cv2.imread(str(person or portrait()))
    if picture is None:
        raise UserError(f"{person}: no picture that OpenCV can read")
    folder.mkdir()
    for number in range(10):
        there = number % 5 < 3
        shown = cv2.resize(picture, (640, 480)) if there else np.full((480, 640, 3), 90, np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), shown)
    return folder


def _live(up: Graph, folder: Path, seconds: float, trouble: float) -> Life:
    life, strike = Life(), striker()
    with Visitor(up) as visitor:
        start = time.monotonic()
        looked = stopped = paged = start
        broken = start
        while (now := time.monotonic()) - start < seconds:
            if up.process.poll() is not None:
                raise UserError(f"the graph ended by itself: {up.said()[-500:]}")
            visitor.spin(0.1)
            if now - looked >= LOOK:
                looked = now
                life.rows.append({"at": now - start, **resources(up.nodes().values(), folder)})
            if now - paged >= 1.0:
                paged = now
                life.pages += visitor.load_page()
            if now - broken >= trouble and seconds - (now - start) > 30.0:
                broken = stopped = now  # the driver may be on its way back: its stop is tried when it is there
                strike(up)
            elif now - stopped >= STOP and now - broken > 15.0:
                stopped = now
                life.stops.append(visitor.stop_and_release())
        life.scores = visitor.scores
    return life


def _figures(life: Life, minutes: float) -> dict[str, Any]:
    answered = [seconds * 1e3 for seconds in life.stops if seconds is not None]
    flat: dict[str, Any] = {}
    fifth = max(1, len(life.rows) // 5)
    for key in ("memory_mb", "descriptors", "threads", "disk_mb"):
        first = float(np.median([row[key] for row in life.rows[fifth : 2 * fifth]]))
        last = float(np.median([row[key] for row in life.rows[-fifth:]]))
        flat[key] = {"first": round(first, 1), "last": round(last, 1)}
        flat[key]["growth_percent"] = round(100.0 * (last - first) / first, 1) if first else 0.0
    return {
        "minutes": minutes,
        "stops_tried": len(life.stops),
        "stops_missed": len(life.stops) - len(answered),
        "stop_ms": {"p50": round(float(np.median(answered)), 1), "max": round(max(answered), 1)} if answered else None,
        "pages": life.pages,
        "scores": life.scores,
        **flat,
    }
