"""Whether the stop tells the truth, how soon, and whether the gate holds at the real times of its ticks.

Heads run on emulated Feetech and Dynamixel buses (written from the makers' register maps, on pseudo-terminals) in real
time; stops are pressed on a healthy bus, with one silent servo, and on buses in every kind of trouble. Then a million
ticks with hostile clocks and commands go through the gates of three rigs and of random ones, and nonsense through
everything that the face driver reads.

Keys: estop_ms {healthy, one_silent: {p50, p99}} over both buses, stops_tried, stops_that_lied, lies, real_time_ticks,
limit_violations, limit_use, bad_inputs_tried, crashes, crashed, machine; with --graph also what
emo_face.bench.probes.survival measures.
"""

import argparse
from typing import Any

import numpy as np

from emo_face.bench.probes import survival
from emo_face.bench.probes.bad_inputs import try_bad_inputs
from emo_face.bench.probes.machine import machine
from emo_face.bench.probes.real_time_gate import try_clocks
from emo_face.bench.probes.stops import BUSES, times, try_stops
from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError

add_arguments = arguments(
    option("--stops", type=int, default=200, help="stops on buses in trouble (default 200)"),
    option("--timed", type=int, default=50, help="timed stops for each bus and state (default 50)"),
    option("--ticks", type=int, default=1_000_000, help="ticks of the gate (default 1000000)"),
    option("--inputs", type=int, default=30_000, help="bad inputs (default 30000)"),
    option("--graph", action="store_true", help="also start whole graphs and kill or stop their nodes"),
    option("--bringups", type=int, default=50, help="number of bring-ups with --graph (default 50)"),
    option("--loops", type=int, help="busy loops beside the bring-ups (default: two for each core)"),
)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run all parts."""
    if min(args.stops, args.timed, args.ticks, args.inputs) < 2:
        raise UserError("--stops, --timed, --ticks and --inputs: expected at least 2")
    about = machine()
    taken = {
        name: {kind: times(kind, args.timed, silent) for kind in BUSES}
        for name, silent in (("healthy", False), ("one_silent", True))
    }
    tried, lies = try_stops(args.stops)
    seen = try_clocks(args.ticks)
    inputs, crashed = try_bad_inputs(args.inputs)
    return {
        "estop_ms": {
            name: {
                **_percentiles([t for each in of.values() for t in each]),
                **{k: _percentiles(v) for k, v in of.items()},
            }
            for name, of in taken.items()
        },
        "stops_tried": tried,
        "stops_that_lied": len(lies),
        "lies": lies,
        "real_time_ticks": seen.ticks,
        "limit_violations": seen.violations,
        "limit_use": {name: round(share, 9) for name, share in seen.worst.items()},
        "bad_inputs_tried": inputs,
        "crashes": len(crashed),
        "crashed": crashed[:20],
        **(survival.figures(bringups=args.bringups, loops=args.loops) if args.graph else {}),
        "machine": about,
    }


def _percentiles(milliseconds: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(milliseconds, q)), 2) for q in (50, 99)}
