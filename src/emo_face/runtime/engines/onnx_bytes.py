"""What is done to an ONNX file without the package ``onnx``, which the nano tier does not have.

Protocol Buffers, "Encoding", and onnx.proto3: ModelProto.graph = 7; GraphProto.input = 11, .output = 12,
.value_info = 13; ValueInfoProto.type = 2; TypeProto.tensor_type = 1; Tensor.shape = 2; TensorShapeProto.dim = 1;
Dimension.dim_value = 1, .dim_param = 2; GraphProto.initializer = 5; TensorProto.external_data = 13;
StringStringEntryProto.key = 1, .value = 2.
"""

from collections.abc import Callable, Iterator
from typing import cast

Change = Callable[[bytes], bytes]
GRAPH, INITIALIZER, INPUT, OUTPUT, VALUE_INFO = 7, 5, 11, 12, 13
EXTERNAL_DATA, KEY, VALUE = 13, 1, 2
SHAPE = (2, 1, 2)  # from a ValueInfoProto to its shape
LENGTH, DIM = 2, 1
ONE = b"\x08\x01"  # a dimension of 1
ONE_FILE = 1.5e9
"""Bytes of weights above which they lie beside the graph: a message of Protocol Buffers holds 2 GB."""


def free_sides(model: bytes) -> bytes:
    """The same model whose (n, c, h, w) inputs take any height and width, and any number if more than one was fixed.

    Its outputs' axes follow: height and width of a map, the middle ones of other outputs.

    Raises:
        ValueError: these are not the bytes of an ONNX model.
    """
    try:
        if not any(number == GRAPH for number, _, _ in _fields(model)):
            raise ValueError("no graph in it")
        free = _at(_at(model, (GRAPH, INPUT, *SHAPE), _free_input), (GRAPH, OUTPUT, *SHAPE), _free_output)
        return _at(free, (GRAPH,), _without_inner_shapes)
    except IndexError:
        raise ValueError("it ends too early") from None


def weight_files(model: bytes) -> list[str]:
    """Names of the files beside a model that hold its weights; none if they are all in it, or it is no ONNX model."""
    found, inside = set(), [cast(bytes, memoryview(model))]  # its slices are no copies
    try:
        for field in (GRAPH, INITIALIZER, EXTERNAL_DATA):
            inside = [payload for part in inside for number, _, payload in _fields(part) if number == field]
        for pair in inside:
            entry = {number: bytes(payload) for number, _, payload in _fields(pair)}
            if entry.get(KEY) == b"location":
                found.add(entry[VALUE].decode())
    except (ValueError, IndexError, KeyError):
        return []
    return sorted(found)


def _free_input(shape: bytes) -> bytes:
    dims = _dims(shape)
    if len(dims) != 4:
        return shape
    batch = dims[0] if dims[0] == ONE else b"\x12\x05batch"
    return _shape([batch, dims[1], b"\x12\x06height", b"\x12\x05width"])


def _free_output(shape: bytes) -> bytes:
    """What a fixed export states is wrong once its input is free; an empty dimension is an unknown one."""
    dims = _dims(shape)
    if len(dims) == 4:
        return _shape([b"", dims[1], b"", b""])
    return shape if len(dims) < 3 else _shape([dims[0], *[b""] * (len(dims) - 2), dims[-1]])


def _without_inner_shapes(graph: bytes) -> bytes:
    """The shapes of what lies between are notes of the export, true for its one size only."""
    return b"".join(whole for number, whole, _ in _fields(graph) if number != VALUE_INFO)


def _dims(shape: bytes) -> list[bytes]:
    return [payload for number, _, payload in _fields(shape) if number == DIM]


def _shape(dims: list[bytes]) -> bytes:
    return b"".join(_field(DIM, dim) for dim in dims)


def _at(message: bytes, path: tuple[int, ...], change: Change) -> bytes:
    """``message`` with ``change`` applied to every submessage at ``path``."""
    if not path:
        return change(message)
    return b"".join(
        _field(number, _at(payload, path[1:], change)) if number == path[0] else whole
        for number, whole, payload in _fields(message)
    )


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(number, the whole field, its payload if it has a length)."""
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        kind, payload = key & 7, b""
        if kind == 0:
            _, at = _varint(message, at)
        elif kind == LENGTH:
            size, at = _varint(message, at)
            payload, at = message[at : at + size], at + size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {start}")
        yield key >> 3, message[start:at], payload


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _field(number: int, payload: bytes) -> bytes:
    return _number(number << 3 | LENGTH) + _number(len(payload)) + payload


def _number(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
