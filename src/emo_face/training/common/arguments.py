"""Command-line arguments that several trainings share; no torch."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any


def add_common(parser: argparse.ArgumentParser, data: str) -> None:
    """``--data`` (described by ``data``), ``--out``, ``--seed`` and ``--threads``."""
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help=data)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for all that is written")
    parser.add_argument("--seed", type=int, default=0, help="training seed (default 0); the data splits do not move")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")


def add_fields(parser: Any, kind: Any, without: tuple[str, ...] = ()) -> None:
    """One flag per field of a config dataclass, with its default; booleans get a ``--no-`` form."""
    for field in dataclasses.fields(kind):
        if field.name in without:
            continue
        flag, default = "--" + field.name.replace("_", "-"), field.default
        if isinstance(default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=default)
        else:
            parser.add_argument(flag, type=type(default), default=default, help=f"default {default!r}")


def config_of(kind: Any, args: argparse.Namespace, **given: Any) -> Any:
    """The dataclass ``kind`` from parsed flags; ``given`` fields are taken as they are."""
    names = {field.name for field in dataclasses.fields(kind)} - set(given)
    return kind(**{name: getattr(args, name) for name in names if hasattr(args, name)}, **given)
