"""Entry point of ``emo-face``: finds the verbs, parses, runs one."""

import argparse
import errno
import importlib
import math
import os
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType

import emo_face
from emo_face import cli
from emo_face.cli._verb import add_verb, summary

OUTSIDE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Faults of a disk, which no program can mend; they may come without a file name."""
EPILOG = "`emo-face VERB --help` shows examples. To begin: `emo-face doctor`, then `emo-face demo` or `emo-face up`."


def verbs() -> list[str]:
    """Names of all verbs: one for every module of ``emo_face.cli`` but this one and those that begin with ``_``."""
    names = (info.name for info in pkgutil.iter_modules(cli.__path__))
    return [name.replace("_", "-") for name in names if name != "main" and not name.startswith("_")]


def load(verb: str) -> ModuleType:
    """The module of ``verb``; it has ``add_arguments(parser)`` and ``run(args) -> int``."""
    return importlib.import_module(f"emo_face.cli.{verb.replace('-', '_')}")


def build_parser(names: Iterable[str]) -> argparse.ArgumentParser:
    """The command line with the verbs ``names``; each verb's module documents itself by its docstring."""
    parser = argparse.ArgumentParser(prog="emo-face", description=summary(emo_face), epilog=EPILOG)
    parser.add_argument("--version", action="version", version=emo_face.__version__)
    commands = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in names:
        module = load(name)
        add_verb(commands, name, module).set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. A user's mistake is one line and exit code 2, not a traceback."""
    from emo_face.core.errors import UserError

    words = list(sys.argv[1:] if argv is None else argv)
    known = verbs()
    # Only the verb that was asked for is imported: the others may need extras, and start-up time counts.
    try:
        args = build_parser(words[:1] if words[:1] and words[0] in known else known).parse_args(words)
        for name, value in vars(args).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"--{name.replace('_', '-')}: expected a finite number, got {value}")
        return int(args.run(args) or 0)
    except UserError as error:
        print(f"emo-face {words[0]}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `emo-face ... | head`: who read has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return 141
    except OSError as error:
        if error.filename is None and error.errno not in OUTSIDE:
            raise
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"emo-face {words[0]}: {where}{error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
