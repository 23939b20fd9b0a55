"""Entry point of ``emo-face``: finds the verbs, parses, runs one."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

import emo_face
from emo_face import cli


def verbs() -> dict[str, ModuleType]:
    """Every module ``emo_face.cli.<verb>`` that has ``add_arguments`` and ``run``, by verb name."""
    found = {}
    for info in pkgutil.iter_modules(cli.__path__):
        if info.name == "main" or info.name.startswith("_"):
            continue
        module = importlib.import_module(f"emo_face.cli.{info.name}")
        found[info.name.replace("_", "-")] = module
    return found


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; each verb module documents itself by its docstring."""
    parser = argparse.ArgumentParser(prog="emo-face", description=emo_face.__doc__)
    parser.add_argument("--version", action="version", version=emo_face.__version__)
    commands = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, module in verbs().items():
        text = (module.__doc__ or "").strip()
        sub = commands.add_parser(
            name, help=text.split("\n")[0].rstrip("."), description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. A user's mistake (FileNotFoundError, ValueError, ...) is one line and exit code 2, not a traceback."""
    from emo_face.core.errors import UserError

    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args) or 0)
    except UserError as error:
        print(f"emo-face {args.verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
