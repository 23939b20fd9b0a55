"""ros/images/convert.py: every encoding against OpenCV's pixels, every broken message against a clear error."""

from __future__ import annotations

import array
import contextlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_face.ros.images.convert import ENCODINGS, MAX_PIXELS, ImageError, decode_compressed, to_array, to_bgr

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


@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
@pytest.mark.parametrize("big", [False, True])
def test_16_bit_honours_endianness(encoding: str, big: bool) -> None:
    source = noise(20, 31, dtype=np.uint16)
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
        (broken(encoding="bayer_rggb8"), "unknown 'bayer_rggb8', expected one of rgb8"),
        (broken(encoding=""), "encoding"),
        (broken(height=2**31, width=2**31), "limit"),
        (broken(encoding="mono16", width=9, step=19), "step"),
        (message(noise(4, 7, 2), "yuv422"), "even width"),
        (message(noise(5, 6), "nv12"), "nv12"),
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


def compressed(data: bytes, declared: str = "jpeg") -> SimpleNamespace:
    return SimpleNamespace(data=array.array("B", data), format=declared)


def encoded(extension: str) -> bytes:
    smooth = cv2.resize(noise(4, 4, 3), (64, 48), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(extension, smooth)[1].tobytes()


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_compressed_pixels_equal_opencv(extension: str) -> None:
    data = encoded(extension)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decode_compressed(compressed(data, "bgr8; compressed bgr8")), expected)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"", "empty"),
        (b"hello, this is no picture", "neither JPEG nor PNG"),
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
