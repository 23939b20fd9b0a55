"""runtime/sources.py on real pictures and video."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from emo_face.runtime.sources import PanZoom, SourceError, open_source, resize


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


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("nothing.mp4", None, "no such file"),
        ("notes.txt", b"hello", "no video that OpenCV can read"),
        ("cut.mp4", b"\x00\x00\x00\x18ftypmp42" + bytes(200), "no video that OpenCV can read"),
        ("broken.jpg", b"\xff\xd8\xff\xe0rubbish", "no picture that OpenCV can read"),
        ("empty.png", b"", "no picture that OpenCV can read"),
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
