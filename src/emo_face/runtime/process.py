"""One child process: started in its own session, ended politely, never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Ask Linux to end this child when its parent dies, even by SIGKILL, so that no node outlives its supervisor."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """A running child process.

    The child gets its own session, so that Ctrl-C in a terminal reaches only the supervisor, which then
    ends every child once and in order.
    """

    def __init__(self, command: Sequence[str], log: IO[bytes] | None = None) -> None:
        """``log``: where its stdout and stderr go; None: to ours."""
        self.command = list(command)
        self._process = subprocess.Popen(
            self.command,
            stdout=log,
            stderr=None if log is None else subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        """Exit code, negative for a signal, or None while it runs."""
        return self._process.poll()

    def peak_rss_mb(self) -> float:
        """Largest resident set so far in MB; 0 where the kernel does not tell."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return 0.0
        return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0.0)

    def interrupt(self) -> None:
        """Send SIGINT, the signal on which a ROS node shuts down cleanly."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)

    def end(self, patience: float = 5.0) -> int:
        """Wait ``patience`` seconds for the exit, then SIGTERM, then SIGKILL; returns the exit code."""
        for step in (self._process.terminate, self._process.kill):
            try:
                return self._process.wait(timeout=patience)
            except subprocess.TimeoutExpired:
                step()
                patience = 2.0
        return self._process.wait()
