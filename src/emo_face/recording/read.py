"""Read any rosbag2: SQLite or MCAP, split, compressed, with types of others in it, cut off by a power loss."""

import logging
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from heapq import merge
from pathlib import Path
from typing import Any, BinaryIO

from rosbags.rosbag2 import Reader, ReaderError

from emo_face.core.errors import UserError
from emo_face.recording.definitions import typestore_of
from emo_face.recording.repair import is_whole, repair, ros_part

log = logging.getLogger(__name__)

STORAGE = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
FIXES = {
    ".db3": "; try: sqlite3 {path} .recover | sqlite3 recovered.db3",
    ".bag": "; it is of ROS 1: rosbags-convert --src {path} --dst FOLDER",
}
PIECE = 1 << 20  # bytes that are unpacked at once
Message = tuple[str, int, Any]


def read_bag(path: Path, wanted: Callable[[str, str], bool] = lambda topic, msgtype: True) -> Iterator[Message]:
    """Yield (topic, receive time in ns, message) in the order of time.

    Args:
        path: a rosbag2 folder, with or without its ``metadata.yaml``, or one storage file of it.
        wanted: whether (topic, type) is asked for; the rest is not even looked at.

    Raises:
        UserError: no such file, not a bag, or nothing of it can be read.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist")
    with ExitStack() as stack:
        readers = [stack.enter_context(_open(part, stack)) for part in _parts(path)]
        yield from merge(*(_messages(reader, wanted) for reader in readers), key=lambda message: message[1])


def topics(path: Path) -> dict[str, tuple[str, int]]:
    """Topic -> (type, number of messages) of a bag. Raises UserError as :func:`read_bag`."""
    found: dict[str, tuple[str, int]] = {}
    if not path.exists():
        raise UserError(f"{path} does not exist")
    with ExitStack() as stack:
        for reader in [stack.enter_context(_open(part, stack)) for part in _parts(path)]:
            for one in reader.connections:
                found[one.topic] = (one.msgtype, found.get(one.topic, ("", 0))[1] + one.msgcount)
    return found


def _messages(reader: Any, wanted: Callable[[str, str], bool]) -> Iterator[Message]:
    connections = [c for c in reader.connections if wanted(c.topic, c.msgtype)]
    store, unknown = typestore_of(connections)
    if unknown:
        log.warning("passed by, of types that nobody here knows: %s", ", ".join(sorted(unknown)))
    readable = [c for c in connections if c.msgtype in store.fielddefs]
    if not readable:
        return
    broken = 0
    for connection, stamp, data in _until_damaged(reader, readable):
        try:
            message = store.deserialize_cdr(data, connection.msgtype)
        except Exception:  # rosbags has no one type for a message that does not fit its definition
            broken += 1
            continue
        yield connection.topic, stamp, message
    if broken:
        log.warning("%d messages do not fit their definition and were left out", broken)


def _until_damaged(reader: Any, connections: Any) -> Iterator[tuple[Any, int, bytes]]:
    """Raw messages up to the first that storage cannot give."""
    try:
        yield from reader.messages(connections=connections)
    except Exception as error:  # rosbags, struct, sqlite3 and zstd each have their own
        log.warning("%s is damaged (%s): what follows is left out", reader.path, " ".join(str(error).split()))


def _parts(path: Path) -> Sequence[Path]:
    """What rosbags opens as one: the folder, if it is whole, or its storage files in their order."""
    if path.is_file():
        return [path]
    files = sorted((p for p in path.iterdir() if p.name.endswith(STORAGE)), key=_number)
    files = [p for p in files if not p.name.endswith(".repaired.mcap")]
    if (path / "metadata.yaml").is_file() and all(_ended_well(p) for p in files):
        return [path]
    if not files:
        raise UserError(f"{path} is no rosbag2: it holds neither metadata.yaml nor a .mcap or .db3 file")
    return files


def _ended_well(path: Path) -> bool:
    """Whether its recorder closed a file: an MCAP file has its end, an SQLite one no log of what it still lacks."""
    return is_whole(path) if path.suffix == ".mcap" else not _log_of(path).is_file()


def _log_of(path: Path) -> Path:
    """SQLite, "Write-Ahead Logging": the log is beside the file until that is closed."""
    return path.with_name(f"{path.name}-wal")


def _number(path: Path) -> tuple[int, str]:
    """A recorder numbers the parts of a split bag: name_0, name_1, ..., name_10."""
    digits = re.search(r"_(\d+)\.", path.name)
    return (int(digits.group(1)) if digits else 0, path.name)


def _open(path: Path, stack: ExitStack) -> Reader:
    """A reader for one part, unpacked and repaired if need be. Raises UserError naming the part."""
    try:
        if path.suffix == ".zstd":
            path = _unpacked(path, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        if not path.is_dir() and not _ended_well(path):
            mend = repair if path.suffix == ".mcap" else _with_log
            path = mend(path, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        return _tried(path, stack)
    except UserError:
        raise
    except Exception as error:  # rosbags lets errors of yaml, struct, zstd, sqlite3 and its own through
        why = f"{path} is not a readable rosbag2 file: {' '.join(str(error).split())}"
        raise UserError(why + FIXES.get(path.suffix, "").format(path=path)) from error


def _tried(path: Path, stack: ExitStack) -> Reader:
    """A reader whose index was read once; of an MCAP file with messages of other systems beside, for those of ROS."""
    reader = Reader(path)
    try:
        reader.open()
    except (KeyError, UnicodeDecodeError, ReaderError):  # a schema of another encoding, no profile
        if path.suffix != ".mcap":
            raise
        reader = Reader(ros_part(path, Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        reader.open()
    reader.close()
    return reader


def _unpacked(path: Path, folder: Path) -> Path:
    """The storage file in a ``.zstd`` of `ros2 bag record --compression-mode file`; half of the free space at most."""
    import zstandard

    with path.open("rb") as packed:
        return _copied(zstandard.ZstdDecompressor().stream_reader(packed), path, folder / path.stem)


def _with_log(path: Path, folder: Path) -> Path:
    """A copy of an SQLite file whose recorder was killed, with what its log holds; half of the free space at most."""
    target = folder / path.name
    for part, copy in ((path, target), (_log_of(path), _log_of(target))):
        with part.open("rb") as plain:
            _copied(plain, part, copy)
    with closing(sqlite3.connect(target)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    log.warning("%s was not closed by its recorder: its log is read too", path)
    return target


def _copied(stream: BinaryIO, path: Path, target: Path) -> Path:
    room = shutil.disk_usage(target.parent).free // 2
    with target.open("wb") as plain:
        while piece := stream.read(PIECE):
            room -= len(piece)
            if room < 0:
                raise UserError(f"{path} needs more than half of what is free in {target.parent}; set TMPDIR")
            plain.write(piece)
    return target
