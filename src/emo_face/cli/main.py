"""Entry point of ``emo-face``: finds the verbs, parses, runs one."""

import argparse
import ast
import errno
import importlib
import io
import math
import os
import pkgutil
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import emo_face
from emo_face import cli
from emo_face.cli._verb import add_verb, summary
from emo_face.core.errors import UserError
from emo_face.core.install import how_to_get

OUTSIDE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Disk errors, which no program can fix; they may come without a file name."""
EPILOG = "`emo-face VERB --help` shows examples. To begin: `emo-face doctor`, then `emo-face demo` or `emo-face up`."


class Parser(argparse.ArgumentParser):
    """Shows the whole help if a verb is missing: which there are is what its user wants to know."""

    def error(self, message: str) -> NoReturn:
        if self._subparsers is not None and "are required" in message:
            self.print_help(sys.stderr)
            self.exit(2)
        super().error(message)


def verbs() -> list[str]:
    """Names of all verbs: one for every module of ``emo_face.cli`` but this one and those that begin with ``_``."""
    names = (info.name for info in pkgutil.iter_modules(cli.__path__))
    return [name.replace("_", "-") for name in names if name != "main" and not name.startswith("_")]


def load(verb: str) -> ModuleType:
    """The module of ``verb``; it has ``add_arguments(parser)`` and ``run(args) -> int``."""
    return importlib.import_module(f"emo_face.cli.{verb.replace('-', '_')}")


def documented(verb: str) -> str | None:
    """The docstring of the verb's module, which is not imported: some need extras, and start-up time counts."""
    source = Path(cli.__path__[0], f"{verb.replace('-', '_')}.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(source))


def build_parser(names: Collection[str]) -> argparse.ArgumentParser:
    """The command line with the verbs ``names``, or with none the list of all, for which no verb is imported."""
    parser = Parser(prog="emo-face", description=summary(emo_face.__doc__), epilog=EPILOG)
    parser.add_argument("--version", action="version", version=emo_face.__version__)
    commands = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in names:
        module = load(name)
        add_verb(commands, name, module).set_defaults(run=module.run)
    if not names:
        for name in verbs():
            commands.add_parser(name, help=summary(documented(name)))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. A user's mistake is one line and exit code 2, not a traceback."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):  # a path or a text may hold what the terminal's encoding does not
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # its warnings about a missing camera; ours is one line
    try:
        args = build_parser([word for word in words[:1] if word in verbs()]).parse_args(words)
        for name, value in vars(args).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"--{name.replace('_', '-')}: expected a finite number, got {value}")
            if name == "seed" and isinstance(value, int) and value < 0:
                raise UserError(f"--seed: expected 0 or more, got {value}")
        return int(args.run(args) or 0)
    except UserError as error:
        print(f"emo-face {words[0]}: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == emo_face.__name__:
            raise
        print(f"emo-face {words[0]}: needs {error.name}, not installed here: {how_to_get(error.name)}", file=sys.stderr)
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
