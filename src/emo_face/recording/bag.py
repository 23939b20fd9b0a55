"""Write MCAP files that survive: what was recorded until a power loss or a full disk can be read."""

import contextlib
import time
from pathlib import Path
from types import TracebackType

from mcap.writer import CompressionType, Writer

from emo_face.core.errors import UserError
from emo_face.recording.definitions import schema_text, typestore
from emo_face.runtime.files import sync

CHUNK = 64 * 1024  # bytes lost at most when the process is killed, about a picture; the format's unit of reading
SYNC_PERIOD = 2.0  # s lost at most, besides a chunk, when the power fails


class BagWriter:
    """Write serialised messages to one ``.mcap`` file that is readable by `ros2 bag`. Use as a context manager.

    Each chunk goes to the kernel when it is full, and to the disk every two seconds. A file that is there already is
    kept: it gets its own time into its name.

    Attributes:
        error: why recording stopped before its end (a full disk), or an empty text. Later messages are let go.
        kept: new name of the file that was there before, if one was.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.error = path, ""
        self.kept: Path | None = None
        self._store = typestore()
        self._schemas: dict[str, int] = {}
        self._channels: dict[tuple[str, str], int] = {}
        self._synced = time.monotonic()

    def __enter__(self) -> "BagWriter":
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.kept = keep(self.path)
            self._file = open(self.path, "xb")
            self._writer = Writer(self._file, chunk_size=CHUNK, compression=CompressionType.NONE)
            self._writer.start(profile="ros2", library="emo_face")
            sync(self.path.parent)  # the names too: the new one, and the old one that was moved
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror}; name another folder") from None
        return self

    def write(self, topic: str, msgtype: str, stamp_ns: int, data: bytes) -> None:
        """Append one CDR-serialised message of type ``pkg/msg/Name``. Never raises for a disk: see :attr:`error`."""
        if self.error:
            return
        try:
            self._writer.add_message(self._channel(topic, msgtype), stamp_ns, data, stamp_ns)
            self._file.flush()  # a chunk that is full; nothing in between
            now = time.monotonic()
            if now - self._synced > SYNC_PERIOD:
                self._synced = now
                sync(self.path)
        except OSError as error:
            self.error = f"recording stopped: {self.path}: {error.strerror}"

    def _channel(self, topic: str, msgtype: str) -> int:
        if (topic, msgtype) not in self._channels:
            if msgtype not in self._schemas:
                text = schema_text(self._store, msgtype)
                self._schemas[msgtype] = self._writer.register_schema(msgtype, "ros2msg", text.encode())
            self._channels[topic, msgtype] = self._writer.register_channel(topic, "cdr", self._schemas[msgtype])
        return self._channels[topic, msgtype]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self.error:
                self._writer.finish()
                self._file.flush()
                sync(self.path)
        except OSError as full:
            self.error = f"recording stopped: {self.path}: {full.strerror}"
        finally:
            with contextlib.suppress(OSError):
                self._file.close()


def keep(path: Path) -> Path | None:
    """Move a file out of the way of a new one: ``demo.mcap`` to ``demo-20260131-235959.mcap``; None without one."""
    if not path.exists():
        return None
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(path.stat().st_mtime))
    for number in range(1000):
        other = path.with_name(f"{path.stem}-{stamp}{f'-{number}' if number else ''}{path.suffix}")
        if not other.exists():
            path.rename(other)
            return other
    raise UserError(f"{path} is there, and a thousand of its age; name another folder")


def describe(writer: BagWriter) -> list[str]:
    """What a user should know about a recording that has ended; empty when all went well."""
    kept = f"the recording that was there is now {writer.kept}" if writer.kept else ""
    return [text for text in (writer.error, kept) if text]
