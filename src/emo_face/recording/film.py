"""Pictures to an H.264 film, which browsers and robots' tablets play."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.core.types import ImageArray


class FilmWriter:
    """Use it in a ``with`` block; ``path`` None writes nothing.

    Raises:
        UserError: PyAV is missing, or the file cannot be written.
    """

    def __init__(self, path: Path | None, rate: float) -> None:
        """``rate``: frames/s."""
        self._path, self._rate = path, Fraction(rate).limit_denominator(1001)
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> "FilmWriter":
        if self._path is None:
            return self
        try:
            import av
        except ImportError:
            raise UserError(f"{self._path}: a film needs PyAV: {how_to_install('demo')}") from None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self._path), "w", format="mp4")
        except (OSError, av.error.FFmpegError) as error:
            raise UserError(f"{self._path}: cannot be written: {error}") from None
        return self

    def add(self, picture: ImageArray) -> None:
        """The next frame, H x W x 3 BGR uint8, of the first one's size; odd sides lose a pixel (4:2:0)."""
        if self._container is None:
            return
        import av

        height, width = (side // 2 * 2 for side in picture.shape[:2])
        if self._stream is None:
            options = {"crf": "23", "preset": "veryfast"}
            self._stream = self._container.add_stream("libx264", rate=self._rate, options=options)
            self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"
        frame = av.VideoFrame.from_ndarray(picture[:height, :width].copy(), format="bgr24")
        self._container.mux(self._stream.encode(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container is None:
            return
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
