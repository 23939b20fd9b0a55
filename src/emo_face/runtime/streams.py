"""What moves: video files, cameras of this machine, and cameras on a network."""

import math
import re
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from emo_face.core.types import ImageArray
from emo_face.runtime.stills import PICTURE_RATE, Source, SourceError, SourceGone, resize

NETWORK = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "srt")
"""Schemes that OpenCV's FFmpeg opens."""
WAIT_MS = 5000  # for a network camera to answer, or for its next frame


class Video(Source):
    """A video file; ``at`` is the time of the last frame read, seconds from the first one's."""

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self._path, self._size = path, size
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened() or not self._capture.grab():
            self._capture.release()
            raise SourceError(
                f"video {path}: no video that OpenCV can read; convert it: ffmpeg -i IN -c:v libx264 OUT.mp4"
            )
        self._pending = True
        self._first: float | None = None
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.rate = rate if math.isfinite(rate) and 0 < rate <= 1000 else PICTURE_RATE

    def read(self) -> ImageArray | None:
        """The next frame; None at the end."""
        grabbed = self._pending or self._capture.grab()
        self._pending = False
        if not grabbed:
            return None
        done, frame = self._capture.retrieve()
        self._tell_time()
        return resize(np.asarray(frame, np.uint8), self._size) if done else None

    def _tell_time(self) -> None:
        """Films of phones and screen recorders have no constant rate: the container knows when each frame is due."""
        stamp = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        if not math.isfinite(stamp):
            self.at = None
            return
        if self._first is None:
            self._first = stamp
        self.at = stamp - self._first

    def rewind(self) -> None:
        """Back to the first frame; opened anew, because seeking is inexact in many containers."""
        self._capture.release()
        self._capture = cv2.VideoCapture(str(self._path))
        self._pending, self._first = False, None

    def close(self) -> None:
        """Release the file."""
        self._capture.release()


class Webcam(Source):
    """A camera of this machine, by index or by any name of its device; reading waits for the next frame."""

    live = True
    rate = 0.0

    def __init__(self, name: str, width: int, height: int) -> None:
        self._capture: Any = _device(name)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceGone(
                f"webcam {name}: cannot be opened; list devices with `ls -l /dev/video* /dev/v4l/by-id/`, join group "
                "video, or give a file as source"
            )
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

    def close(self) -> None:
        """Release the device."""
        self._capture.release()


def _device(name: str) -> Any:
    """Open an index or a device file; names of udev rules (``/dev/v4l/by-id/...``) are links to /dev/videoN."""
    if name.isdecimal():
        return cv2.VideoCapture(int(name))
    device = str(Path(name).resolve())
    # other names OpenCV would take for files
    return cv2.VideoCapture(device, cv2.CAP_ANY if device.startswith("/dev/video") else cv2.CAP_V4L2)


class NetworkCamera(Webcam):
    """A camera that is read over a network; passwords in its address are never shown."""

    def __init__(self, url: str, size: tuple[int, int]) -> None:
        self._size = size
        waits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, WAIT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, WAIT_MS]
        self._capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, waits)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceGone(
                f"network camera {shown(url)}: nothing that can be read answers there; try it by `ffplay`, or run its "
                "ROS driver and remap `image`"
            )

    def read(self) -> ImageArray | None:
        """The next frame, scaled as asked; None when nothing comes any more."""
        frame = super().read()
        return None if frame is None else resize(frame, self._size)


def is_network(text: str) -> bool:
    """Whether ``text`` is the address of a network camera."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme.lower() in NETWORK


def shown(text: str) -> str:
    """A source as it may be printed: without user's password and without secrets in the query."""
    text = re.sub(r"(://[^/@:\s]*:)[^/\s]*@", r"\1***@", text)
    return re.sub(r"(?i)([?&][^=&\s]*(?:pass|pwd|token|key|secret|auth|sig)[^=&\s]*=)[^&\s]+", r"\1***", text)
