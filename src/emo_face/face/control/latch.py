"""What of an emergency stop outlives the process: a small file for each face driver and rig.

``$XDG_STATE_HOME/emo_face/stops`` (``~/.local/state/emo_face/stops``) holds one JSON file for each pair of node name
and rig file: whether a stop is latched, and whether motors were being driven when it was last written. A process that
was killed leaves the second one true.
"""

import json
import os
import tempfile
import threading
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from emo_face.runtime.files import sync

VERSION = 1


@dataclass(frozen=True, slots=True)
class Memory:
    """What was last written.

    Attributes:
        stopped: an emergency stop was latched. driving: motors were being driven and nobody said that it ended well.
        problem: why the file could not be read or written, or empty.
    """

    stopped: bool = False
    driving: bool = False
    problem: str = ""


def state_file(node: str, rig: Path) -> Path:
    """Where the memory of ``node`` (fully qualified name) with ``rig`` is."""
    base = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):
        try:
            base = str(Path.home() / ".local" / "state")
        except RuntimeError:  # no HOME, no such user
            base = tempfile.gettempdir()
    name = node.strip("/").replace("/", ".") or "face_driver"
    return Path(base) / "emo_face" / "stops" / f"{name}-{zlib.crc32(os.fsencode(rig.resolve())):08x}.json"


class Latch:
    """Reads once, then writes every change at once, as a whole, and so that a power loss does not undo it.

    A file that cannot be read counts as motors that were being driven: they start disabled.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._changing, self._writing = threading.Lock(), threading.Lock()
        self.memory = self._read()
        self._written = None if self.memory.problem else self.memory

    def _read(self) -> Memory:
        try:
            noted = json.loads(self.path.read_text(encoding="utf-8"))
            if noted["version"] != VERSION:
                raise ValueError(f"version {noted['version']!r}, expected {VERSION}")
            if not (isinstance(noted["stopped"], bool) and isinstance(noted["driving"], bool)):
                raise ValueError("stopped and driving must be true or false")
            return Memory(noted["stopped"], noted["driving"])
        except FileNotFoundError:
            return Memory()
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            return Memory(
                driving=True, problem=f"{self.path} cannot be read ({error}): motors start disabled; delete it"
            )

    def note(self, *, stopped: bool | None = None, driving: bool | None = None) -> None:
        """Remember; what is None stays. Never raises: a stop must not fail for a full disk (see ``memory.problem``)."""
        self._change(stopped, driving)
        self._write()

    def noting(self, *, stopped: bool | None = None, driving: bool | None = None) -> threading.Thread:
        """As :meth:`note`, for those who cannot wait for a disk: it is remembered, and a thread writes it."""
        self._change(stopped, driving)
        thread = threading.Thread(target=self._write, name="latch", daemon=True)
        thread.start()
        return thread

    def _change(self, stopped: bool | None, driving: bool | None) -> None:
        with self._changing:
            old = self.memory
            self.memory = Memory(
                old.stopped if stopped is None else stopped, old.driving if driving is None else driving, old.problem
            )

    def _write(self) -> None:
        """Write what is remembered now: of two that were slow, the later one is not undone by the earlier."""
        with self._writing:
            wanted = replace(self.memory, problem="")
            if wanted == self._written:
                return
            scratch, problem = self.path.with_name(self.path.name + ".new"), ""
            self._written = None  # until all of it succeeded, nobody knows what the disk holds
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                content = {"version": VERSION, "stopped": wanted.stopped, "driving": wanted.driving}
                scratch.write_text(json.dumps(content), encoding="utf-8")
                sync(scratch)
                scratch.replace(self.path)
                sync(self.path.parent)
                self._written = wanted
            except OSError as error:
                problem = f"a stop would not outlive this process: {self.path}: {error.strerror}; set XDG_STATE_HOME"
            with self._changing:
                self.memory = replace(self.memory, problem=problem)
