"""Convert ``sensor_msgs/Image`` to and from NumPy by OpenCV, without cv_bridge, whose Python half breaks with NumPy 2.

Reads any object with the message's fields, so it needs no rclpy. Views are zero-copy and read-only if the encoding
allows. Names, layouts and the meaning of ``step`` are those of ``sensor_msgs/image_encodings.hpp``; the layouts of
the YUV formats are those of the Linux kernel's V4L2 pages, which that header names.
"""

import array
import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import ImageError
from emo_face.core.types import MAX_PIXELS, ImageArray
from emo_face.ros.images.depth import BitDepth


@dataclass(frozen=True, slots=True)
class _Layout:
    """Samples of one encoding in memory, and the OpenCV conversion to BGR (None: the pixels are BGR already).

    ``planes``: rows of ``width`` bytes for each two rows of the picture; 2 if there is but one plane.
    """

    channels: int
    itemsize: int
    code: int | None
    planes: int = 2


_BAYER = {  # OpenCV names a pattern by its second row's second and third pixel, ROS by its first two rows
    "rggb": cv2.COLOR_BayerBG2BGR, "bggr": cv2.COLOR_BayerRG2BGR,
    "gbrg": cv2.COLOR_BayerGR2BGR, "grbg": cv2.COLOR_BayerGB2BGR,
}  # fmt: skip
_COLOURS = {
    "mono": (1, cv2.COLOR_GRAY2BGR), "rgb": (3, cv2.COLOR_RGB2BGR), "bgr": (3, None),
    "rgba": (4, cv2.COLOR_RGBA2BGR), "bgra": (4, cv2.COLOR_BGRA2BGR),
}  # fmt: skip
_LAYOUTS: dict[str, _Layout] = {
    **{f"{name}{8 * size}": _Layout(n, size, code) for size in (1, 2) for name, (n, code) in _COLOURS.items()},
    **{f"bayer_{name}{8 * size}": _Layout(1, size, code) for size in (1, 2) for name, code in _BAYER.items()},
    # OpenCV's own types: colours in OpenCV's order, as cv_bridge takes them
    **{
        f"{8 * size}UC{n}": _Layout(n, size, code)
        for size in (1, 2)
        for n, code in ((1, cv2.COLOR_GRAY2BGR), (3, None), (4, cv2.COLOR_BGRA2BGR))
    },
    **{name: _Layout(2, 1, cv2.COLOR_YUV2BGR_UYVY) for name in ("uyvy", "yuv422")},
    **{name: _Layout(2, 1, cv2.COLOR_YUV2BGR_YUY2) for name in ("yuyv", "yuv422_yuy2")},
    "nv12": _Layout(1, 1, cv2.COLOR_YUV2BGR_NV12, planes=3),
    "nv21": _Layout(1, 1, cv2.COLOR_YUV2BGR_NV21, planes=3),
    "nv24": _Layout(1, 1, cv2.COLOR_YUV2BGR_UYVY, planes=6),
}

ENCODINGS: tuple[str, ...] = tuple(_LAYOUTS)
"""Every encoding that :func:`to_array` and :func:`to_bgr` read: all of the standard's that carry a picture."""

COLOURS = "remap `image` to the camera's colour or mono topic"
_MEASURES = re.compile(r"(8S|16S|32S|32F|64F)C\d*|(8U|16U)C\d+")


def to_array(msg: Any) -> NDArray[Any]:
    """View a message as its own pixels, zero-copy and read-only.

    Returns:
        (height, width) or (height, width, channels), uint8, or uint16 in the message's byte order. For ``nv12`` and
        ``nv21`` the (height * 3 / 2, width) planes, for ``nv24`` the (height * 3, width) ones.

    Raises:
        ImageError: zero-sized, truncated, wrong ``step``, or an encoding that carries no picture.
    """
    height, width, encoding = int(msg.height), int(msg.width), str(msg.encoding)
    layout = _layout(encoding)
    if height <= 0 or width <= 0:
        raise ImageError(f"height x width: {height} x {width} holds no pixel")
    if height * width > MAX_PIXELS:
        raise ImageError(f"height x width: {height} x {width} is over the limit of {MAX_PIXELS} pixels")
    channels, itemsize = layout.channels, layout.itemsize
    if channels == 2 and width % 2:
        raise ImageError(f"width: {encoding} needs an even width, got {width}")
    row = width * channels * itemsize
    step = int(msg.step)
    if step < row or step % itemsize:
        raise ImageError(f"step: got {step}, expected at least {row} bytes for {width} pixels of {encoding}")
    data = as_bytes(msg.data)
    rows = _rows(encoding, layout, height, width, step, data.size)
    if data.size < step * (rows - 1) + row:  # the padding of the last row may be missing
        raise ImageError(f"data: truncated, got {data.size} bytes, expected {step * rows} (step {step} x {rows} rows)")
    if encoding == "nv24" and step > width:
        data, step = _nv24_packed(data, rows // 3, width, step), width
    order = ">u2" if int(msg.is_bigendian) else "<u2"
    strides = (step, channels * itemsize, itemsize)
    view: NDArray[Any] = np.ndarray(
        (rows, width, channels), dtype=order if itemsize == 2 else np.uint8, buffer=data.data, strides=strides
    )
    view.flags.writeable = False
    return view[..., 0] if channels == 1 else view


def bytes_of(encoding: str, height: int, width: int) -> tuple[int, int]:
    """(step, bytes) of a picture without padding. Raises ImageError for an encoding that is not read."""
    layout = _layout(encoding)
    step = width * layout.channels * layout.itemsize
    return step, step * height * layout.planes // 2


def _layout(encoding: str) -> _Layout:
    layout = _LAYOUTS.get(encoding)
    if layout is not None:
        return layout
    if _MEASURES.fullmatch(encoding):
        raise ImageError(f"encoding: {encoding!r} carries distances or other measures, not a picture; {COLOURS}")
    raise ImageError(
        f"encoding: unknown {encoding!r}, expected one of {', '.join(ENCODINGS)}; choose one of them in the "
        "camera driver, or put image_proc or image_transport's republish between"
    )


def as_bytes(data: Any) -> NDArray[np.uint8]:
    """View ``data`` (array.array, bytes, ndarray; a list is copied) as bytes."""
    return np.frombuffer(bytes(data) if isinstance(data, (list, tuple)) else data, dtype=np.uint8)


def _rows(encoding: str, layout: _Layout, height: int, width: int, step: int, size: int) -> int:
    """Rows of bytes in ``data``; of several planes ``height`` may be the picture's or the buffer's, drivers do both."""
    if layout.planes == 2:
        return height
    rows = height * layout.planes // 2
    if size <= step * height:
        rows = height
    half_size = layout.planes == 3  # chroma: every second pixel of every second row
    if rows % 3 or (half_size and (width % 2 or (rows * 2 // 3) % 2)):
        needs = "even sizes" if half_size else "three rows of bytes per row"
        raise ImageError(f"height x width: {encoding} needs {needs}, got {height} x {width} and {size} bytes")
    return rows


def _nv24_packed(data: NDArray[np.uint8], height: int, width: int, step: int) -> NDArray[np.uint8]:
    """Both planes without padding; a row of chroma is twice ``width`` in twice ``step`` bytes (V4L2's NV24)."""
    luma = np.lib.stride_tricks.as_strided(data, (height, width), (step, 1))
    chroma = np.lib.stride_tricks.as_strided(data[height * step :], (height, 2 * width), (2 * step, 1))
    return np.concatenate([luma.reshape(-1), chroma.reshape(-1)])


def to_bgr(msg: Any, depth: BitDepth | None = None) -> ImageArray:
    """Convert a raw message to (height, width, 3) uint8 BGR; ``bgr8`` is a read-only view, the rest are new arrays.

    YUV is ITU-R BT.601, limited range; bayer patterns are interpolated bilinearly.

    Args:
        depth: bit depth of the stream, for 16-bit encodings; None judges this picture alone.

    Raises:
        ImageError: see :func:`to_array`.
    """
    pixels = to_array(msg)
    encoding = str(msg.encoding)
    layout = _LAYOUTS[encoding]
    if layout.itemsize == 2:
        pixels = (depth or BitDepth()).scale(pixels)
    if layout.code is None:
        return pixels
    if encoding == "nv24":
        doubled = cv2.cvtColor(_nv24_doubled(pixels), layout.code)
        size = pixels.shape[1], pixels.shape[0] // 3
        return np.asarray(cv2.resize(doubled, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    return np.asarray(cv2.cvtColor(pixels, layout.code), np.uint8)


def _nv24_doubled(planes: NDArray[Any]) -> NDArray[np.uint8]:
    """Luma and U, V of every pixel as 4:2:2 of twice the width: each pixel twice, with its own chroma."""
    height, width = planes.shape[0] // 3, planes.shape[1]
    luma, (u, v) = planes[:height], cv2.split(planes[height:].reshape(height, width, 2))
    return np.asarray(cv2.merge([u, luma, v, luma]), np.uint8).reshape(height, 2 * width, 2)


def developed(picture: ImageArray, encoding: str) -> ImageArray:
    """The (height, width, 3) colours of a mosaic that was packed as a grey picture (h, w, 3), by the raw encoding."""
    return np.asarray(cv2.cvtColor(picture[..., 0], _LAYOUTS[encoding].code or 0), np.uint8)


def image_message(picture: ImageArray, header: Any, encoding: str = "bgr8") -> Any:
    """Make a ``sensor_msgs/Image`` of a (height, width, 3) or (height, width) uint8 picture.

    Args:
        header: ``std_msgs/Header``, used as it is.
        encoding: how the pixels are to be named; they are not converted.
    """
    from sensor_msgs.msg import Image

    pixels = np.ascontiguousarray(picture, dtype=np.uint8)
    return Image(
        header=header,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        step=pixels.strides[0],
        data=_array(pixels.data),
    )


def _array(data: memoryview) -> "array.array[int]":
    """The one type of sequence of which rclpy does not check every element."""
    values = array.array("B")
    values.frombytes(data)
    return values


def to_jpeg(picture: ImageArray, quality: int = 80) -> NDArray[np.uint8]:
    """JPEG of a BGR picture as bytes; ``quality`` in [1, 100]."""
    done, jpeg = cv2.imencode(".jpg", np.asarray(picture), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ImageError(f"cannot encode a picture of shape {picture.shape} as JPEG")
    return np.asarray(jpeg, np.uint8)


def raw_to_jpeg(msg: Any) -> bytes:
    """JPEG of a raw message. Raises ImageError as :func:`to_bgr`."""
    return to_jpeg(to_bgr(msg), 90).tobytes()


def compressed_message(picture: ImageArray, header: Any, quality: int = 80) -> Any:
    """Make a JPEG ``sensor_msgs/CompressedImage`` of a BGR picture; ``quality`` in [1, 100]."""
    from sensor_msgs.msg import CompressedImage

    data = _array(to_jpeg(picture, quality).data)
    return CompressedImage(header=header, format="bgr8; jpeg compressed bgr8", data=data)
