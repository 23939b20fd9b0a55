"""One child process: started in its own session, ended politely, never left behind."""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, MutableMapping, Sequence
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

    def __init__(
        self,
        command: Sequence[str],
        log: IO[bytes] | None = None,
        environment: Mapping[str, str] | None = None,
        inherit: Sequence[int] = (),
    ) -> None:
        """``log``: where its stdout and stderr go; None: to ours. ``environment``: added to ours.

        ``inherit``: descriptors that stay open in the child, under their numbers.
        """
        self.command = list(command)
        self._process = subprocess.Popen(
            self.command,
            stdout=log,
            stderr=None if log is None else subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            pass_fds=inherit,
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
        """Largest resident set so far in MB; 0 if the kernel does not tell."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return 0.0
        return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0.0)

    def cpu_seconds(self) -> float:
        """Processor time used so far, all threads; 0 if the kernel does not tell."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1]
        except OSError:
            return 0.0
        return sum(map(int, fields.split()[11:13])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End it at once, also while it is stopped (SIGKILL)."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def ask_to_end(self) -> None:
        """Send SIGTERM, on which our nodes shut down cleanly; SIGINT makes a Python that still starts a traceback."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def end(self, patience: float = 5.0) -> int:
        """Wait ``patience`` seconds for the exit, then SIGTERM, then SIGKILL; returns the exit code."""
        for step in (self._process.terminate, self._process.kill):
            try:
                return self._process.wait(timeout=patience)
            except subprocess.TimeoutExpired:
                step()
                patience = 2.0
        return self._process.wait()


PARENT = "EMO_FACE_PARENT"


class Parent:
    """The process whose end is to be ours too: what ``EMO_FACE_PARENT`` names by its id, or nobody.

    A launch file sets the variable, since `ros2 launch` leaves its processes behind when it is killed itself. Under
    systemd, nohup or Docker nobody sets it.
    """

    def __init__(self, pid: int | None) -> None:
        self.pid = pid
        self._handle: int | None = None
        if pid is not None and hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._handle = os.pidfd_open(pid)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> "Parent":
        """Takes the variable out: it is not meant for children of this process."""
        text = environment.pop(PARENT, "")
        return cls(int(text) or None if text.isdecimal() else None)

    def gone(self) -> bool:
        """Whether it has ended; never True for nobody."""
        if self.pid is None:
            return False
        if self._handle is not None:
            return bool(select.select([self._handle], [], [], 0)[0])
        try:
            os.kill(self.pid, 0)
        except OSError as error:  # PermissionError: it is there, and somebody else's
            return isinstance(error, ProcessLookupError)
        return False
