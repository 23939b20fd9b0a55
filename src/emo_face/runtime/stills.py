"""Pictures as a stream of frames: one picture, still or under a slow pan and zoom, or a folder of them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from emo_face.core.errors import Unavailable, UserError
from emo_face.core.paths import is_stray
from emo_face.core.types import ImageArray

PICTURES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".webp",
        ".tif",
        ".tiff",
        ".pgm",
        ".ppm",
        ".pnm",
        ".avif",
        ".jp2",
        ".heic",
        ".heif",
    }
)
MOVING = frozenset({".gif", ".mjpg", ".mjpeg", ".apng"})  # begin like a picture
PICTURE_RATE = 30.0
FOLDER_RATE = 1.0
UPPER = 0.3  # share of the way down that the pan takes


class SourceError(UserError):
    """A source cannot be opened or read; names it and what to try."""


class SourceGone(SourceError, Unavailable):
    """A camera is not there now."""


@dataclass(frozen=True, slots=True)
class PanZoom:
    """A slow hand-held look at a picture.

    Attributes:
        period: seconds of one round. zoom: largest magnification, at least 1.
    """

    period: float = 12.0
    zoom: float = 1.25


def is_picture(path: Path) -> bool:
    """Whether a file is a picture: by its name, else by its first bytes."""
    suffix = path.suffix.lower()
    return suffix in PICTURES or (suffix not in MOVING and path.is_file() and bool(cv2.haveImageReader(str(path))))


def resize(frame: ImageArray, size: tuple[int, int]) -> ImageArray:
    """Scale to (width, height): with one 0 the aspect ratio is kept, with two all; else the middle is cut to fit."""
    height, width = frame.shape[:2]
    if (width, height) == size or not any(size):
        return frame
    scale = max(size[0] / width, size[1] / height)
    wide, high = round(width * scale), round(height * scale)
    scaled = cv2.resize(frame, (wide, high), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (wide - (size[0] or wide)) // 2, (high - (size[1] or high)) // 2
    return np.ascontiguousarray(scaled[top : top + (size[1] or high), left : left + (size[0] or wide)], np.uint8)


def read_picture(path: Path, how: int = cv2.IMREAD_COLOR) -> ImageArray:
    """(height, width, 3) uint8 BGR, or as OpenCV's flags ``how`` say. Raises SourceError naming the file."""
    try:
        frame = decoded(path.read_bytes(), how)  # cv2.imread loses the reason, and raises for giants
    except OSError as error:
        raise SourceError(f"picture {path}: {error.strerror}") from None
    if frame is None:
        why = f"damaged or too large, or this OpenCV lacks {path.suffix[1:].upper() or 'its format'}"
        raise SourceError(f"picture {path}: no picture that OpenCV can read ({why}); convert it to JPEG or PNG")
    return frame


def readable(path: Path) -> ImageArray | None:
    """(height, width, 3) uint8 BGR, or None for a file that is no picture, damaged or gone."""
    try:
        return read_picture(path)
    except SourceError:
        return None


def decoded(data: bytes, how: int = cv2.IMREAD_COLOR) -> ImageArray | None:
    """(height, width, 3) uint8 BGR of a picture file's bytes; None if they are none, damaged or declare too much."""
    try:
        frame = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:  # no bytes, or more pixels than OPENCV_IO_MAX_IMAGE_PIXELS
        return None
    return None if frame is None else np.asarray(frame, np.uint8)


class Source(ABC):
    """A stream of BGR frames.

    Attributes:
        rate: intended frames per second; 0 if reading itself waits for the next frame (webcam).
        live: True for a device, whose end is a fault; False for files, whose end is the end.
        taken: steady seconds when a device took the last frame read; 0 for files.
        at: seconds between the first frame and the last one read, by a film's own stamps; None without.
    """

    rate: float
    live = False
    taken = 0.0
    at: float | None = None

    @abstractmethod
    def read(self) -> ImageArray | None:
        """The next frame, (height, width, 3) uint8 BGR, or None at the end or when the device is gone."""

    def rewind(self) -> None:  # noqa: B027
        """Start again at the first frame; a camera has none."""

    def close(self) -> None:  # noqa: B027
        """Release the device or file, if there is one."""


class Still(Source):
    """One picture for ever, still or under a slow pan and zoom; ``rate`` frames make a second of the pan."""

    def __init__(self, path: Path, size: tuple[int, int], pan_zoom: PanZoom | None, rate: float) -> None:
        self.rate = rate
        self._frame = resize(read_picture(path), size)
        self._pan = pan_zoom
        self._index = 0

    def read(self) -> ImageArray | None:
        """The next view; never ends."""
        time, self._index = self._index / self.rate, self._index + 1
        return self._frame if self._pan is None else _view(self._frame, self._pan, time)

    def rewind(self) -> None:
        """Start the pan again."""
        self._index = 0


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


class Pictures(Source):
    """The pictures of a folder in order of their names; stray files of archives and editors are left out."""

    rate = FOLDER_RATE

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self._paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES and not is_stray(p))
        self._size = size
        self._left: Iterator[Path] = iter(self._paths)
        if not self._paths:
            raise SourceError(f"folder {folder}: holds no picture ({', '.join(sorted(PICTURES))})")
        self._check()

    def _check(self) -> None:
        """A folder in which nothing can be read is found now, not later."""
        first: SourceError | None = None
        for path in self._paths:
            try:
                read_picture(path)
                return
            except SourceError as error:
                first = first or error
        assert first is not None
        raise first

    def read(self) -> ImageArray | None:
        """The next picture. Raises SourceError for one that cannot be read; the next call goes on after it."""
        path = next(self._left, None)
        return None if path is None else resize(read_picture(path), self._size)

    def rewind(self) -> None:
        """Back to the first picture."""
        self._left = iter(self._paths)
