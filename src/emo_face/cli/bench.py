"""Measure speed and memory on this machine, compared with peers.

Examples:
  emo-face bench perception --json                 stages of one frame, one and six people, one core
  emo-face bench graph --json                      the whole graph over DDS
  emo-face bench graph --one ONE.jpg --six SIX.jpg --peer-python ~/ultra/bin/python --peer-weights yolo11n.pt

Those of the graph are listed if ROS 2 is here. Close other programs first: the figures are of this machine now.
"""

import argparse
import json
import pkgutil
from importlib import import_module
from types import ModuleType

from emo_face import bench
from emo_face.cli._verb import add_verb


def benchmarks() -> dict[str, ModuleType]:
    """Every module of ``emo_face.bench`` that has ``add_arguments`` and ``measure`` and imports here."""
    found = {}
    for name in sorted(info.name for info in pkgutil.iter_modules(bench.__path__) if not info.ispkg):
        try:
            module = import_module(f"emo_face.bench.{name}")
        except ModuleNotFoundError as absent:
            if absent.name != "rclpy":
                raise
            continue  # it measures the graph
        if hasattr(module, "add_arguments"):
            found[name] = module
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One sub-verb a benchmark, each with ``--json``."""
    targets = parser.add_subparsers(dest="benchmark", metavar="BENCHMARK", required=True)
    for name, module in benchmarks().items():
        sub = add_verb(targets, name, module)
        sub.add_argument("--json", action="store_true", help="print JSON on stdout and nothing else")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    result = benchmarks()[args.benchmark].measure(args)
    print(json.dumps(result, indent=2, allow_nan=False) if args.json else _text(result))
    return 0


def _text(result: dict[str, object], indent: str = "") -> str:
    lines = []
    for key, value in result.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", _text(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {value}")
    return "\n".join(lines)
