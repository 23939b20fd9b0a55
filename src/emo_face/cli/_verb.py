"""A verb or sub-verb, from a module whose docstring is its help."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
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


def actions(table: Mapping[str, Action], metavar: str = "ACTION") -> Option:
    """A verb of the verb for each row of ``table``; the one that was asked for is ``args.act``, its name ``action``."""

    def add(parser: argparse.ArgumentParser) -> None:
        parsers = parser.add_subparsers(dest="action", metavar=metavar, required=True)
        for name, (act, text, options) in table.items():
            action = parsers.add_parser(name, help=text)
            action.set_defaults(act=act)
            arguments(*options)(action)

    return add


def printed(pieces: Iterable[str], quiet: bool) -> str:
    """Words as they are generated, printed piece by piece unless ``quiet``; all of them together."""
    said = []
    for piece in pieces:
        said.append(piece)
        if not quiet:
            print(piece, end="", flush=True)
    if not quiet:
        print()
    return "".join(said).strip()
