"""Command-line arguments as values: declared once, added to any parser, shared by several."""

import argparse
from collections.abc import Callable
from typing import Any

Option = Callable[[argparse.ArgumentParser], object]
"""Whatever adds its arguments to a parser."""


def option(*names: str, **settings: Any) -> Option:
    """One argument, as of ``ArgumentParser.add_argument``."""
    return lambda parser: parser.add_argument(*names, **settings)


def arguments(*options: Option) -> Option:
    """Several, in order."""

    def add(parser: argparse.ArgumentParser) -> None:
        for each in options:
            each(parser)

    return add


def one_of(*options: Option) -> Option:
    """Several, of which exactly one must be given."""

    def add(parser: argparse.ArgumentParser) -> None:
        arguments(*options)(parser.add_mutually_exclusive_group(required=True))  # type: ignore[arg-type]

    return add
