"""Perception on one core: milliseconds of every stage for one and for six people.

Runs the pipeline that the node runs (YOLO11n, YuNet, tracker, nano emotion model) on two pictures scaled to 640 x 480,
without ROS. ``cpu_ms`` is processor time per frame, which other programs disturb less; ``six_people_cost_ratio`` is its
ratio between the two pictures.

With --clip the same pipeline also reads videos, with bodies looked for in every frame and by need, as
`detector.cadence: adaptive` does: processor time per frame, looks at bodies, people missed, identity switches, other
emotions.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from emo_face.bench.probes.cadence_check import compare, read_clip
from emo_face.bench.probes.machine import machine
from emo_face.core.arguments import arguments, option
from emo_face.core.types import ImageArray, Speech
from emo_face.perception.build import DetectorSettings, build_pipeline
from emo_face.perception.nano.model import build_nano
from emo_face.perception.pipeline import PerceptionPipeline
from emo_face.runtime import samples
from emo_face.runtime.engines.select import Engines
from emo_face.runtime.stills import read_picture
from emo_face.runtime.store import open_store

add_arguments = arguments(
    option("--one", type=Path, metavar="PICTURE", help="one person (default: a packaged portrait)"),
    option("--six", type=Path, metavar="PICTURE", help="six people (default: that portrait six times)"),
    option("--frames", type=int, default=100, help="frames to time of each picture (default 100)"),
    option("--clip", type=Path, action="append", default=[], metavar="VIDEO", help="compare the cadences"),
    option("--clip-frames", type=int, default=10**6, help="frames of each clip (default: all)"),
    option("--imgsz", type=int, default=320, help="longer side of YOLO's input (default 320)"),
    option("--threads", type=int, default=1, help="onnxruntime threads (default 1)"),
)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Time the pipeline; see the module's docstring for the keys."""
    frames = {"one": read(args.one or samples.portrait()), "six": read(args.six) if args.six else samples.group()}
    about = machine()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if args.threads == 1 and cores:
        os.sched_setaffinity(0, {max(cores)})
    cv2.setNumThreads(max(args.threads, 1))
    try:
        pipeline = _pipeline(args, "every")
        result: dict[str, Any] = {name: _stages(pipeline, frame, args.frames) for name, frame in frames.items()}
        clips = {path.name: _cadences(args, pipeline, path) for path in args.clip}
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
    ratio = result["six"]["cpu_ms"] / result["one"]["cpu_ms"]
    found = {**result, "six_people_cost_ratio": round(ratio, 2), **({"clips": clips} if clips else {})}
    return {**found, "warnings": list(pipeline.warnings), "machine": about}


def _pipeline(args: argparse.Namespace, cadence: str) -> PerceptionPipeline:
    store, engines = open_store(), Engines("cpu", args.threads)
    settings = DetectorSettings(imgsz=args.imgsz, cadence=cadence)
    pipeline, _ = build_pipeline(store, build_nano(store, engines=engines), settings, engines=engines)
    pipeline.warm_up()
    return pipeline


def _cadences(args: argparse.Namespace, every: PerceptionPipeline, path: Path) -> dict[str, Any]:
    adaptive = _pipeline(args, "adaptive")
    return compare(read_clip(every, path, args.clip_frames), read_clip(adaptive, path, args.clip_frames))


def read(path: Path) -> ImageArray:
    """A picture scaled to 640 x 480 BGR. Raises UserError naming the file."""
    return np.asarray(cv2.resize(read_picture(path), (640, 480), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _stages(pipeline: PerceptionPipeline, frame: ImageArray, frames: int) -> dict[str, Any]:
    pipeline.reset()
    spent: dict[str, list[float]] = {}
    people, start = 0, 0.0
    for k in range(frames + 5):
        now = k / 30
        if k == 5:  # caches, the tracker's first frames
            start = time.process_time()
        result = pipeline.process(frame, now, {"p00001": Speech("I am so happy to see you", now)})
        if k >= 5:
            people = max(people, len(result.people))
            for stage, seconds in result.timings.items():
                spent.setdefault(stage, []).append(seconds * 1e3)
    cpu = (time.process_time() - start) * 1e3 / max(frames, 1)
    medians = {f"{stage}_ms": round(float(np.median(values)), 2) for stage, values in spent.items()}
    p95 = round(float(np.percentile(spent["total"], 95)), 2)
    return {"people": people, **medians, "p95_ms": p95, "cpu_ms": round(cpu, 2)}
