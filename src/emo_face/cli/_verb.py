"""A verb, or a verb of a verb, from a module that documents itself by its docstring."""

import argparse
from types import ModuleType
from typing import Any


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
