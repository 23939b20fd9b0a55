"""Write large files so that a full disk or a kill leaves the old state whole, and says what is needed."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emo_face.core.errors import UserError


@contextmanager
def replacing(path: Path, need: int = 0) -> Iterator[Path]:
    """Yield a scratch path beside ``path`` (a file, or a folder to be made) and move it there when all went well.

    Args:
        need: bytes that will be written, checked before and named in the error.

    Raises:
        UserError: the disk is full; nothing is left behind and ``path`` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if need > free:
        raise UserError(
            f"{path}: needs {need / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB free; free space and rerun"
        )
    scratch = path.with_name(path.name + ".part")
    _remove(scratch)
    try:
        yield scratch
        if path.is_dir():
            _remove(path)
        scratch.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"{path}: the disk is full; free space and rerun, finished parts are kept") from None
    finally:
        _remove(scratch)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
