"""Open the pickled files of FLAME without running anything that is in them.

FLAME comes as pickles of Python 2 with ``chumpy`` objects. Unpickling normally imports and calls whatever the file
names. Here nothing named by a file is ever imported: every name on the allow-list becomes an inert holder of ours
that only stores what it is given, every other name is refused, and arrays are built afterwards from checked bytes.
Layouts: NumPy ``ndarray.__reduce__`` and ``dtype.__reduce__``; chumpy 0.70 ``Ch.__getstate__``; scipy.sparse.
"""

import io
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import ModelError

Array = NDArray[np.generic]
MAX_BYTES = 1 << 30
MAX_OPCODES, MAX_MEMO = 1_000_000, 100_000
"""A FLAME file is a dictionary of a dozen arrays: orders of magnitude below."""
MAX_DENSE = 2_000_000
"""Elements of a sparse matrix once it is dense; FLAME's regressor has 5 x 5023."""
_DTYPE = re.compile(r"[fiub][1248]")
_DEEPEST = 20
"""Expressions may be nested this deep; parts of them (indices, shapes) may not be expressions at all."""
_MEMO = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET"})
_SPARSE = re.compile(r"(csc|csr|coo)_(matrix|array)")


class _Holder:
    """What an allowed name becomes: an object that stores its arguments and its state."""

    name: str
    args: tuple[Any, ...]
    state: Any

    def __init__(self, name: str, args: tuple[Any, ...] = ()) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "args", args)
        object.__setattr__(self, "state", None)

    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError(f"sets attribute {name!r}")

    def __setstate__(self, state: object) -> None:
        object.__setattr__(self, "state", state)


class _Maker:
    """A callable stand-in for an allowed function; holds nothing that a file could change."""

    __slots__ = ("_name",)
    _name: str

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def __call__(self, *args: object) -> _Holder:
        first = args[0] if args else None
        if self._name == "new" and isinstance(first, type) and issubclass(first, _Holder):
            return first.__new__(first)
        return _Holder(self._name, args)

    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError(f"sets attribute {name!r} of {self._name}")

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError(f"changes {self._name}")


def _holder_type(kind: str) -> type[_Holder]:
    """A fresh class for names that pickle instantiates with ``__new__``; whatever a file does to it dies with it."""

    def new(cls: type[_Holder], *args: object) -> _Holder:
        instance = object.__new__(cls)
        _Holder.__init__(instance, kind, args)
        return instance

    return type("Inert", (_Holder,), {"__new__": new, "__init__": lambda self, *args: None})


_MAKERS = {
    ("numpy.core.multiarray", "_reconstruct"): "array",
    ("numpy._core.multiarray", "_reconstruct"): "array",
    ("numpy.core.multiarray", "scalar"): "scalar",
    ("numpy._core.multiarray", "scalar"): "scalar",
    ("numpy.core.numeric", "_frombuffer"): "buffer",
    ("numpy._core.numeric", "_frombuffer"): "buffer",
    ("numpy", "dtype"): "dtype",
    ("numpy", "ndarray"): "ndarray",
    ("_codecs", "encode"): "encode",
    ("copy_reg", "_reconstructor"): "new",
    ("copyreg", "_reconstructor"): "new",
    ("__builtin__", "object"): "object",
    ("builtins", "object"): "object",
    ("__builtin__", "set"): "set",
    ("builtins", "set"): "set",
}


class _Unpickler(pickle.Unpickler):
    """Resolves the allow-list to holders and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        maker = _MAKERS.get((module, name))
        if maker is not None:
            return _Maker(maker)
        if re.fullmatch(r"chumpy(\.\w+)?", module) and re.fullmatch(r"\w+", name):
            return _holder_type(f"chumpy.{name}")
        if re.fullmatch(r"scipy\.sparse(\.\w+)?", module) and _SPARSE.fullmatch(name):
            return _holder_type(f"sparse.{name[:3]}")
        raise pickle.UnpicklingError(f"asks for {module}.{name}, which no FLAME file needs")

    def persistent_load(self, pid: object) -> Any:
        raise pickle.UnpicklingError("asks for a persistent id, which no FLAME file needs")


def load_flame_pickle(path: Path) -> dict[str, Any]:
    """Read a pickled dictionary as inert fields; :func:`array_of` turns one of them into an array.

    Raises:
        ModelError: missing, too large, no dictionary, damaged, or it names anything but arrays. Nothing is run.
    """
    if not path.is_file():
        raise ModelError(f"{path} not found; download FLAME from https://flame.is.tue.mpg.de and pass the file")
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{path} has {path.stat().st_size} bytes, expected at most {MAX_BYTES}")
    return parse_flame_pickle(path.read_bytes(), str(path))


def parse_flame_pickle(data: bytes, origin: str) -> dict[str, Any]:
    """As :func:`load_flame_pickle`, from bytes; ``origin`` names them in errors."""
    try:
        _check_opcodes(data)
        raw = _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise ModelError(f"{origin} refused: {error}; nothing was run") from None
    except Exception as error:  # a hostile or damaged stream can raise anything at all
        raise ModelError(f"{origin} is no readable pickle: {type(error).__name__}: {error}; nothing was run") from None
    if isinstance(raw, _Holder) and raw.name == "array" and isinstance(raw.state, tuple):
        inside = raw.state[-1]  # numpy.save of a dictionary: an array of objects that holds just that
        raw = inside[0] if isinstance(inside, list) and len(inside) == 1 else raw
    if not isinstance(raw, dict):
        raise ModelError(f"{origin} holds a {type(raw).__name__}, expected a dictionary of arrays")
    return {str(key): value for key, value in raw.items()}


def _check_opcodes(data: bytes) -> None:
    """Refuse a stream that asks for memory by its opcodes alone, before an unpickler sees it.

    CPython's unpickler grows its memo to twice the largest index that a file names, and makes byte arrays of the size
    that is named, before it reads on.
    """
    for number, (opcode, argument, position) in enumerate(pickletools.genops(data)):
        if number >= MAX_OPCODES:
            raise pickle.UnpicklingError(f"has more than {MAX_OPCODES} opcodes")
        if opcode.name in _MEMO and int(argument or 0) > MAX_MEMO:
            raise pickle.UnpicklingError(f"names memo entry {argument} at byte {position}, at most {MAX_MEMO} are read")
        if opcode.name == "FRAME" and int(argument or 0) > len(data) - (position or 0):
            raise pickle.UnpicklingError(f"frame at byte {position} is longer than the file")


def fields_of(fields: dict[str, Any], name: str, origin: str) -> dict[str, Any]:
    """The dictionary called ``name`` within the fields. Raises ModelError if there is none."""
    inner = fields.get(name)
    if not isinstance(inner, dict):
        raise ModelError(f"{origin}: {name}: expected a dictionary of arrays, got {type(inner).__name__}")
    return {str(key): value for key, value in inner.items()}


def array_of(fields: dict[str, Any], name: str, origin: str) -> Array:
    """The array called ``name``, built now. Raises ModelError that says why it cannot be had."""
    if name not in fields:
        raise ModelError(f"{origin}: {name} is missing; the file has {', '.join(sorted(fields)[:12])}")
    try:
        return _array(fields[name], depth=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError) as error:
        raise ModelError(f"{origin}: {name} is no array that can be read without running code: {error}") from None


def _array(value: Any, depth: int) -> Array:
    """An array from a holder, an array, or a flat list of numbers."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, _Holder):
        return _build(value, depth)
    if isinstance(value, list | tuple) and all(type(v) in (int, float, bool) for v in value):
        return np.asarray(value)
    raise ValueError(f"got {type(value).__name__}")


def _sizes(value: Any) -> tuple[int, ...]:
    """A shape or an order of axes: a flat list of integers, or an array of them."""
    return tuple(int(n) for n in (value if isinstance(value, list | tuple) else _array(value, _DEEPEST)))


def _build(holder: _Holder, depth: int) -> Array:
    name, args, state = holder.name, holder.args, holder.state
    if name == "array":
        shape, dtype, fortran, raw = state[-4:]
        return _from_bytes(shape, dtype, raw, bool(fortran))
    if name == "buffer":
        return _from_bytes(args[2], args[1], args[0], args[3] == "F")
    if name == "scalar":
        return _from_bytes((), args[0], args[1], False)
    if name.startswith("sparse.") and depth < _DEEPEST:
        return _sparse(name[7:], dict(state))
    if name.startswith("chumpy.") and depth < _DEEPEST:
        return _chumpy(name[7:], dict(state), depth + 1)
    raise ValueError(f"it holds a {name}")


def _from_bytes(shape: Any, dtype: Any, raw: Any, fortran: bool) -> Array:
    """An array of numbers whose bytes fit its shape; raises ValueError otherwise."""
    kind = _dtype(dtype)
    sizes = tuple(int(n) for n in shape)
    data = _bytes(raw)
    if any(n < 0 for n in sizes) or len(sizes) > 8 or int(np.prod(sizes, dtype=object)) * kind.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes do not fill shape {sizes} of {kind}")
    array = np.frombuffer(data, dtype=kind).reshape(sizes, order="F" if fortran else "C")
    return array.astype(kind.newbyteorder("="), copy=True)


def _dtype(holder: Any) -> np.dtype[Any]:
    if not isinstance(holder, _Holder) or holder.name != "dtype":
        raise ValueError("dtype is no dtype")
    code = holder.args[0]
    state = holder.state
    if not isinstance(code, str) or not _DTYPE.fullmatch(code):
        raise ValueError(f"dtype {code!r} is not a plain number type")
    order: Any = state[1] if state is not None else "="
    if order not in ("<", ">", "|", "="):
        raise ValueError(f"byte order {order!r}")
    return np.dtype(code).newbyteorder(order)


def _bytes(raw: Any) -> bytes:
    """Bytes of an array: as such, as a latin-1 string (Python 2), or as ``_codecs.encode(text, 'latin1')``."""
    if isinstance(raw, _Holder) and raw.name == "encode":
        raw = raw.args[0]
    if isinstance(raw, str):
        return raw.encode("latin1")
    if isinstance(raw, bytes | bytearray):
        return bytes(raw)
    raise ValueError(f"array data is a {type(raw).__name__}, expected bytes (arrays of objects are refused)")


def _sparse(kind: str, state: dict[str, Any]) -> Array:
    """Dense array of a scipy.sparse matrix."""
    from scipy import sparse

    shape = _sizes(state["_shape"])
    if len(shape) != 2 or not 0 < shape[0] * shape[1] <= MAX_DENSE:
        raise ValueError(f"sparse matrix of shape {shape}, expected at most {MAX_DENSE} elements")
    if kind == "coo":
        row, column = state["coords"] if "coords" in state else (state["row"], state["col"])
        places = (_array(row, _DEEPEST), _array(column, _DEEPEST))
        return np.asarray(sparse.coo_matrix((_array(state["data"], _DEEPEST), places), shape=shape).toarray())
    maker = sparse.csc_matrix if kind == "csc" else sparse.csr_matrix
    matrix = maker(tuple(_array(state[n], _DEEPEST) for n in ("data", "indices", "indptr")), shape=shape)
    matrix.check_format(full_check=True)
    return np.asarray(matrix.toarray())


def _chumpy(kind: str, state: dict[str, Any], depth: int) -> Array:
    """Value of the chumpy expressions that only move numbers about."""
    if kind == "Ch" and "x" in state:
        return _array(state["x"], depth)
    if kind not in ("Select", "Reshape", "transpose") or "a" not in state:
        raise ValueError(f"it is a computed chumpy {kind}")
    inner = _array(state["a"], depth)
    if kind == "Reshape":
        return inner.reshape(_sizes(state["newshape"]))
    if kind == "transpose":
        return inner.transpose(_sizes(state["axes"])) if state.get("axes") is not None else inner.T
    picked = inner.ravel()[_array(state["idxs"], _DEEPEST).astype(np.int64)]
    return picked.reshape(_sizes(state["preferred_shape"])) if state.get("preferred_shape") is not None else picked
