"""Run motion, rig, gate and a simulated bus with 32 actuators, and measure the loop. Its own process: `bench face`."""

import argparse
import json
import os
import time
from typing import Any

import numpy as np
import yaml

from emo_face.bench.probes.machine import rss_mb
from emo_face.core.arkit import ARKIT_52
from emo_face.core.paths import share_dir
from emo_face.face.control.controller import FaceController
from emo_face.face.control.loop import FixedRateLoop
from emo_face.face.drivers import open_driver
from emo_face.face.motion.motion import FaceMotion
from emo_face.face.rig.rig import Rig
from emo_face.face.rig.schema import load_rig_file

EXTRA = ("cheekPuff", "tongueOut", "mouthLeft", "mouthRight", "mouthRollUpper", "mouthClose", "mouthShrugLower")
WARM_UP = 3.0


def rig_of_32() -> Rig:
    """The 25-channel head and seven more actuators."""
    path = share_dir() / "config" / "rigs" / "head_25channel.yaml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    jaw = next(a for a in data["actuators"] if a["name"] == "jaw")
    for i, channel in enumerate(EXTRA):
        data["actuators"].append({**jaw, "name": f"extra_{i}", "id": 100 + i, "drive": [{"channel": channel}]})
    return Rig(*load_rig_file(path, yaml.safe_dump(data)))


class Probe:
    """Counts the time from a target's arrival to the first movement of a motor."""

    def __init__(self, control: FaceController) -> None:
        self.control = control
        self.arrived: float | None = None
        self.periods: list[float] = []
        self._before = control.gate.position

    def step(self, now: float) -> None:
        self.control.step(now)
        place = self.control.output.position
        if self.arrived is not None and not np.array_equal(place, self._before):
            self.periods.append((time.monotonic() - self.arrived) * 100.0)
            self.arrived = None
        self._before = place


def measure_loop(seconds: float, rate: float = 100.0) -> dict[str, Any]:
    """Jitter, misses, processor share and memory growth over ``seconds`` with every layer on and targets at 10 Hz."""
    rng = np.random.default_rng(0)
    rig = rig_of_32()
    motion = FaceMotion(1.0 / rate, seed=1)
    control = FaceController(motion, rig, open_driver(rig, 1.0 / rate, "mock"), 1.0 / rate)
    loop = FixedRateLoop(control.step, rate)
    loop.start()
    _feed(motion, rng, WARM_UP)
    loop.jitter.reset()
    cpu, memory, begin = time.process_time(), rss_mb(os.getpid()), time.monotonic()
    _feed(motion, rng, seconds)
    spent, wall = time.process_time() - cpu, time.monotonic() - begin
    summary = loop.jitter.summary()
    loop.stop()
    return {
        "actuators": len(rig.names),
        "ticks": summary.ticks,
        "jitter_p50_ms": summary.p50_ms,
        "jitter_p99_ms": summary.p99_ms,
        "jitter_max_ms": summary.max_ms,
        "missed": summary.missed,
        "cpu_percent": 100.0 * spent / wall,
        "rss_growth_mb": max(0.0, rss_mb(os.getpid()) - memory),
        "rss_mb": rss_mb(os.getpid()),
        "step_errors": loop.errors,
        "gate_rejected": sum(control.gate.rejected.values()),
    }


def _feed(motion: FaceMotion, rng: np.random.Generator, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        face = rng.random(len(ARKIT_52)) ** 3
        motion.set_target(face, now, 1.0, arousal=float(rng.uniform(-1, 1)), gaze=rng.normal(0, 0.2, 2).tolist())
        time.sleep(0.1)


def measure_first_move(trials: int = 40, rate: float = 100.0) -> dict[str, float]:
    """Periods from a target's arrival to the first changed motor command; layers off, so nothing else moves."""
    rng = np.random.default_rng(2)
    rig = rig_of_32()
    motion = FaceMotion(1.0 / rate, layers=())
    probe = Probe(FaceController(motion, rig, open_driver(rig, 1.0 / rate, "mock"), 1.0 / rate))
    loop = FixedRateLoop(probe.step, rate)
    loop.start()
    time.sleep(0.3)
    for k in range(trials):
        face = np.zeros(len(ARKIT_52))
        face[[23, 24]] = 0.8 * (k % 2)
        time.sleep(float(rng.uniform(0, 2 / rate)))
        probe.arrived = time.monotonic()
        motion.set_target(face, probe.arrived, 5.0)
        time.sleep(0.9)  # until at rest again
    loop.stop()
    waits = np.array(probe.periods or [float("inf")])
    return {"first_move_periods": float(waits.max()), "first_move_p50_periods": float(np.median(waits))}


def main() -> int:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--trials", type=int, default=40)
    args = parser.parse_args()
    print(json.dumps({**measure_loop(args.seconds), **measure_first_move(args.trials)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
