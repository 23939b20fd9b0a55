"""Ctrl-C while a program is still importing: no traceback."""

import sys
from types import TracebackType


def quiet() -> None:
    """Let a KeyboardInterrupt that nobody catches end the program without a traceback; the exit code stays SIGINT's."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = hook


def quiet_as_program(suffix: str) -> None:
    """The same if the running program is ours: ``python -m ...`` or an executable whose name ends in ``suffix``."""
    if sys.argv[:1] == ["-m"] or sys.argv[0].endswith(suffix):
        quiet()
