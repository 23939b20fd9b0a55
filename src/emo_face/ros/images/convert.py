"""Convert ``sensor_msgs/Image`` and ``CompressedImage`` to and from NumPy, without cv_bridge.

Reads any object with the message's fields, so it needs no rclpy. Views are zero-copy and read-only where the
encoding allows. Names, layouts and the meaning of ``step`` are those of ``sensor_msgs/image_encodings.hpp``.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import ImageArray
from emo_face.ros.images.yuv import nv12_to_bgr, packed422_to_bgr

MAX_PIXELS = 64_000_000
"""Largest picture that is decoded: 8K (7680x4320) is 33 million; guards against decompression bombs."""

# encoding -> (channels, bytes a channel)
_LAYOUT: dict[str, tuple[int, int]] = {
    "rgb8": (3, 1), "bgr8": (3, 1), "8UC3": (3, 1), "rgba8": (4, 1), "bgra8": (4, 1), "8UC4": (4, 1),
    "mono8": (1, 1), "8UC1": (1, 1), "mono16": (1, 2), "16UC1": (1, 2),
    "yuv422": (2, 1), "uyvy": (2, 1), "yuv422_yuy2": (2, 1), "yuyv": (2, 1), "nv12": (1, 1),
}  # fmt: skip

ENCODINGS: tuple[str, ...] = tuple(_LAYOUT)
"""Every encoding that :func:`to_array` and :func:`to_bgr` read."""


class ImageError(ValueError):
    """A message that is no picture: names the field, what was expected and what came."""


def to_array(msg: Any) -> NDArray[Any]:
    """View a message as its own pixels, zero-copy and read-only.

    Returns:
        (height, width) or (height, width, channels), uint8, or uint16 in the message's byte order. For ``nv12``
        the (height * 3 / 2, width) planes.

    Raises:
        ImageError: zero-sized, truncated, wrong ``step``, or unknown encoding.
    """
    height, width, encoding = int(msg.height), int(msg.width), str(msg.encoding)
    if encoding not in _LAYOUT:
        raise ImageError(f"encoding: unknown {encoding!r}, expected one of {', '.join(ENCODINGS)}")
    if height <= 0 or width <= 0:
        raise ImageError(f"height x width: {height} x {width} holds no pixel")
    if height * width > MAX_PIXELS:
        raise ImageError(f"height x width: {height} x {width} is over the limit of {MAX_PIXELS} pixels")
    channels, itemsize = _LAYOUT[encoding]
    if channels == 2 and width % 2:
        raise ImageError(f"width: {encoding} needs an even width, got {width}")
    row = width * channels * itemsize
    step = int(msg.step)
    if step < row or step % itemsize:
        raise ImageError(f"step: got {step}, expected at least {row} bytes for {width} pixels of {encoding}")
    data = _bytes(msg.data)
    rows = _rows(encoding, height, width, step, data.size)
    # the padding of the last row may be missing
    need = step * (rows - 1) + row
    if data.size < need:
        raise ImageError(f"data: truncated, got {data.size} bytes, expected {step * rows} (step {step} x {rows} rows)")
    order = ">u2" if int(msg.is_bigendian) else "<u2"
    strides = (step, channels * itemsize, itemsize)
    view: NDArray[Any] = np.ndarray(
        (rows, width, channels), dtype=order if itemsize == 2 else np.uint8, buffer=data.data, strides=strides
    )
    view.flags.writeable = False
    return view[..., 0] if channels == 1 else view


def _bytes(data: Any) -> NDArray[np.uint8]:
    """View ``data`` (array.array, bytes, ndarray; a list is copied) as bytes."""
    return np.frombuffer(bytes(data) if isinstance(data, (list, tuple)) else data, dtype=np.uint8)


def _rows(encoding: str, height: int, width: int, step: int, size: int) -> int:
    """Rows of bytes in ``data``; for nv12 ``height`` may be the picture's or the buffer's, drivers do both."""
    if encoding != "nv12":
        return height
    rows = height * 3 // 2 if size >= step * (height * 3 // 2 - 1) + width else height
    if width % 2 or rows % 3 or (rows * 2 // 3) % 2:
        raise ImageError(f"height x width: nv12 needs even sizes, got {height} x {width} and {size} bytes")
    return rows


def to_bgr(msg: Any) -> ImageArray:
    """Convert a raw message to (height, width, 3) uint8 BGR; ``bgr8`` is a read-only view, the rest are new arrays.

    16-bit pictures are scaled by 255/65535 as cv_bridge scales ``mono16``. YUV is ITU-R BT.601, limited range.

    Raises:
        ImageError: see :func:`to_array`.
    """
    pixels = to_array(msg)
    return _TO_BGR[str(msg.encoding)](pixels)


def _same(pixels: NDArray[Any]) -> ImageArray:
    return pixels


def _reorder(*channels: int) -> Callable[[NDArray[Any]], ImageArray]:
    def convert(pixels: NDArray[Any]) -> ImageArray:
        out = np.empty((*pixels.shape[:2], 3), np.uint8)
        for target, source in enumerate(channels):
            out[..., target] = pixels if pixels.ndim == 2 else pixels[..., source]
        return out

    return convert


def _from16(pixels: NDArray[Any]) -> ImageArray:
    # v * 255 / 65535 = v / 257, rounded; 257 is odd, so no ties
    small = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return _reorder(0, 0, 0)(small)


_TO_BGR: dict[str, Callable[[NDArray[Any]], ImageArray]] = {
    "bgr8": _same, "8UC3": _same,
    "rgb8": _reorder(2, 1, 0), "rgba8": _reorder(2, 1, 0), "bgra8": _reorder(0, 1, 2), "8UC4": _reorder(0, 1, 2),
    "mono8": _reorder(0, 0, 0), "8UC1": _reorder(0, 0, 0), "mono16": _from16, "16UC1": _from16,
    "yuv422": partial(packed422_to_bgr, luma_first=False), "uyvy": partial(packed422_to_bgr, luma_first=False),
    "yuv422_yuy2": partial(packed422_to_bgr, luma_first=True), "yuyv": partial(packed422_to_bgr, luma_first=True),
    "nv12": nv12_to_bgr,
}  # fmt: skip


def decode_compressed(msg: Any) -> ImageArray:
    """Decode a JPEG or PNG ``CompressedImage`` to (height, width, 3) uint8 BGR.

    The bytes decide, not ``format``: drivers write that field in many ways.

    Raises:
        ImageError: empty, neither JPEG nor PNG, truncated, corrupt, or larger than :data:`MAX_PIXELS`.
    """
    data = _bytes(msg.data)
    raw = data.tobytes()
    height, width = _declared_size(raw, str(msg.format))
    if height * width > MAX_PIXELS:
        raise ImageError(f"data: declares {height} x {width}, over the limit of {MAX_PIXELS} pixels")
    import cv2

    try:
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"data: {len(raw)} bytes do not decode ({error.err})") from None
    if picture is None or picture.size == 0:
        raise ImageError(f"data: {len(raw)} bytes of format {msg.format!r} are corrupt")
    return np.asarray(picture, np.uint8)


def _declared_size(raw: bytes, declared: str) -> tuple[int, int]:
    """(height, width) from the header; also finds a missing end, which decoders fill with grey in silence."""
    if not raw:
        raise ImageError("data: empty")
    if raw.startswith(b"\x89PNG\r\n\x1a\n"):
        if len(raw) < 33 or raw.rfind(b"IEND") < 0:
            raise ImageError(f"data: truncated PNG of {len(raw)} bytes")
        return int.from_bytes(raw[20:24], "big"), int.from_bytes(raw[16:20], "big")
    if raw.startswith(b"\xff\xd8"):
        if raw.rfind(b"\xff\xd9") < raw.rfind(b"\xff\xda") or b"\xff\xda" not in raw:
            raise ImageError(f"data: truncated JPEG of {len(raw)} bytes")
        return _jpeg_size(raw)
    raise ImageError(f"data: neither JPEG nor PNG (starts with {raw[:4].hex()}, format {declared!r})")


def _jpeg_size(raw: bytes) -> tuple[int, int]:
    """(height, width) of the start-of-frame segment (ITU-T T.81, B.2.2)."""
    position = 2
    while position + 9 <= len(raw) and raw[position] == 0xFF:
        marker = raw[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            at = position + 5
            return int.from_bytes(raw[at : at + 2], "big"), int.from_bytes(raw[at + 2 : at + 4], "big")
        position += 2 + int.from_bytes(raw[position + 2 : position + 4], "big")
    raise ImageError("data: JPEG without a start-of-frame segment")


def image_message(picture: ImageArray, header: Any, encoding: str = "bgr8") -> Any:
    """Make a ``sensor_msgs/Image`` of a (height, width, 3) or (height, width) uint8 picture.

    Args:
        header: ``std_msgs/Header``, used as it is.
        encoding: how the pixels are to be named; they are not converted.
    """
    from sensor_msgs.msg import Image

    pixels = np.ascontiguousarray(picture, dtype=np.uint8)
    msg = Image()
    msg.header = header
    msg.height, msg.width = pixels.shape[:2]
    msg.encoding = encoding
    msg.step = pixels.strides[0]
    # the setter checks every element of any other sequence type
    data = array.array("B")
    data.frombytes(pixels.data)
    msg.data = data
    return msg


def compressed_message(picture: ImageArray, header: Any, quality: int = 80) -> Any:
    """Make a JPEG ``sensor_msgs/CompressedImage`` of a BGR picture; ``quality`` in [1, 100]."""
    import cv2
    from sensor_msgs.msg import CompressedImage

    done, jpeg = cv2.imencode(".jpg", np.asarray(picture), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ImageError(f"cannot encode a picture of shape {picture.shape} as JPEG")
    msg = CompressedImage()
    msg.header = header
    msg.format = "bgr8; jpeg compressed bgr8"
    data = array.array("B")
    data.frombytes(jpeg.data)
    msg.data = data
    return msg
