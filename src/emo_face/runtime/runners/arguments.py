"""The flags of every verb that cuts its work into shards."""

import argparse
from pathlib import Path

from emo_face.runtime.runners import RUNNERS, Runner, runner


def add_arguments(parser: argparse.ArgumentParser, workers: str = "--workers") -> None:
    """``--runner``, ``--workers`` (or another name), ``--shards``."""
    parser.add_argument(
        "--runner", choices=RUNNERS, default="local", help="who works (default: processes on this machine)"
    )
    parser.add_argument(workers, type=int, default=1, help="processes or cluster jobs (default 1)")
    parser.add_argument("--shards", type=int, default=32, help="files that the work is cut into (default 32)")


def chosen(args: argparse.Namespace, folder: Path) -> Runner:
    """The runner that the flags name. Raises UserError if its package is missing."""
    count = args.processes if hasattr(args, "processes") else args.workers
    return runner(args.runner, count, folder)
