"""ros/images/compressed.py: JPEG and PNG as cameras send them, whole, cut, damaged and made to eat the memory."""

from __future__ import annotations

import array
import contextlib
import os
import resource
import struct
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_face.core.errors import ImageError
from emo_face.core.types import MAX_PIXELS
from emo_face.ros.images.compressed import decode_compressed
from emo_face.ros.images.depth import BitDepth

RNG = np.random.default_rng(2)
END = b"\xff\xd9"


def compressed(data: bytes, declared: str = "jpeg") -> SimpleNamespace:
    return SimpleNamespace(data=array.array("B", data), format=declared)


def smooth() -> np.ndarray:
    small = RNG.integers(0, 255, (4, 4, 3), dtype=np.uint8, endpoint=True)
    return cv2.resize(small, (64, 48), interpolation=cv2.INTER_CUBIC)


def encoded(extension: str, *options: int) -> bytes:
    return cv2.imencode(extension, smooth(), list(options))[1].tobytes()


@pytest.mark.parametrize("extension", [".jpg", ".png", ".tiff"])
def test_compressed_pixels_equal_opencv(extension: str) -> None:
    data = encoded(extension)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decode_compressed(compressed(data, "bgr8; compressed bgr8")), expected)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"", "empty"),
        (b"hello, this is no picture", "neither JPEG nor PNG nor TIFF"),
        (b"II*\0", "truncated TIFF"),
        (encoded(".tiff")[:200], "truncated TIFF"),
        (encoded(".jpg")[:400], "truncated JPEG"),
        (encoded(".jpg")[:3], "truncated JPEG"),
        (encoded(".png")[:-20], "truncated PNG"),
        (encoded(".png")[:60] + bytes(40) + encoded(".png")[100:], "corrupt"),
        (b"\xff\xd8\xff\xda" + bytes(50) + b"\xff\xd9", "start-of-frame|corrupt"),
    ],
)
def test_corrupt_compressed_is_an_image_error(data: bytes, names: str) -> None:
    with pytest.raises(ImageError, match=names):
        decode_compressed(compressed(data))


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    data = bytearray(encoded(".png"))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(ImageError, match=str(MAX_PIXELS)):
        decode_compressed(compressed(bytes(data)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=30), st.sampled_from([".jpg", ".png"]))
def test_damaged_files_never_crash(position: int, rubbish: bytes, extension: str) -> None:
    data = bytearray(encoded(extension))
    data[position % len(data) :][: len(rubbish)] = rubbish
    at = position % len(data)
    data[at : at + len(rubbish)] = rubbish
    with contextlib.suppress(ImageError):
        assert decode_compressed(compressed(bytes(data))).ndim == 3


# Webcams leave the end marker out (jacksonliam/mjpg-streamer#47);
# libjpeg fills what is missing of a cut one in silence.
JPEG_KINDS = {
    "baseline": (),
    "restart markers": (cv2.IMWRITE_JPEG_RST_INTERVAL, 4),  # one row of 16 x 16 blocks of the picture
    "progressive": (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "half-size colours": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
}


@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_jpeg_without_its_end_marker(kind: str) -> None:
    picture = np.random.default_rng(2).integers(0, 255, (48, 64, 3), np.uint8)
    whole = cv2.imencode(".jpg", picture, [*JPEG_KINDS[kind]])[1].tobytes()
    assert whole.endswith(END)
    expected = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
    for tail in (b"", b"\xff", bytes(40)):  # half of the marker; a buffer of fixed length
        np.testing.assert_array_equal(decode_compressed(compressed(whole[:-2] + tail)), expected)
    scan = whole.index(b"\xff\xda")
    # a progressive file whose last scans are missing is a whole picture of less quality: cut inside the first
    last_block = 400 if kind != "progressive" else 20  # bytes
    end = len(whole) if kind != "progressive" else whole.index(b"\xff\xc4", scan)
    cuts = range(scan, end - last_block, 7)
    for cut in cuts:
        with pytest.raises(ImageError, match="truncated"):
            decode_compressed(compressed(whole[:cut]))


def test_a_whole_picture_with_a_flat_last_block() -> None:
    picture = smooth()
    picture[-16:, -16:] = 90
    whole = cv2.imencode(".jpg", picture)[1].tobytes()
    assert decode_compressed(compressed(whole[:-2])).shape == (48, 64, 3)


def test_jpeg_of_a_webcam_without_huffman_tables() -> None:
    """MJPEG of UVC webcams leaves DHT out (AVI's MJPG; ITU-T T.81 K.3 has the tables that are meant)."""
    whole = encoded(".jpg", cv2.IMWRITE_JPEG_OPTIMIZE, 0)
    expected = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
    bare = whole
    while (at := bare.find(b"\xff\xc4")) >= 0:
        bare = bare[:at] + bare[at + 2 + int.from_bytes(bare[at + 2 : at + 4], "big") :]
    np.testing.assert_array_equal(decode_compressed(compressed(bare)), expected)


def test_tiff_as_compressed_image_transport_writes_it() -> None:
    """compressed_publisher.cpp, case TIFF: resolution 1 x 1 in inches, 8, 16 or 32 bits; the directory comes last."""
    picture = smooth()
    options = [cv2.IMWRITE_TIFF_RESUNIT, 2, cv2.IMWRITE_TIFF_XDPI, 1, cv2.IMWRITE_TIFF_YDPI, 1]

    def message(pixels: np.ndarray, original: str) -> SimpleNamespace:
        return compressed(cv2.imencode(".tiff", pixels, options)[1].tobytes(), f"{original}; tiff compressed ")

    np.testing.assert_array_equal(decode_compressed(message(picture, "bgr8")), picture)
    wide = picture.astype(np.uint16) << 4
    depth = BitDepth()
    off = cv2.absdiff(decode_compressed(message(wide, "bgr16"), depth), picture)
    assert (depth.bits, int(off.max())) == (12, 1)
    grey = picture[:, :, 0]
    np.testing.assert_array_equal(decode_compressed(message(grey, "mono8")), cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
    with pytest.raises(ImageError, match="measures, not a picture"):
        decode_compressed(message(grey.astype(np.float32), "32FC1"))
    data = message(picture, "bgr8").data.tobytes()
    first = int.from_bytes(data[4:8], "little") + 2
    huge = b"".join(struct.pack("<HHII", tag, 4, 1, 60_000) for tag in (256, 257))  # ImageWidth, ImageLength
    with pytest.raises(ImageError, match="over the limit"):
        decode_compressed(compressed(data[:first] + huge + data[first + 24 :], "tiff"))


@pytest.mark.parametrize("bits", [8, 16])
def test_a_mosaic_that_was_packed_as_it_is_comes_in_colour(bits: int) -> None:
    """image_transport_plugins, compressed_publisher.cpp: what is no colour encoding is packed as its bytes are."""
    mosaic = np.zeros((8, 12), np.uint8 if bits == 8 else np.uint16)
    mosaic[0::2, 0::2] = 2**bits - 1  # a red scene under rggb
    data = cv2.imencode(".png", mosaic)[1].tobytes()
    picture = decode_compressed(compressed(data, f"bayer_rggb{bits}; png compressed "))
    assert picture[2:-2, 2:-2].reshape(-1, 3).tolist() == [[0, 0, 255]] * 32
    grey = decode_compressed(compressed(data, f"mono{bits}; png compressed "))
    assert (grey == (mosaic // (1 if bits == 8 else 257))[..., None]).all()
    done = decode_compressed(compressed(data, "bayer_rggb8; png compressed bgr8"))
    assert (done[..., 0] == done[..., 2]).all(), "this one says that it was developed"


def test_depth_pictures_are_told_apart() -> None:
    """compressed_depth_image_transport, codec.cpp: twelve bytes of ConfigHeader before the PNG, or RVL."""
    data = struct.pack("<Iff", 0, 0.0, 0.0) + encoded(".png")
    with pytest.raises(ImageError, match="carries distances, not a picture; remap `image`"):
        decode_compressed(compressed(data, "16UC1; compressedDepth png"))


def test_png_of_16_bits_is_scaled_by_what_is_in_it() -> None:
    """A compressed mono16 of a 12-bit camera: compressed_image_transport writes "mono16; png compressed "."""
    source = np.linspace(0, 4095, 60 * 40).round().astype(np.uint16).reshape(40, 60)
    data = cv2.imencode(".png", source)[1].tobytes()
    depth = BitDepth()
    got = decode_compressed(compressed(data, "mono16; png compressed "), depth)
    np.testing.assert_array_equal(got[..., 0], np.rint(source * (255 / 4095)).astype(np.uint8))
    assert depth.bits == 12


# Where a parser that reads a length after TEM or RST is led,
# and other ways to a frame header that libjpeg does not see.
SIDE = 16000


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def of_size(jpeg: bytes, side: int) -> bytes:
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 5] + struct.pack(">HH", side, side) + jpeg[at + 9 :]


SMALL_FRAME = segment(0xC0, struct.pack(">BHHB", 8, 8, 8, 3) + b"\1\x11\0\2\x11\0\3\x11\0")


def bomb(kind: str) -> bytes:
    honest = of_size(encoded(".jpg"), SIDE)[2:]
    hidden = segment(0xE1, bytes(64998)) + segment(0xE2, bytes(485) + SMALL_FRAME + bytes(16))
    before = {
        "TEM": b"\xff\x01" + hidden,
        "RST7": b"\xff\xd7" + hidden,
        "rubbish between segments": bytes(7) + hidden,
        "fill bytes": b"\xff" * 9,
        "in a comment": segment(0xFE, SMALL_FRAME),
        "stuffed": b"\xff\x00" + SMALL_FRAME[2:],
        "frame header of a length that lies": b"\xff\xe0\x00\x02" + bytes(3),
    }
    return b"\xff\xd8" + before[kind] + honest


@pytest.mark.parametrize(
    "kind",
    [
        "TEM",
        "RST7",
        "rubbish between segments",
        "fill bytes",
        "in a comment",
        "stuffed",
        "frame header of a length that lies",
    ],
)
def test_a_jpeg_bomb_is_refused_before_it_is_decoded(kind: str) -> None:
    with pytest.raises(ImageError, match=r"limit|corrupt|two frame"):
        decode_compressed(compressed(bomb(kind)))


def test_opencv_has_a_limit_of_its_own_in_every_node() -> None:
    """With our own check away: the second wall, in a process that may use 2 GB."""
    program = (
        "import sys; import emo_face.nodes, numpy as np, cv2\n"
        "try: cv2.imdecode(np.frombuffer(sys.stdin.buffer.read(), np.uint8), 1); print('decoded')\n"
        "except cv2.error: print('refused')"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENCV_IO_MAX_IMAGE_PIXELS"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=bomb("TEM"),
        capture_output=True,
        env=environment,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31)),
    )
    assert done.stdout.strip() == b"refused"
