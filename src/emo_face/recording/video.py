"""A recording as a film: what the camera saw and the scores on the left, the robot's face on the right."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.core.types import ImageArray
from emo_face.face.pictures.sketch import draw_face
from emo_face.perception.debug import draw
from emo_face.perception.lettering import width_of, write
from emo_face.recording.film import FilmWriter
from emo_face.recording.moments import teller
from emo_face.recording.recording import Recording, Scores
from emo_face.runtime.stills import decoded

if TYPE_CHECKING:
    from emo_face.face.sim.picture import SimHead

HEIGHT = 540  # of the film; the camera side keeps its own aspect
FACE_WIDTH = 540
LONGEST_GAP = 60.0  # s that a picture stands still
SPEECH_SECONDS = 4.0  # a line of speech stays readable for so long
INK = (235, 235, 235)
PAPER = (28, 24, 22)


@dataclass(frozen=True)
class Film:
    """A recording with its tracks as sorted arrays, so that each frame is a few bisections."""

    recording: Recording
    score_stamps: list[float]
    shape_stamps: list[float]
    shown_stamps: list[float]
    head: SimHead | None = None

    @classmethod
    def of(cls, recording: Recording, head: SimHead | None = None) -> Film:
        return cls(
            recording,
            [s.stamp for s in recording.scores],
            [stamp for stamp, _ in recording.blendshapes],
            [e.stamp for e in recording.expressions],
            head,
        )

    def frame(self, stamp: float, camera: ImageArray) -> ImageArray:
        """One picture of the film, of what the camera saw; H x W x 3 BGR with even sides."""
        scores = _at(self.recording.scores, self.score_stamps, stamp)
        if scores is not None and scores.people:
            camera = draw(camera, scores.people, scores.emotions, label_set(scores.emotions[0].label_set))
        width = round(camera.shape[1] * HEIGHT / camera.shape[0] / 2) * 2
        left = cv2.resize(camera, (width, HEIGHT), interpolation=cv2.INTER_AREA)
        picture = np.hstack([left, self._face(stamp)])
        self._caption(picture, stamp, scores)
        return picture

    def _face(self, stamp: float) -> ImageArray:
        entry = _at(self.recording.blendshapes, self.shape_stamps, stamp)
        shapes = np.zeros(52, np.float32) if entry is None else entry[1]
        if self.head is None:
            return draw_face(shapes, (FACE_WIDTH, HEIGHT))
        self.head.until(shapes, stamp)
        return np.asarray(cv2.resize(self.head.draw(), (FACE_WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)

    def _caption(self, picture: ImageArray, stamp: float, scores: Scores | None) -> None:
        shown = _at(self.recording.expressions, self.shown_stamps, stamp)
        left_width = picture.shape[1] - FACE_WIDTH
        if shown is not None:
            feels = f"{shown.person_emotion} {shown.confidence:.0%}" if shown.person_emotion else "unknown"
            shows = f"{shown.shown} {shown.strength:.0%}" if shown.strength > 0 else shown.shown
            if who := teller(shown):
                _write(picture, f"{who} feels: {feels}", (left_width + 16, HEIGHT - 44))
            _write(picture, f"the face shows: {shows}", (left_width + 16, HEIGHT - 16))
        if scores is not None:
            _write(picture, f"camera to scores {scores.latency * 1e3:.0f} ms", (left_width + 16, 30), 0.5)
        for said, text in reversed(self.recording.speech):
            if said <= stamp < said + SPEECH_SECONDS:
                cv2.rectangle(picture, (0, HEIGHT - 40), (left_width, HEIGHT), PAPER, -1)
                _write(picture, _fit(text, left_width - 24, 0.52), (12, HEIGHT - 14), 0.52)
                break


def _at(track: list[Any], stamps: list[float], stamp: float) -> Any:
    """Newest entry not later than ``stamp`` (half a frame of grace), or None."""
    index = bisect.bisect_right(stamps, stamp + 0.02) - 1
    return track[index] if index >= 0 else None


def _fit(text: str, width: int, scale: float) -> str:
    """``text`` in quotation marks, cut to ``width`` pixels."""
    quoted = f'"{text}"'
    while len(text) > 1 and width_of(quoted, scale) > width:
        text = text[:-1]
        quoted = f'"{text.rstrip()}..."'
    return quoted


def _write(picture: ImageArray, text: str, origin: tuple[int, int], scale: float = 0.6) -> None:
    write(picture, text, origin, INK, scale, PAPER, 4)


def frames(recording: Recording, fps: float, head: SimHead | None = None) -> Iterator[ImageArray]:
    """The film at a constant ``fps``: the camera's own stamps set the pace.

    The last picture is repeated in a gap, up to :data:`LONGEST_GAP`, and for one that does not decode.

    Raises:
        UserError: no picture decodes.
    """
    film = Film.of(recording, head)
    stamps = [stamp for stamp, _ in recording.frames]
    clock, shown, camera = stamps[0], -1, None
    if recording.scores:  # the camera starts first; a film of the others loading interests nobody
        clock = min(max(clock, recording.scores[0].stamp), stamps[-1])
    while clock <= stamps[-1]:
        index = bisect.bisect_right(stamps, clock + 1e-6) - 1
        if index != shown:
            shown, camera = index, _decoded(recording.frames[index][1], camera)
        if camera is not None:
            yield film.frame(clock, camera)
        clock += 1.0 / fps
        if clock - stamps[index] > LONGEST_GAP and index + 1 < len(stamps):  # robots set their clocks by years
            clock = max(clock, stamps[index + 1])
    if camera is None:
        start = recording.frames[0][1][:4].hex() or "nothing"
        raise UserError(
            f"none of {len(stamps)} pictures decodes: the first begins with {start}; leave the film out by --no-video"
        )


def _decoded(data: bytes, before: ImageArray | None) -> ImageArray | None:
    """BGR pixels, or those ``before`` if these are damaged."""
    picture = decoded(data)
    return before if picture is None else picture


def _head(rig: str) -> AbstractContextManager[SimHead | None]:
    """The simulated head of ``rig``; None without one. Its library is loaded only then."""
    if not rig:
        return nullcontext()
    from emo_face.face.rig.rig import load_rig
    from emo_face.face.sim.picture import SimHead

    return SimHead(load_rig(rig), (2 * FACE_WIDTH // 3, 2 * HEIGHT // 3))  # a software renderer draws it


def write_video(recording: Recording, path: Path, fps: float = 15.0, progress: Any = None, rig: str = "") -> None:
    """Write the film.

    Args:
        progress: called with the share done in [0, 1].
        rig: a servo head to show, simulated by MuJoCo, instead of the screen face; its name or file.

    Raises:
        UserError: PyAV is missing, or there is no image in the recording.
    """
    if not recording.frames:
        raise UserError("the recording holds no images: nothing to film")
    total = max(1.0, (recording.frames[-1][0] - recording.frames[0][0]) * fps)
    with FilmWriter(path, fps) as film, _head(rig) as head:
        for number, picture in enumerate(frames(recording, fps, head)):
            film.add(picture)
            if progress is not None:
                progress(min(1.0, number / total))
