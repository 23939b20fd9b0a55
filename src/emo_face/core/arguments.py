"""Command-line arguments as values: declared once, added to any parser, shared by several."""

import argparse
from collections.abc import Callable
from typing import Any

Option = Callable[[Any], object]
"""Whatever adds its arguments to a parser, or to a group of one."""


def option(*names: str, **settings: Any) -> Option:
    """One argument, as of ``ArgumentParser.add_argument``."""
    return lambda parser: parser.add_argument(*names, **settings)


def arguments(*options: Option) -> Option:
    """Several, in order."""

    def add(parser: argparse.ArgumentParser) -> None:
        for each in options:
            each(parser)

    return add


def one_of(*options: Option, required: bool = True) -> Option:
    """Several, of which exactly one must be given, or at most one unless ``required``."""
    return lambda parser: arguments(*options)(parser.add_mutually_exclusive_group(required=required))


def group(title: str, *options: Option) -> Option:
    """Several, under a title of their own in the help."""
    return lambda parser: arguments(*options)(parser.add_argument_group(title))
