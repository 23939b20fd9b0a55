"""Which shared libraries a file needs and this machine lacks: what a provider that silently falls back does not say."""

import ctypes
import struct
from pathlib import Path

_DYNAMIC, _LOAD = 2, 1  # program header types
_NEEDED, _STRTAB = 1, 5  # dynamic section tags
_ABSENT = "cannot open shared object file"  # the loader's words, ld.so(8)


def needed(path: Path) -> list[str]:
    """Names of the libraries that a 64-bit little-endian ELF file links (``DT_NEEDED``); empty for any other file.

    Source of the layout: System V ABI, "Program Header" and "Dynamic Section".
    """
    data = path.read_bytes() if path.is_file() else b""
    if data[:6] != b"\x7fELF\x02\x01":
        return []
    offset, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    headers = [struct.unpack_from("<IIQQQQ", data, offset + i * size) for i in range(count)]
    loads = [(address, where, length) for kind, _, where, address, _, length in headers if kind == _LOAD]
    tags: list[tuple[int, int]] = []
    for kind, _, where, _, _, length in headers:
        if kind == _DYNAMIC:
            tags = [struct.unpack_from("<QQ", data, where + i) for i in range(0, length, 16)]
    table = next((value for tag, value in tags if tag == _STRTAB), 0)
    start = next((where + table - address for address, where, length in loads if 0 <= table - address < length), 0)
    return [_text(data, start + value) for tag, value in tags if tag == _NEEDED] if start else []


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode(errors="replace")


def missing(path: Path) -> list[str]:
    """Libraries that ``path`` links, directly or through another, and the loader does not find; no doubles.

    Loads those that are there, as the file itself would.
    """
    try:
        ctypes.CDLL(str(path))
        return []
    except OSError as error:
        if _ABSENT not in str(error):  # for example a symbol that its host brings
            return []
    absent: list[str] = []
    for name in needed(path):
        try:
            ctypes.CDLL(name)
        except OSError as error:  # names the first one missing, which may be a dependency of `name`
            said = str(error).split(":")[0].strip()
            absent.append(said if ".so" in said and "/" not in said else name)
    return list(dict.fromkeys(absent))
