"""ros/images/convert.py: every encoding against OpenCV's pixels, every broken message against a clear error."""

from __future__ import annotations

import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_face.core.errors import ImageError
from emo_face.ros.images.compressed import decode_compressed
from emo_face.ros.images.convert import ENCODINGS, to_array, to_bgr
from emo_face.ros.images.depth import DEPTHS, BitDepth

RNG = np.random.default_rng(2)


def message(
    pixels: np.ndarray, encoding: str, *, pad: int = 0, big: bool = False, height: int | None = None
) -> SimpleNamespace:
    """A message like rclpy's, with ``pad`` bytes of rubbish after each row."""
    ordered = pixels.astype(">u2") if big else pixels
    rows = np.ascontiguousarray(ordered).view(np.uint8).reshape(pixels.shape[0], -1)
    padded = np.hstack([rows, np.full((rows.shape[0], pad), 0xAB, np.uint8)])
    return SimpleNamespace(
        height=height or pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(big),
        step=padded.shape[1],
        data=array.array("B", padded.tobytes()),
    )


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


CASES = [
    ("rgb8", 3, cv2.COLOR_RGB2BGR),
    ("bgra8", 4, cv2.COLOR_BGRA2BGR),
    ("rgba8", 4, cv2.COLOR_RGBA2BGR),
    ("mono8", 1, cv2.COLOR_GRAY2BGR),
    ("yuv422", 2, cv2.COLOR_YUV2BGR_UYVY),
    ("yuv422_yuy2", 2, cv2.COLOR_YUV2BGR_YUY2),
    ("uyvy", 2, cv2.COLOR_YUV2BGR_UYVY),
    ("yuyv", 2, cv2.COLOR_YUV2BGR_YUY2),
    ("8UC1", 1, cv2.COLOR_GRAY2BGR),
    ("8UC4", 4, cv2.COLOR_BGRA2BGR),
]


@pytest.mark.parametrize("pad", [0, 6])
@pytest.mark.parametrize(("encoding", "channels", "code"), CASES)
def test_pixels_equal_opencv(encoding: str, channels: int, code: int, pad: int) -> None:
    source = noise(70, 66, channels)
    expected = cv2.cvtColor(source, code)
    got = to_bgr(message(source, encoding, pad=pad))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("pad", [0, 10])
@pytest.mark.parametrize("buffer_height", [True, False])
def test_nv12_with_either_meaning_of_height(buffer_height: bool, pad: int) -> None:
    planes = noise(132 * 3 // 2, 64)
    expected = cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_NV12)
    msg = message(planes, "nv12", pad=pad, height=198 if buffer_height else 132)
    np.testing.assert_array_equal(to_bgr(msg), expected)


def bt601(luma: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """ITU-R BT.601-7, limited range, to BGR: the textbook's numbers, in floating point."""
    y, cb, cr = (plane.astype(np.float64) for plane in (luma, u, v))
    y = 255 / 219 * np.maximum(y - 16, 0)
    cb, cr = (255 / 224 * (plane - 128) for plane in (cb, cr))
    bgr = np.stack([y + 1.772 * cb, y - 0.344136 * cb - 0.714136 * cr, y + 1.402 * cr], axis=-1)
    return np.clip(bgr, 0, 255)


# Layouts: docs.kernel.org/userspace-api/media/v4l/pixfmt-yuv-planar.html, which sensor_msgs/image_encodings.hpp names.
# nv12: luma, then U and V in turn at half size; nv21: V first; nv24: full size, a row of chroma has twice the bytes.
@pytest.mark.parametrize("pad", [0, 10])
@pytest.mark.parametrize("encoding", ["nv12", "nv21", "nv24"])
def test_planes_are_those_of_v4l2(encoding: str, pad: int) -> None:
    height, width = 32, 48
    shrink = 1 if encoding == "nv24" else 2
    luma, u, v = noise(height, width), *(noise(height // shrink, width // shrink) for _ in range(2))
    pair = np.stack([v, u] if encoding == "nv21" else [u, v], axis=-1).reshape(height // shrink, -1)
    chroma = np.hstack([pair, np.zeros((len(pair), 2 * pad // shrink), np.uint8)])
    data = np.hstack([luma, np.zeros((height, pad), np.uint8)]).tobytes() + chroma.tobytes()
    msg = SimpleNamespace(height=height, width=width, encoding=encoding, is_bigendian=0, step=width + pad, data=data)
    whole = (np.repeat(np.repeat(plane, shrink, 0), shrink, 1) for plane in (u, v))
    assert np.abs(to_bgr(msg) - bt601(luma, *whole)).max() < 1.6  # OpenCV's constants have three digits


# What is red in the first two pixels of the first two rows (sensor_msgs/image_encodings.hpp: the pattern's letters).
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_bayer_patterns(pattern: str, bits: int) -> None:
    colour = {"b": 40, "g": 90, "r": 200}
    tile = np.array([colour[letter] for letter in pattern], np.uint8).reshape(2, 2)
    mosaic = np.tile(tile, (8, 9))
    source = mosaic if bits == 8 else mosaic.astype(np.uint16) * 257
    depth = BitDepth()
    depth.bits = 16
    got = to_bgr(message(source, f"bayer_{pattern}{bits}", pad=4), depth)
    np.testing.assert_array_equal(got, np.broadcast_to(np.uint8([40, 90, 200]), (16, 18, 3)))


@pytest.mark.parametrize("encoding", ["rgb16", "bgr16", "rgba16", "bgra16", "16UC3", "16UC4"])
@pytest.mark.parametrize("big", [False, True])
def test_colour_of_16_bits(encoding: str, big: bool) -> None:
    channels = 4 if "a" in encoding or encoding.endswith("4") else 3
    source = noise(9, 14, channels, dtype=np.uint16)
    source[0, 0] = 65535
    eight = np.rint(source / 257.0).astype(np.uint8)[..., :3]
    expected = eight[..., ::-1] if encoding.startswith("rgb") else eight
    np.testing.assert_array_equal(to_bgr(message(source, encoding, big=big, pad=6)), expected)


@pytest.mark.parametrize("bits", DEPTHS)
def test_every_value_of_every_depth_is_scaled_and_rounded(bits: int) -> None:
    source = np.arange(1 << bits, dtype=np.uint16).reshape(1, -1)
    expected = np.rint(source * (255.0 / ((1 << bits) - 1))).astype(np.uint8)
    got = to_bgr(message(source, "mono16"))
    np.testing.assert_array_equal(got, np.repeat(expected[..., None], 3, axis=2))


def test_a_dark_picture_does_not_change_the_depth_of_its_stream() -> None:
    depth = BitDepth()
    bright, dark = (np.full((4, 4), level, np.uint16) for level in (4095, 1000))  # a camera of 12 bits
    assert to_bgr(message(bright, "mono16"), depth).max() == 255
    assert to_bgr(message(dark, "mono16"), depth).max() == 62
    assert depth.bits == 12


@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
@pytest.mark.parametrize("big", [False, True])
def test_16_bit_honours_endianness(encoding: str, big: bool) -> None:
    source = noise(20, 31, dtype=np.uint16)
    source[0, 0] = 65535
    msg = message(source, encoding, big=big, pad=2)
    np.testing.assert_array_equal(to_array(msg), source)
    expected = np.rint(source * (255.0 / 65535.0)).astype(np.uint8)  # cv_bridge's scale
    np.testing.assert_array_equal(to_bgr(msg), np.repeat(expected[..., None], 3, axis=2))


def test_bgr8_is_a_read_only_view_also_with_padding() -> None:
    source = noise(10, 12, 3)
    for pad in (0, 5):
        msg = message(source, "bgr8", pad=pad)
        view = to_bgr(msg)
        np.testing.assert_array_equal(view, source)
        assert np.shares_memory(view, np.frombuffer(msg.data, np.uint8))
        with pytest.raises(ValueError, match="read-only"):
            view[0, 0] = 0


def test_equals_cv_bridge_where_it_can_be_imported() -> None:
    bridge = pytest.importorskip("cv_bridge", reason="no cv_bridge; pixels are compared with OpenCV's above")
    sensor = pytest.importorskip("sensor_msgs.msg")
    for encoding, channels, _ in CASES:
        m = message(noise(20, 22, channels), encoding)
        ros = sensor.Image(height=m.height, width=m.width, encoding=encoding, step=m.step, data=m.data)
        np.testing.assert_array_equal(to_bgr(ros), bridge.CvBridge().imgmsg_to_cv2(ros, "bgr8"))


def broken(**changes: object) -> SimpleNamespace:
    msg = message(noise(4, 6, 3), "bgr8")
    msg.__dict__.update(changes)
    return msg


@pytest.mark.parametrize(
    ("msg", "names"),
    [
        (broken(height=0), "height"),
        (broken(width=0, step=0), "width"),
        (broken(height=0, width=0, step=0, data=array.array("B")), "height x width: 0 x 0"),
        (broken(data=array.array("B")), "truncated, got 0 bytes"),
        (broken(data=array.array("B", bytes(71))), "truncated, got 71 bytes, expected 72"),
        (broken(step=17), "step: got 17, expected at least 18"),
        (broken(step=2**31), "truncated"),
        (
            broken(encoding="yuv9"),
            "unknown 'yuv9', expected one of .*bayer_rggb8.*choose one of them in the camera driver",
        ),
        (broken(encoding="32FC1"), "'32FC1' carries distances or other measures"),
        (broken(encoding="8UC2"), "'8UC2' carries distances or other measures"),
        (broken(encoding=""), "encoding"),
        (broken(height=2**31, width=2**31), "limit"),
        (broken(encoding="mono16", width=9, step=19), "step"),
        (message(noise(4, 7, 2), "yuv422"), "even width"),
        (message(noise(5, 6), "nv12"), "nv12"),
        (message(noise(5, 6), "nv24"), "nv24 needs three rows of bytes per row"),
        (message(noise(5, 6), "nv24", height=2), "truncated"),
    ],
)
def test_broken_messages_name_the_field(msg: SimpleNamespace, names: str) -> None:
    with pytest.raises(ImageError, match=names):
        to_bgr(msg)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([*ENCODINGS, "x"]),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 64),
    st.binary(max_size=300),
    st.booleans(),
)
def test_any_message_is_a_picture_or_an_image_error(
    encoding: str, height: int, width: int, step: int, data: bytes, big: bool
) -> None:
    msg = SimpleNamespace(height=height, width=width, encoding=encoding, step=step, data=data, is_bigendian=int(big))
    try:
        picture = to_bgr(msg)
    except ImageError:
        return
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (width, 3)


def test_8k_is_read_in_place() -> None:
    data = array.array("B", bytes(7680 * 4320 * 3))
    msg = SimpleNamespace(height=4320, width=7680, encoding="bgr8", step=7680 * 3, is_bigendian=0, data=data)
    picture = to_bgr(msg)
    assert picture.shape == (4320, 7680, 3)
    assert np.shares_memory(picture, np.frombuffer(data, np.uint8))
    narrow = SimpleNamespace(**{**msg.__dict__, "encoding": "nv12", "step": 7680})
    assert to_bgr(narrow).shape == (4320, 7680, 3)


def test_messages_made_here_read_back() -> None:
    pytest.importorskip("rclpy")
    from std_msgs.msg import Header

    from emo_face.ros.images.convert import compressed_message, image_message

    picture = noise(9, 14, 3)
    msg = image_message(picture[:, ::-1], Header(frame_id="camera"))
    np.testing.assert_array_equal(to_bgr(msg), picture[:, ::-1])
    assert (msg.step, msg.header.frame_id) == (42, "camera")
    assert decode_compressed(compressed_message(picture, Header(), 95)).shape == picture.shape
