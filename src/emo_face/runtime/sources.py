"""Where frames come from: webcam, network camera, video file, folder of pictures, one picture. Needs no ROS."""

from pathlib import Path

from emo_face.runtime.stills import PICTURE_RATE, PanZoom, Pictures, Source, SourceError, Still, is_picture, resize
from emo_face.runtime.streams import NetworkCamera, Video, Webcam, is_network, shown

__all__ = ["PanZoom", "Source", "SourceError", "is_picture", "open_source", "resize", "shown"]


def open_source(
    text: str, *, width: int = 0, height: int = 0, pan_zoom: PanZoom | None = None, frame_rate: float = 0.0
) -> Source:
    """Open a webcam index or device, a network camera, a video, a picture, or a folder of pictures.

    A file ``NAME.url`` holds the address of a network camera: a password in it is in no process list.

    Args:
        width, height: pixels asked of a webcam or scaled and cut to; 0 follows from the other or the source.
        pan_zoom: move over a picture.
        frame_rate: at which a picture is shown, for the speed of the pan; 0 is the default rate.

    Raises:
        SourceError: no such file or device, or nothing in it can be read.
    """
    text, size = text.strip(), (width, height)
    if is_network(text):
        return NetworkCamera(text, size)
    path = Path(text).expanduser()
    if path.suffix.lower() == ".url" and path.is_file():
        return NetworkCamera(_address(path), size)
    if text.isdecimal() or _is_device(path.resolve()):
        return Webcam(text if text.isdecimal() else str(path), width, height)
    if not path.exists():
        raise SourceError(
            f"source {shown(text)!r}: no such file or folder; give a webcam index or device, a network camera "
            "(rtsp://, http://), a video, a picture or a folder"
        )
    if path.is_dir():
        return Pictures(path, size)
    if is_picture(path):
        return Still(path, size, pan_zoom, frame_rate or PICTURE_RATE)
    return Video(path, size)


def _is_device(target: Path) -> bool:
    """Whether a name, its links followed, is a camera's: also of one that is unplugged, but not a film in /dev/shm."""
    return target.is_char_device() or (target.parts[:2] == ("/", "dev") and not target.exists())


def _address(path: Path) -> str:
    """The address in a ``.url`` file: its first line, or the ``URL=`` of a desktop's shortcut."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = next((line.removeprefix("URL=").strip() for line in lines if is_network(line.removeprefix("URL="))), "")
    if not found:
        raise SourceError(f"source {path}: expected the address of a network camera in it, such as rtsp://...")
    return found
