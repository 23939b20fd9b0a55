"""Write files so that a full disk or a kill leaves the old state whole, and says what is needed."""

from __future__ import annotations

import csv
import errno
import fcntl
import glob
import io
import json
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emo_face.core.errors import UserError


@contextmanager
def replacing(path: Path, need: int = 0) -> Iterator[Path]:
    """Yield a scratch path beside ``path`` (a file, or a folder to be made) and move it there when all went well.

    Of several who write the same, each has its own, and the last one wins.

    Args:
        need: bytes that will be written, checked before and named in the error.

    Raises:
        UserError: the disk is full, or a file shall be written where a folder or a device is; nothing is left behind
            and ``path`` is as it was.
    """
    if path.parent == Path("/dev") or (path.exists() and not (path.is_file() or path.is_dir())):
        # root would put a file in the place of /dev/null
        raise UserError(f"{path}: is a device or a pipe; give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if need > free:
        raise UserError(f"{path}: needs {_size(need)}, the disk has {_size(free)} free; free space and rerun")
    scratch = _scratch(path)
    try:
        yield scratch
        if path.is_dir():
            if not scratch.is_dir():
                raise UserError(f"{path}: is a folder; give the name of a file to write")
            _remove(path)
        scratch.replace(path)
    except Exception as error:
        if not is_full(error):
            raise
        raise UserError(f"{path}: the disk is full; free space and rerun, finished parts are kept") from None
    finally:
        _remove(scratch)


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write NumPy arrays by name (``.npz``), whole or not at all. Raises UserError as :func:`replacing`."""
    import numpy as np

    with replacing(path) as scratch, scratch.open("wb") as file:
        np.savez(file, **arrays)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk: a power loss after this keeps them."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot
            raise
    finally:
        os.close(handle)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone with ``folder`` among the processes that ask; it is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let nobody else into ``folder`` meanwhile. Raises UserError while somebody is."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another run works in this folder; wait for it, or name another one") from None
        except OSError:  # a file system without locks
            pass
        yield


def read_text(path: Path) -> str:
    """A UTF-8 file, with or without a byte order mark. Raises UserError naming the first byte that is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, from 1. Only a line feed ends one: JSON may hold U+0085 and U+2028 as they are."""
    return ((number, line) for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip())


def table_of(path: Path) -> csv.DictReader[str]:
    """The rows of a csv file with a header. Raises UserError as :func:`read_text` does."""
    return csv.DictReader(io.StringIO(read_text(path)))


def write_text(path: Path, text: str) -> Path:
    """Write a text file, whole or not at all."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, value: Any) -> Path:
    """Write JSON for people to read, whole or not at all."""
    return write_text(path, json.dumps(value, indent=1) + "\n")


def write_json_lines(path: Path, rows: Iterable[Any]) -> int:
    """Write one JSON value per line, whole or not at all; how many."""
    count = 0
    with replacing(path) as scratch, scratch.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def is_full(error: BaseException) -> bool:
    """Whether an error means a full disk or quota; safetensors raises a class of its own with the system's text."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    codes = (errno.ENOSPC, errno.EDQUOT)
    return type(error).__name__ == "SafetensorError" and any(f"os error {code})" in str(error) for code in codes)


def _size(count: int) -> str:
    unit, name = next((u, n) for u, n in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if count >= u or n == "kB")
    return f"{count / unit:,.1f} {name}"


def _scratch(path: Path) -> Path:
    """Beside ``path``, of this thread alone; what processes that are dead left there is removed."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.*-*.part"):
        pid = left.name.removeprefix(path.name)[1:].partition("-")[0]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            _remove(left)
    scratch = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_native_id()}.part")
    _remove(scratch)
    return scratch


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
