"""The loop of the face driver with and without visitors: half of them on its page, half on the dashboard beside it.

The face driver with a simulated head of four servos and the dashboard are processes as `emo-face up` starts them, the
visitors another one. Stretches without and with visitors take turns, so that what else the machine does meets both.

keys: alone, visited {jitter_p50_ms jitter_p99_ms missed}: medians of what the face driver says on /diagnostics, and
deadlines missed in all stretches; visitors, rounds, seconds, machine.
"""

import argparse
import contextlib
import json
import statistics
import sys
import time
import urllib.request
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray

from emo_face.bench.graph import alone
from emo_face.bench.probes.child import child
from emo_face.bench.probes.machine import machine
from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError

PAGE, DASHBOARD = 18765, 18766
PATIENCE = 120.0  # s to start
WORDS = ("rig=minimal_4servo", "rig_driver=mock", "diagnostics.period=0.5", f"screen.port={PAGE}")


add_arguments = arguments(
    option("--visitors", type=int, default=10, help="pages that are open (default 10)"),
    option("--seconds", type=float, default=10.0, help="seconds per measurement (default 10)"),
    option("--rounds", type=int, default=3, help="measurements with and without pages (default 3)"),
    option("--domain", type=int, help="ROS domain of the run (default: one that is probably free)"),
)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run both in turn; see the module's docstring for the keys. Raises UserError if the pages are not reached."""
    if min(args.visitors, args.rounds, args.seconds) < 1:
        raise UserError("--visitors, --seconds and --rounds: expected at least 1")
    about = machine()
    alone(args.domain)
    settings = [word for setting in WORDS for word in ("--set", f"face_driver.{setting}")]
    command = [sys.executable, "-m", "emo_face.cli.main", "up", "--only", "face_driver", *settings]
    rclpy.init()
    node, told = rclpy.create_node("bench_visitors"), list[dict[str, str]]()
    node.create_subscription(DiagnosticArray, "/diagnostics", lambda msg: told.extend(_loops(msg)), 50)
    found: dict[str, list[tuple[float, float, int]]] = {"alone": [], "visited": []}
    try:
        with child([*command, "--dashboard", str(DASHBOARD)]):
            _until(lambda: _heard(node, told))
            for _ in range(args.rounds):
                found["alone"].append(_stretch(node, told, args.seconds))
                with child([sys.executable, "-c", CROWD, str(args.visitors)]):
                    _until(lambda: _clients() >= args.visitors)
                    found["visited"].append(_stretch(node, told, args.seconds))
    finally:
        node.destroy_node()
        rclpy.shutdown()
    sizes = {"visitors": args.visitors, "rounds": args.rounds, "seconds": args.seconds}
    return {**{name: _medians(rows) for name, rows in found.items()}, **sizes, "machine": about}


CROWD = f"""
import asyncio, sys, aiohttp
async def visit(session, port):
    async with session.ws_connect(f"http://127.0.0.1:{{port}}/ws") as page:
        async for _ in page: pass
async def visit_all(count):
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(visit(session, ({PAGE}, {DASHBOARD})[n % 2]) for n in range(count)))
try: asyncio.run(visit_all(int(sys.argv[1])))
except KeyboardInterrupt: pass
"""


def _loops(msg: Any) -> list[dict[str, str]]:
    """What the face driver says of its loop while it is active."""
    found = [{pair.key: pair.value for pair in status.values} for status in msg.status]
    return [values for values in found if values.get("state") == "active" and "loop.jitter_p99_ms" in values]


def _clients() -> int:
    """Pages that are open at both servers."""
    total = 0
    for port in (PAGE, DASHBOARD):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            total += json.load(answer)["clients"]
    return total


def _heard(node: Any, told: list[dict[str, str]]) -> bool:
    rclpy.spin_once(node, timeout_sec=0.1)
    return bool(told)


def _until(done: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):  # a page that does not answer yet
            if done():
                return
        time.sleep(0.1)
    raise UserError(f"face driver, dashboard and visitors were not there within {PATIENCE:.0f} s")


def _stretch(node: Any, told: list[dict[str, str]], seconds: float) -> tuple[float, float, int]:
    """Median p50 and p99 in ms over ``seconds``, and the deadlines missed meanwhile."""
    told.clear()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.1)
    _until(lambda: _heard(node, told))
    p50, p99 = (statistics.median(float(row[f"loop.jitter_{p}_ms"]) for row in told) for p in ("p50", "p99"))
    return p50, p99, int(told[-1]["loop.missed"]) - int(told[0]["loop.missed"])


def _medians(rows: list[tuple[float, float, int]]) -> dict[str, float]:
    p50, p99 = (round(statistics.median(column), 3) for column in list(zip(*rows, strict=True))[:2])
    return {"jitter_p50_ms": p50, "jitter_p99_ms": p99, "missed": sum(row[2] for row in rows)}
