#!/usr/bin/env python3
"""Everything that a GPU decides, in one command of at most eight minutes; what is finished is not done again.

  python benchmarks/device.py --device cuda --out device.json          on a GPU
  python benchmarks/device.py --size tiny --out /tmp/device.json       the same steps on a CPU, in a minute

Steps: the nano models on every engine (`emo-face engine bench`), multi-view at 1, 4 and 16 people against the naive
way (benchmarks/multiview.py), ContextFace 7b and 13b, one pass against generation, quote and picture
(benchmarks/contextface.py). Weights are random, of the true shapes, made on the device; each step measures its floor
(bytes over bandwidth, FLOPs over the matrix rate) in its own process. Results go to --out after every step, with date,
device and the step's seconds; a step that the budget cuts off is `unfinished` and is tried again by the next call.
Exit code 1 if a step failed or missed its figure, 3 if one is unfinished.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUDGET = 480.0
LEAST = 5.0
"""Seconds below which no step is begun."""

Step = tuple[str, list[str]]


def steps(size: str, device: str) -> list[Step]:
    """(name, command) of every step, the shortest first."""
    python, here = sys.executable, ROOT / "benchmarks"
    rounds = "200" if device == "cuda" else "5"
    nano = [python, "-m", "emo_face.cli.main", "engine", "bench", "--rounds", rounds, "--json"]
    views = [python, str(here / "multiview.py"), "--device", device, "--json", "--size", size]
    if size == "tiny":
        views += ["--people", "1", "4", "--seconds", "0.05", "--repeats", "1"]
    faces = [python, str(here / "contextface.py"), "--device", device, "--json"]
    models = ("tiny",) if size == "tiny" else ("7b", "13b")
    runs = ["--runs", "2"] if size == "tiny" else []
    named = [(f"contextface {model}", [*faces, "--size", model, *runs]) for model in models]
    return [("nano", nano), ("multiview", views), *named]


def device_name(device: str) -> str:
    """The GPU's or the processor's name, asked in a process of its own so that nothing stays on the GPU."""
    if device != "cuda":
        return "cpu"
    code = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()


def run_step(command: list[str], seconds: float) -> dict[str, Any]:
    """Run one step: ``state`` ok, missed (a figure), failed or unfinished; its result, and what it said."""
    start = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd=ROOT)
    except subprocess.TimeoutExpired:
        return {"state": "unfinished", "seconds": round(time.monotonic() - start, 1)}
    row: dict[str, Any] = {"seconds": round(time.monotonic() - start, 1), "said": done.stderr.strip()[-800:]}
    try:
        row["result"] = json.loads(done.stdout)
    except ValueError:
        return {**row, "state": "failed", "exit_code": done.returncode}
    return {**row, "state": "ok" if done.returncode == 0 else "missed"}


def measure(
    size: str, device: str, name: str, out: Path, budget: float = BUDGET,
    one: Callable[[list[str], float], dict[str, Any]] = run_step, clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:  # fmt: skip
    """Do what is not done yet within ``budget`` seconds; the report, which lies in ``out`` after every step."""
    about = {"size": size, "device": name}
    report = read(out, about)
    begun = clock()
    for step, command in steps(size, device):
        if report["steps"].get(step, {}).get("state") in ("ok", "missed"):
            continue
        left = budget - (clock() - begun)
        row = one(command, left) if left >= LEAST else {"state": "unfinished", "seconds": 0.0}
        report["steps"][step] = {**row, "date": datetime.now(timezone.utc).isoformat(timespec="seconds")}
        scratch = out.with_name(out.name + ".part")
        scratch.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        scratch.replace(out)
    return report


def read(out: Path, about: Mapping[str, str]) -> dict[str, Any]:
    """The report so far; one of another size or device, or a broken one, is begun anew."""
    try:
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        if {key: found[key] for key in about} == dict(about) and isinstance(found["steps"], dict):
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {**about, "steps": {}}


def code(report: Mapping[str, Any]) -> int:
    """Exit code of a report."""
    states = {row["state"] for row in report["steps"].values()}
    return 3 if "unfinished" in states else int(bool(states & {"failed", "missed"}))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("full", "tiny"), default="full")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="", help="default: cuda with full, cpu with tiny")
    parser.add_argument("--out", type=Path, default=Path("device.json"), help="report and memory (default device.json)")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds in all (default 480)")
    parser.add_argument("--json", action="store_true", help="print only JSON")
    args = parser.parse_args()
    device = args.device or ("cuda" if args.size == "full" else "cpu")
    name = device_name(device)
    if not name:
        print("device: no CUDA device that torch sees; not run. `--size tiny` runs the steps on a CPU", file=sys.stderr)
        return 2
    report = measure(args.size, device, name, args.out, args.budget)
    if args.json:
        print(json.dumps(report))
        return code(report)
    print(f"{report['size']} on {report['device']}")
    for step, row in report["steps"].items():
        print(f"  {step:16} {row['state']:10} {row['seconds']:7.1f} s  {row.get('said', '').splitlines()[-1:] or ''}")
    print(f"figures: {args.out}")
    return code(report)


if __name__ == "__main__":
    sys.exit(main())
