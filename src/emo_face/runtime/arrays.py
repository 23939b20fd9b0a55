"""NumPy files from outside: what a file says about its sizes is checked before anything is made of it.

``numpy.load`` allocates what an array's header asks for, and what a zip's directory promises, before it reads.
Objects are never unpickled.
"""

import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

from numpy.lib import format as npy
from numpy.typing import NDArray

from emo_face.core.errors import ModelError

MAX_BYTES = 1 << 30
DAMAGED = (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError)
"""What NumPy raises for a file that is none of its own."""


def read_npz(path: Path, limit: int = MAX_BYTES) -> dict[str, NDArray[Any]]:
    """All arrays of an npz. Raises ModelError: no zip, more than ``limit`` bytes in it, objects, or sizes that lie."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
            total = sum(entry.file_size for entry in entries)
            if total > limit:
                raise ModelError(f"{path}: holds {total} bytes of arrays, expected at most {limit}")
            found = {}
            for entry in entries:
                name = entry.filename[:-4]
                with archive.open(entry) as file:
                    _check(file, entry.file_size, f"{path}: {name}")
                with archive.open(entry) as file:
                    found[name] = npy.read_array(file, allow_pickle=False)
            return found
    except (*DAMAGED, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise ModelError(f"{path} is no npz of plain arrays: {error}") from None


def read_npy(path: Path, limit: int = MAX_BYTES) -> NDArray[Any]:
    """The array of an npy. Raises ModelError as :func:`read_npz` does."""
    try:
        size = path.stat().st_size
        if size > limit:
            raise ModelError(f"{path}: {size} bytes, expected at most {limit}")
        with path.open("rb") as file:
            _check(file, size, str(path))
            file.seek(0)
            array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
            return array
    except DAMAGED as error:
        raise ModelError(f"{path} is no plain array: {error}") from None


def _check(file: IO[bytes], size: int, where: str) -> None:
    """Raise ModelError unless the header's shape and type fill the ``size`` bytes of the file."""
    version = npy.read_magic(file)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ModelError(f"{where}: npy version {version}, expected 1.0 or 2.0; save it again by numpy.save")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise ModelError(f"{where}: holds Python objects, which are never loaded; save plain numbers")
    wanted = math.prod(shape) * dtype.itemsize
    if wanted != size - file.tell():
        raise ModelError(f"{where}: shape {shape} of {dtype} wants {wanted} bytes, the file has {size - file.tell()}")
