"""Where frames come from: webcam, video file, folder of pictures, one picture. Needs no ROS."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from emo_face.core.errors import Unavailable, UserError
from emo_face.core.types import ImageArray

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"})
PICTURE_RATE = 30.0
FOLDER_RATE = 1.0


class SourceError(UserError):
    """A source cannot be opened or read; names it and what to try."""


class SourceGone(SourceError, Unavailable):
    """A device is not there now."""


UPPER = 0.3  # share of the way down that the pan takes


@dataclass(frozen=True, slots=True)
class PanZoom:
    """A slow hand-held look at a picture.

    Attributes:
        period: seconds of one round. zoom: largest magnification, at least 1.
    """

    period: float = 12.0
    zoom: float = 1.25


class Source(Protocol):
    """A stream of BGR frames.

    Attributes:
        rate: frames a second that it is made for; 0 when reading itself waits for the next frame (webcam).
        live: True for a device, whose end is a fault; False for files, whose end is the end.
        taken: steady seconds when a device took the last frame read; 0 for files.
    """

    rate: float
    live: bool
    taken: float

    def read(self) -> ImageArray | None:
        """The next frame, (height, width, 3) uint8 BGR, or None at the end or when the device is gone."""
        ...

    def rewind(self) -> None:
        """Start again at the first frame."""
        ...

    def close(self) -> None:
        """Release the device or file."""
        ...


def open_source(
    text: str, *, width: int = 0, height: int = 0, pan_zoom: PanZoom | None = None, frame_rate: float = 0.0
) -> Source:
    """Open a webcam index or device, a video, a picture, or a folder of pictures.

    Args:
        width, height: pixels asked of a webcam or scaled and cut to; 0 follows from the other or the source.
        pan_zoom: move over a picture.
        frame_rate: at which a picture is shown, for the speed of the pan; 0 is the default rate.

    Raises:
        SourceError: no such file or device, or nothing in it can be read.
    """
    if text.strip().isdecimal() or text.startswith("/dev/video"):
        return Webcam(text.strip(), width, height)
    path = Path(text).expanduser()
    if not path.exists():
        raise SourceError(f"source {text!r}: no such file or folder; give a webcam index, video, picture or folder")
    size = (width, height)
    if path.is_dir():
        return Pictures(sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES), path, size)
    if path.suffix.lower() in PICTURES:
        return Still(path, size, pan_zoom, frame_rate or PICTURE_RATE)
    return Video(path, size)


def resize(frame: ImageArray, size: tuple[int, int]) -> ImageArray:
    """Scale to (width, height): with one 0 the aspect ratio is kept, with two all; else the middle is cut to fit."""
    height, width = frame.shape[:2]
    if (width, height) == size or not any(size):
        return frame
    scale = max(size[0] / width, size[1] / height)
    wide, high = round(width * scale), round(height * scale)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(frame, (wide, high), interpolation=how)
    left, top = (wide - (size[0] or wide)) // 2, (high - (size[1] or high)) // 2
    cut = scaled[top : top + (size[1] or high), left : left + (size[0] or wide)]
    return np.ascontiguousarray(cut, np.uint8)


def _picture(path: Path) -> ImageArray:
    try:
        data = np.fromfile(path, np.uint8)  # cv2.imread loses the reason
        frame = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except OSError as error:
        raise SourceError(f"picture {path}: {error.strerror}") from None
    if frame is None:
        raise SourceError(f"picture {path}: no picture that OpenCV can read; convert it to JPEG or PNG")
    return np.asarray(frame, np.uint8)


class Still:
    """One picture for ever, still or under a slow pan and zoom; ``rate`` frames make a second of the pan."""

    live = False
    taken = 0.0

    def __init__(self, path: Path, size: tuple[int, int], pan_zoom: PanZoom | None, rate: float) -> None:
        self.rate = rate
        self._frame = resize(_picture(path), size)
        self._pan = pan_zoom
        self._index = 0

    def read(self) -> ImageArray | None:
        """The next view; never ends."""
        time, self._index = self._index / self.rate, self._index + 1
        return self._frame if self._pan is None else _view(self._frame, self._pan, time)

    def rewind(self) -> None:
        """Start the pan again."""
        self._index = 0

    def close(self) -> None:
        """Nothing to release."""


def _view(frame: ImageArray, pan: PanZoom, time: float) -> ImageArray:
    """The window of ``frame`` at ``time`` seconds, scaled back to full size.

    Zoom breathes and the window goes in an eight, in the upper part of the picture: there people's heads are.
    """
    height, width = frame.shape[:2]
    phase = 2 * math.pi * time / pan.period
    zoom = 1 + (pan.zoom - 1) * (0.75 - 0.25 * math.cos(phase))
    across, down = (width - width / zoom) / 2, (height - height / zoom) / 2
    x, y = across * (1 + math.sin(phase)), down * UPPER * (1 + math.sin(2 * phase))
    matrix = np.array([[zoom, 0, -zoom * x], [0, zoom, -zoom * y]])
    return np.asarray(cv2.warpAffine(frame, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


class Pictures:
    """The pictures of a folder in order of their names."""

    live = False
    taken = 0.0
    rate = FOLDER_RATE

    def __init__(self, paths: list[Path], folder: Path, size: tuple[int, int]) -> None:
        if not paths:
            raise SourceError(f"folder {folder}: holds no picture ({', '.join(sorted(PICTURES))})")
        self._paths, self._size = paths, size
        self._left: Iterator[Path] = iter(paths)
        _picture(paths[0])  # an unreadable folder is found now, not later

    def read(self) -> ImageArray | None:
        """The next picture. Raises SourceError for one that cannot be read; the next call goes on after it."""
        path = next(self._left, None)
        return None if path is None else resize(_picture(path), self._size)

    def rewind(self) -> None:
        """Back to the first picture."""
        self._left = iter(self._paths)

    def close(self) -> None:
        """Nothing to release."""


class Video:
    """A video file."""

    live = False
    taken = 0.0

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self._path, self._size = path, size
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened() or not self._capture.grab():
            self._capture.release()
            raise SourceError(
                f"video {path}: no video that OpenCV can read; convert it: ffmpeg -i IN -c:v libx264 OUT.mp4"
            )
        self._pending = True
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.rate = rate if math.isfinite(rate) and 0 < rate <= 1000 else PICTURE_RATE

    def read(self) -> ImageArray | None:
        """The next frame; None at the end."""
        grabbed = self._pending or self._capture.grab()
        self._pending = False
        if not grabbed:
            return None
        done, frame = self._capture.retrieve()
        return resize(np.asarray(frame, np.uint8), self._size) if done else None

    def rewind(self) -> None:
        """Back to the first frame; opened anew, because seeking is inexact in many containers."""
        self._capture.release()
        self._capture = cv2.VideoCapture(str(self._path))
        self._pending = False

    def close(self) -> None:
        """Release the file."""
        self._capture.release()


class Webcam:
    """A camera of this machine; reading waits for the next frame."""

    live = True
    rate = 0.0

    def __init__(self, name: str, width: int, height: int) -> None:
        self._capture: Any = cv2.VideoCapture(int(name) if name.isdecimal() else name)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceGone(
                f"webcam {name}: cannot be opened; list devices with `ls /dev/video*`, join group video, "
                "or give a file as source"
            )
        self.taken = 0.0
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not one of four ago
        for key, value in ((cv2.CAP_PROP_FRAME_WIDTH, width), (cv2.CAP_PROP_FRAME_HEIGHT, height)):
            if value:
                self._capture.set(key, value)

    def read(self) -> ImageArray | None:
        """The next frame; None when the device is gone."""
        if not self._capture.grab():
            return None
        self.taken = time.monotonic()  # before decoding, which takes milliseconds
        done, frame = self._capture.retrieve()
        return np.asarray(frame, np.uint8) if done and frame is not None else None

    def rewind(self) -> None:
        """Nothing to do: a camera has no beginning."""

    def close(self) -> None:
        """Release the device."""
        self._capture.release()
