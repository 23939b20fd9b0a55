"""A program that runs beside a benchmark: what it printed, which nodes run below it, and how it is ended."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from emo_face.bench.probes.machine import command_of, descendants

MODULE = "emo_face.nodes."


@dataclass(frozen=True, slots=True)
class Child:
    """A running program and the file that it prints to."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        """All that it has printed."""
        return self.log.read_text(errors="replace")

    def tail(self, size: int = 1500) -> str:
        """The last of it."""
        return self.said()[-size:]

    def nodes(self) -> dict[str, int]:
        """Node name -> process id, of the nodes below ``emo-face up``."""
        words = {pid: command_of(pid).split() for pid in descendants(self.pid)}
        return {w.removeprefix(MODULE): pid for pid, ws in words.items() for w in ws if w.startswith(MODULE)}

    def wait(self, text: str, times: int = 1, seconds: float = 120.0) -> float | None:
        """Seconds until ``text`` was printed so many times, or None."""
        start = time.monotonic()
        while time.monotonic() - start < seconds and self.process.poll() is None:
            if self.said().count(text) >= times:
                return time.monotonic() - start
            time.sleep(0.02)
        return None


@contextlib.contextmanager
def child(
    command: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Iterator[Child]:
    """Run a program that prints to a file below ``folder``; at the end it is interrupted, after 30 s more killed."""
    with TemporaryDirectory(dir=folder) as own:
        log = Path(own) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield Child(process, log)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
