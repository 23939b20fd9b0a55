"""A verb, or a verb of a verb, from a module that documents itself by its docstring."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from emo_face.core.arguments import Option, arguments, option

Action = tuple[Callable[..., int], str, Sequence[Option]]
"""What to call, its help, its arguments."""


def summary(documentation: str | None) -> str:
    """The first line of a docstring, without its full stop."""
    return (documentation or "").strip().split("\n")[0].rstrip(".")


def add_verb(parsers: Any, name: str, module: ModuleType, line: str = "") -> argparse.ArgumentParser:
    """Add ``name`` to what ``add_subparsers()`` gave, with the module's own arguments; ``line``: another help."""
    verb: argparse.ArgumentParser = parsers.add_parser(
        name,
        help=line or summary(module.__doc__),
        description=(module.__doc__ or "").strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(verb)
    return verb


JSON = option("--json", action="store_true", help="print only JSON")
SEED = option("--seed", type=int, default=0)


def add_actions(parser: argparse.ArgumentParser, actions: Mapping[str, Action], metavar: str = "ACTION") -> None:
    """A verb of the verb for each of ``actions``; the one that was asked for is ``args.act``, its name ``action``."""
    parsers = parser.add_subparsers(dest="action", metavar=metavar, required=True)
    for name, (act, text, options) in actions.items():
        action = parsers.add_parser(name, help=text)
        action.set_defaults(act=act)
        arguments(*options)(action)
