"""From a bag to the files that people look at: JSON, page and film."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from emo_face.recording.page import write_page
from emo_face.recording.recording import load
from emo_face.recording.summary import summarise
from emo_face.recording.video import write_video
from emo_face.runtime.files import write_json
from emo_face.runtime.progress import bar


def write_report(
    bag: Path,
    out: Path,
    stem: str,
    peak_rss_mb: float | None = None,
    video: bool = True,
    rig: str = "",
    encode: Callable[[Any], bytes] | None = None,
) -> list[Path]:
    """Write ``stem.json``, ``stem.html`` and, unless told not to, ``stem.mp4`` into ``out``; returns their paths.

    ``rig``: the film shows this servo head, simulated, instead of the screen face. ``encode``: see :func:`load`.

    Raises:
        UserError: the bag is missing or empty, or an extra is not installed.
    """
    recording = load(bag, encode)
    summary = summarise(recording, peak_rss_mb)
    figures = write_json(out / f"{stem}.json", summary)
    page, film = out / f"{stem}.html", out / f"{stem}.mp4"
    filmed = video and bool(recording.frames)
    write_page(recording, page, summary, film.name if filmed else "")
    written = [figures, page]
    if filmed:
        with bar(f"filming {film} (%)", 100) as tick:
            write_video(recording, film, progress=lambda share: tick(round(100 * share)), rig=rig)
        written.append(film)
    return written
