"""runtime/sources.py on real pictures and video."""

from __future__ import annotations

import http.server
import itertools
import os
import tempfile
import threading
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from emo_face.datasets.pictures.near_duplicates import hash_files
from emo_face.runtime import stills
from emo_face.runtime.sources import PanZoom, SourceError, open_source, resize, shown
from emo_face.runtime.stills import SourceGone

HEADER = b"IHDR" + 2 * (60_000).to_bytes(4, "big") + b"\x08\x02\0\0\0"
TOO_LARGE = b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + HEADER + zlib.crc32(HEADER).to_bytes(4, "big")
"""A PNG that declares 3.6 gigapixels: above OpenCV's limit, where imdecode raises."""


@pytest.fixture
def portrait(assets: Path) -> Path:
    return next(iter(sorted((assets / "images" / "emotion").glob("max_angry.jpg"))))


def test_a_video_is_read_to_its_end_and_again(assets: Path) -> None:
    video = open_source(str(assets / "video" / "WolfgangLanger_Pexels_3063838.mp4"), width=160)
    assert video.rate == pytest.approx(24, abs=0.1)
    first = video.read()
    assert first is not None
    assert first.shape == (90, 160, 3)
    count = 1
    while video.read() is not None:
        count += 1
    assert count == 472
    video.rewind()
    np.testing.assert_array_equal(video.read(), first)
    video.close()


def test_a_folder_gives_its_pictures_in_order(assets: Path) -> None:
    folder = assets / "images" / "people"
    source = open_source(str(folder), width=64, height=48)
    count = 0
    while (frame := source.read()) is not None:
        assert frame.shape == (48, 64, 3)
        count += 1
    assert count == 5
    source.rewind()
    first = sorted(p for p in folder.iterdir() if p.suffix == ".jpg")[0]
    np.testing.assert_array_equal(source.read(), resize(cv2.imread(str(first)), (64, 48)))


def test_a_picture_stays_still_and_a_pan_moves_and_comes_back(portrait: Path) -> None:
    still = open_source(str(portrait), width=320)
    np.testing.assert_array_equal(still.read(), still.read())
    pan = open_source(str(portrait), width=320, pan_zoom=PanZoom(period=2.0, zoom=1.5), frame_rate=10.0)
    round_trip = [pan.read() for _ in range(21)]
    assert all(f.shape == round_trip[0].shape for f in round_trip)
    steps = [np.abs(a.astype(int) - b).mean() for a, b in itertools.pairwise(round_trip)]
    assert min(steps) > 0.5  # moves in every frame
    np.testing.assert_array_equal(round_trip[0], round_trip[20])


def test_resize_cuts_instead_of_stretching() -> None:
    frame = np.zeros((100, 200, 3), np.uint8)
    cv2.circle(frame, (100, 50), 40, (255, 255, 255), -1)
    square = resize(frame, (50, 50))
    assert square.shape == (50, 50, 3)
    white = square[..., 0] > 127
    assert abs(int(white.any(0).sum()) - int(white.any(1).sum())) <= 1  # still a circle
    assert resize(frame, (0, 0)) is frame


def test_pictures_are_read_in_one_place() -> None:
    """cv2.imread raises for a giant and loses the reason of everything else."""
    package = Path(stills.__file__).parents[1]
    assert [path for path in package.rglob("*.py") if "cv2.imread(" in path.read_text(encoding="utf-8")] == []


def test_giants_and_missing_files_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "giant.png").write_bytes(TOO_LARGE)
    assert stills.readable(tmp_path / "giant.png") is None
    assert stills.readable(tmp_path / "missing.png") is None
    with pytest.raises(SourceError, match=r"giant\.png: no picture"):
        hash_files([tmp_path / "giant.png"])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("nothing.mp4", None, "no such file"),
        ("notes.txt", b"hello", "no video that OpenCV can read"),
        ("cut.mp4", b"\x00\x00\x00\x18ftypmp42" + bytes(200), "no video that OpenCV can read"),
        ("broken.jpg", b"\xff\xd8\xff\xe0rubbish", "no picture that OpenCV can read"),
        ("empty.png", b"", "no picture that OpenCV can read"),
        ("too_large.png", TOO_LARGE, "no picture that OpenCV can read"),
        ("folder", "dir", "holds no picture"),
    ],
)
def test_an_unreadable_source_says_what_is_wrong(tmp_path: Path, name: str, content: object, says: str) -> None:
    path = tmp_path / name
    if content == "dir":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(SourceError, match=says):
        open_source(str(path))


def test_a_missing_webcam_says_how_to_find_one() -> None:
    with pytest.raises(SourceError, match=r"webcam 63: cannot be opened; list devices"):
        open_source("63")


def test_one_broken_picture_in_a_folder_is_an_error_the_rest_is_read(tmp_path: Path) -> None:
    for name in ("a", "c"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((4, 4, 3), 7, np.uint8))
    (tmp_path / "b.png").write_bytes(b"no")
    source = open_source(str(tmp_path))
    assert source.read() is not None
    with pytest.raises(SourceError, match=r"b\.png"):
        source.read()
    assert source.read() is not None
    assert source.read() is None


# ---- cameras by udev's names (ros-drivers/usb_cam#344): links to character devices, /dev/v4l/by-id/usb-... by default


def test_a_character_device_is_a_camera_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "robot_camera").symlink_to(os.devnull)
    with pytest.raises(SourceError, match=r"webcam .*robot_camera: cannot be opened.*by-id"):
        open_source(str(tmp_path / "robot_camera"))


@pytest.mark.parametrize("name", ["/dev/v4l/by-id/usb-nobody", "LINK"])
def test_a_device_that_is_not_plugged_in_is_a_camera_too(tmp_path: Path, name: str) -> None:
    """A link of the user's own to udev's name dangles while the camera is away."""
    (tmp_path / "robot_camera").symlink_to("/dev/v4l/by-id/usb-nobody")
    name = name.replace("LINK", str(tmp_path / "robot_camera"))
    with pytest.raises(SourceGone, match=f"webcam {name}"):
        open_source(name)


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no /dev/shm")
def test_a_picture_in_shared_memory_is_no_camera(portrait: Path) -> None:
    with tempfile.NamedTemporaryFile(dir="/dev/shm", suffix=".jpg") as file:
        file.write(portrait.read_bytes())
        file.flush()
        assert not open_source(file.name).live


# ---- network cameras: MJPEG over HTTP as mjpg-streamer, ESP32-CAM and IP cameras serve it (multipart/x-mixed-replace)


@pytest.fixture
def http_camera() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for level in range(10, 250, 20):
                jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), level, np.uint8))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://user:sesame@127.0.0.1:{server.server_port}/?action=stream"
    server.shutdown()


def test_an_http_camera_is_live_and_its_end_is_told(http_camera: str) -> None:
    camera = open_source(http_camera, width=32)
    assert camera.live
    frame = camera.read()
    assert frame is not None
    assert frame.shape == (24, 32, 3)
    assert camera.taken > 0
    count = 1
    while (frame := camera.read()) is not None:
        count += 1
        last = frame
    assert count >= 11
    assert abs(int(last.mean()) - 230) < 8
    camera.close()


def test_a_dead_address_is_named_without_its_password(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        SourceError, match=r"network camera rtsp://user:\*\*\*@127\.0\.0\.1:9/s\?token=\*\*\*:"
    ) as error:
        open_source("rtsp://user:sesame@127.0.0.1:9/s?token=opensesame")
    assert "sesame" not in str(error.value) + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("rtsp://u:p@ss@h/1", "rtsp://u:***@h/1"),
        ("http://h/v?user=me&password=x1&n=2", "http://h/v?user=me&password=***&n=2"),
        ("film: a@b.mp4", "film: a@b.mp4"),
        ("rtsp://h:554/x", "rtsp://h:554/x"),
    ],
)
def test_secrets_of_an_address_are_masked(text: str, printed: str) -> None:
    assert shown(text) == printed


# ---- films of variable frame rate (opencv/opencv#12112): phones in the dark, screen recorders


def test_a_film_of_variable_rate_tells_when_each_frame_is_due(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="writes the film: scripts/setup.sh demo")
    due = [0, 40, 80, 1000, 1010, 1500]  # ms
    with av.open(str(tmp_path / "phone.mp4"), "w") as film:
        stream = film.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for pts in due:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8), format="rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 1000)
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    video = open_source(str(tmp_path / "phone.mp4"))
    for _ in range(2):
        told = []
        while video.read() is not None:
            told.append(video.at)
        assert told == pytest.approx([ms / 1000 for ms in due], abs=0.002)
        video.rewind()


# ---- pictures as browsers save them, and folders as archives leave them


@pytest.mark.parametrize(
    ("name", "kind"), [("p.jfif", "JPEG"), ("p.avif", "AVIF"), ("p.jp2", "JPEG2000"), ("p", "PNG")]
)
def test_pictures_of_every_kind_stay(name: str, kind: str, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="writes the picture: pip install pillow")
    image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(tmp_path / name, kind)
    if not cv2.haveImageReader(str(tmp_path / name)):
        pytest.skip(f"this OpenCV has no {kind}")
    source = open_source(str(tmp_path / name))
    assert all(source.read() is not None for _ in range(50))


def test_a_format_that_opencv_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "p.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with pytest.raises(SourceError, match="lacks HEIC"):
        open_source(str(tmp_path / "p.heic"))


def test_a_copied_folder_plays(tmp_path: Path) -> None:
    for name in ("b.jpg", "c.jpg"):
        cv2.imwrite(str(tmp_path / name), np.full((8, 8, 3), 90, np.uint8))
    (tmp_path / "._b.jpg").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / "a_broken.jpg").write_bytes(b"<html>404 Not Found</html>")
    source = open_source(str(tmp_path))
    with pytest.raises(SourceError, match=r"a_broken\.jpg"):
        source.read()
    assert [source.read() is None for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    "text", ["rtsp://me:sesame@127.0.0.1:9/1\n", "[InternetShortcut]\nURL=rtsp://me:sesame@127.0.0.1:9/1"]
)
def test_an_address_with_a_password_is_read_from_a_file(tmp_path, text):
    path = tmp_path / "camera.url"
    path.write_text(text)
    with pytest.raises(SourceError, match=r"network camera rtsp://me:\*\*\*@127\.0\.0\.1:9/1:"):
        open_source(str(path))
    path.write_text("talk.mp4")
    with pytest.raises(SourceError, match=r"camera\.url: expected the address of a network camera in it"):
        open_source(str(path))
