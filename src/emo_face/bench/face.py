"""The face driver's loop, safety gate and page: punctuality, cost and whether any limit can be broken.

A 100 Hz loop runs motion, a rig of 32 actuators, the safety gate and a simulated bus in a process of its own, beside
another process that keeps one core busy. Then over a million adversarial commands go through the gate, a tick is timed,
and the page's frame intervals are measured in headless Chromium if it is installed.

Keys: jitter_p99_ms, missed, first_move_periods, cpu_percent (of one core), page_p95_ms (null without Chromium),
rss_growth_mb, limit_violations, commands_tried, gate_tick_us {p50 p95}, loop, machine, notes.
"""

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import numpy as np

from emo_face.bench.page import page_p95
from emo_face.bench.probes.limit_check import try_commands
from emo_face.bench.probes.machine import machine
from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.face.safety.gate import SafetyGate
from emo_face.face.safety.limits import ActuatorLimits

add_arguments = arguments(
    option("--seconds", type=float, default=60.0, help="seconds of the loop that are measured (default 60)"),
    option("--trials", type=int, default=40, help="targets for the first-movement figure (default 40)"),
    option("--ticks", type=int, default=1100, help="ticks of 1000 actuators in the limit check"),
    option("--no-busy", action="store_true", help="do not keep another core busy"),
    option("--no-page", action="store_true", help="leave the page out"),
)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run all parts."""
    if args.seconds < 1 or args.trials < 1 or args.ticks < 1:
        raise UserError("--seconds, --trials and --ticks: expected at least 1")
    about = machine()
    loop = _loop(args)
    check = try_commands(ticks=args.ticks)
    tick = gate_tick_us()
    page, note = (None, "the page was left out (--no-page)") if args.no_page else page_p95()
    return {
        "jitter_p99_ms": round(loop["jitter_p99_ms"], 3),
        "missed": loop["missed"],
        "first_move_periods": round(loop["first_move_periods"], 3),
        "cpu_percent": round(loop["cpu_percent"], 2),
        "page_p95_ms": None if page is None else round(page, 2),
        "rss_growth_mb": round(loop["rss_growth_mb"], 2),
        "limit_violations": check.violations,
        "commands_tried": check.commands,
        "limit_use": dict(zip(("velocity", "acceleration", "jerk"), check.worst, strict=True)),
        "gate_tick_us": tick,
        "loop": loop,
        "machine": about,
        "notes": [note] if note else [],
    }


def _loop(args: argparse.Namespace) -> dict[str, Any]:
    """Figures of the loop in its own process, beside a busy core."""
    busy = None if args.no_busy else subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        command = [sys.executable, "-m", "emo_face.bench.probes.face_loop_run"]
        command += ["--seconds", str(args.seconds), "--trials", str(args.trials)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        if busy is not None:
            busy.kill()
            busy.wait()
    if done.returncode:
        raise UserError(f"the loop's process failed:\n{done.stderr.strip()[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def gate_tick_us(actuators: int = 32, ticks: int = 3000) -> dict[str, float]:
    """Microseconds of processor time that one tick of the gate takes, moving."""
    rng = np.random.default_rng(0)
    limits = ActuatorLimits.of(
        [f"a{i}" for i in range(actuators)], lower=-1, upper=1, velocity=5, acceleration=60, jerk=1500
    )
    gate = SafetyGate(limits, period=0.01)
    gate.enable(np.zeros(actuators), 0.0)
    spent = np.zeros(ticks)
    target = np.zeros(actuators)
    for k in range(ticks):
        now = 0.01 * (k + 1)
        if not k % 10:
            target = rng.uniform(-1, 1, actuators)
        gate.command(target, now, now, smooth=True)
        begin = time.perf_counter()
        gate.tick(now)
        spent[k] = time.perf_counter() - begin
    p50, p95 = (float(1e6 * p) for p in np.percentile(spent[100:], (50, 95)))
    return {"p50": round(p50, 1), "p95": round(p95, 1)}
