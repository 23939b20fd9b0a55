"""Decode ``sensor_msgs/CompressedImage``: JPEG, PNG and TIFF, whole and of a modest size, by OpenCV.

These are what compressed_image_transport writes (``CompressedImage.msg`` of Jazzy, "CODEC is one of").
"""

import contextlib
import re
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import ImageError
from emo_face.core.types import MAX_PIXELS, ImageArray
from emo_face.ros.images.convert import COLOURS, as_bytes, developed
from emo_face.ros.images.depth import BitDepth

_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})  # TEM and RST0..7 (ITU-T T.81, B.1.1.3)
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_TIFF = (b"II*\0", b"MM\0*")
_WIDTH, _LENGTH = 256, 257  # TIFF's tags
_MOSAIC = re.compile(r"(bayer_(?:rggb|bggr|gbrg|grbg)(?:8|16)); (?:jpeg|png|tiff) compressed\s*")
"""What its compressed_publisher.cpp writes of a picture that is no colour one: the raw encoding, and no other."""
_START_OF_SCAN, _END = 0xDA, b"\xff\xd9"
# entropy-coded data that stands for no picture, with every restart marker in it
_RUBBISH = b"".join(bytes([0x5A, 0x13, 0xC7, 0x08, 0xE1, 0x3C, 0x96]) * 9 + bytes([0xFF, 0xD0 + n]) for n in range(8))


def decode_compressed(msg: Any, depth: BitDepth | None = None) -> ImageArray:
    """Decode a ``CompressedImage`` to (height, width, 3) uint8 BGR.

    The bytes decide, not ``format``: drivers write that field in many ways. Only a mosaic that image_transport packed
    as it was is told by it. A JPEG without its end marker is decoded if all of its rows are there.

    Args:
        depth: bit depth of the stream, for PNG and TIFF of 16 bits; None judges this picture alone.

    Raises:
        ImageError: empty, distances, neither JPEG nor PNG nor TIFF, cut, corrupt, or larger than :data:`MAX_PIXELS`.
    """
    raw = as_bytes(msg.data).tobytes()
    if not raw:
        raise ImageError("data: empty")
    if "compressedDepth" in str(msg.format):
        raise ImageError(f"format: {str(msg.format)!r} carries distances, not a picture; {COLOURS}")
    picture = _unpacked(raw, str(msg.format), depth)
    mosaic = _MOSAIC.fullmatch(str(msg.format))
    return developed(picture, mosaic.group(1)) if mosaic else picture


def _unpacked(raw: bytes, said: str, depth: BitDepth | None) -> ImageArray:
    if raw.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(raw, depth)
    if raw.startswith(b"\xff\xd8"):
        return _jpeg(raw)
    if raw.startswith(_TIFF):
        return _tiff(raw, depth)
    raise ImageError(
        f"data: neither JPEG nor PNG nor TIFF (starts with {raw[:4].hex()}, format {said!r}); choose one of "
        "them in the camera driver, or put image_transport's republish between"
    )


def _tiff(raw: bytes, depth: BitDepth | None) -> ImageArray:
    """TIFF 6.0, section 2: eight bytes of header, then a directory of 12-byte fields wherever it says."""
    order: Literal["little", "big"] = "little" if raw[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(raw[at : at + size], order)

    first = number(4, 4)
    end = first + 2 + 12 * number(first, 2)
    if not 8 <= first < end <= len(raw):
        raise ImageError(f"data: truncated TIFF of {len(raw)} bytes")
    # a SHORT (3) lies in the first half of the field's value
    fields = {number(at, 2): number(at + 8, 2 if number(at + 2, 2) == 3 else 4) for at in range(first + 2, end, 12)}
    _check_size(fields.get(_LENGTH, 0), fields.get(_WIDTH, 0))
    pixels = _decoded(raw, cv2.IMREAD_UNCHANGED)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"data: TIFF of {pixels.dtype} carries measures, not a picture; {COLOURS}")
    if pixels.dtype == np.uint16:
        pixels = (depth or BitDepth()).scale(pixels)
    colour = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR) if pixels.ndim == 2 else pixels[..., :3]
    return np.ascontiguousarray(colour, np.uint8)


def _png(raw: bytes, depth: BitDepth | None) -> ImageArray:
    if len(raw) < 33 or raw.rfind(b"IEND") < 0:
        raise ImageError(f"data: truncated PNG of {len(raw)} bytes")
    if raw[12:16] != b"IHDR":  # the first chunk (PNG, 11.2.2); libpng refuses others too
        raise ImageError("data: PNG without its header")
    _check_size(int.from_bytes(raw[20:24], "big"), int.from_bytes(raw[16:20], "big"))
    if raw[24] == 16:
        return (depth or BitDepth()).scale(_decoded(raw, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH))
    return np.asarray(_decoded(raw, cv2.IMREAD_COLOR), np.uint8)


def _jpeg(raw: bytes) -> ImageArray:
    header = _jpeg_header(raw)
    _check_size(header.height, header.width)
    if raw.rfind(_END) >= header.scan:
        return np.asarray(_decoded(raw, cv2.IMREAD_COLOR), np.uint8)
    raw = raw.rstrip(b"\xff")  # half an end marker would make one of what is put behind it
    with contextlib.suppress(ImageError):
        picture = _decoded(raw + _END, cv2.IMREAD_COLOR)
        if not _made_up(raw, picture, header.progressive):
            return np.asarray(picture, np.uint8)
    raise ImageError(f"data: truncated JPEG of {len(raw)} bytes")


def _made_up(raw: bytes, picture: NDArray[Any], progressive: bool) -> bool:
    """Whether blocks of a JPEG without end are missing, which libjpeg fills in silence; the last one may be torn.

    Blocks that are missing come out flat. If the last one is, decode again: rows that are made up depend on what
    follows the data. Not always, because libjpeg prints a line about the rubbish.
    """
    corner = picture[-4:, -4:].reshape(-1, 3)
    suspect = progressive or bool((corner == corner[0]).all())
    return suspect and not np.array_equal(picture, _decoded(raw + _RUBBISH + _END, cv2.IMREAD_COLOR))


@dataclass(frozen=True, slots=True)
class _JpegHeader:
    """Size in pixels, whether it is progressive, and the offset of the first scan."""

    height: int
    width: int
    progressive: bool
    scan: int


def _jpeg_header(raw: bytes) -> _JpegHeader:
    """What stands before the first scan, with the markers found as libjpeg finds them (jdmarker.c).

    Bytes that belong to no segment are passed over, markers without a length have none, and the first frame header
    is the picture's; libjpeg refuses a second one.
    """
    size: tuple[int, int, bool] | None = None
    position = 2
    while (position := raw.find(b"\xff", position)) >= 0 and position + 1 < len(raw):
        marker = raw[position + 1]
        if marker in (0x00, 0xFF) or marker in _WITHOUT_LENGTH:  # stuffed, fill, or alone
            position += 1 if marker == 0xFF else 2
            continue
        if marker == _START_OF_SCAN:
            if size is None:
                raise ImageError("data: JPEG without a start-of-frame segment")
            return _JpegHeader(*size, position)
        if marker in _FRAME_HEADERS and position + 9 <= len(raw):
            if size is not None:
                raise ImageError("data: JPEG with two frame headers")
            high, wide = (int.from_bytes(raw[at : at + 2], "big") for at in (position + 5, position + 7))
            size = high, wide, marker in _PROGRESSIVE
        position += 2 + max(2, int.from_bytes(raw[position + 2 : position + 4], "big"))
    raise ImageError(f"data: truncated JPEG of {len(raw)} bytes")


def _check_size(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise ImageError(f"data: declares {height} x {width}, over the limit of {MAX_PIXELS} pixels")


def _decoded(raw: bytes, flags: int) -> NDArray[Any]:
    """Pixels; the orientation that a camera writes into EXIF is followed. Raises ImageError."""
    try:
        picture = cv2.imdecode(np.frombuffer(raw, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"data: {len(raw)} bytes do not decode ({error.err})") from None
    if picture is None or picture.size == 0:
        raise ImageError(f"data: {len(raw)} bytes are corrupt")
    return np.asarray(picture)
