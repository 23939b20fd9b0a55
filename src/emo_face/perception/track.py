"""Who is who over time: ids like ``p00012`` that survive a second of occlusion.

The tracker is SORT (Bewley et al., 2016: constant-velocity Kalman filter and Hungarian matching by overlap) of the
library ``trackforge``: compiled, typed, no dependencies, 0.8 MB installed, wheels for x86-64 and arm64. Weighed and
left: ``supervision``/``trackers`` (pull in matplotlib, PyAV, Pillow and a second OpenCV, whose version 5 has no Haar
cascades), ``norfair`` (pins NumPy below 2), ``motpy`` (matplotlib, no release for years), ``boxmot`` (torch).
``trackforge`` is young, so its version is pinned and this
file is the only one that knows it; the scenarios in ``tests/scenarios`` hold it to what we need.

Such trackers count frames. Here time is in seconds: the library is driven at a fixed tick, and ticks without a frame
are empty updates, so that speed and memory mean the same at 5 and at 60 frames per second.
"""

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from trackforge import SORT

from emo_face.core.types import Box, Detection, Person
from emo_face.perception.associate import body_from_face

TICK = 1 / 60  # seconds; one Kalman step. A faster camera makes shorter steps, hence the margin on the memory
MIN_IOU = 0.15  # a walking person at 5 Hz still overlaps their own prediction by this much
REACH = 1.0  # a reappearing person is looked for within this many body widths of where they were lost
SAME_SIZE = 2.0  # ... at no more than this ratio of areas


@dataclass(frozen=True, slots=True)
class _Track:
    person_id: str
    first_seen: float
    last_seen: float
    hits: int
    box: Box


class PersonTracker:
    """Turns the detections of each frame into people with lasting ids."""

    def __init__(self, memory: float = 1.5, min_hits: int = 2) -> None:
        """Start with nobody.

        Args:
            memory: seconds that an unseen person keeps the id; more than the longest occlusion to survive.
            min_hits: frames in which a person must be seen before being reported; 1 reports at once.
        """
        if memory <= 0 or min_hits < 1:
            raise ValueError(f"expected memory > 0 s and min_hits >= 1, got {memory} and {min_hits}")
        self.memory, self.min_hits = memory, min_hits
        self._count = 0
        self.reset()

    def reset(self) -> None:
        """Forget everybody; ids keep counting, so an id never comes back for somebody else."""
        self._sort = SORT(max_age=math.ceil(4 * self.memory / TICK), min_hits=1, iou_threshold=MIN_IOU)
        self._tracks: dict[int, _Track] = {}
        self._now = -math.inf

    def update(self, detections: Sequence[Detection], now: float) -> list[Person]:
        """Advance to ``now`` and name the people of this frame; call it on empty frames too.

        Args:
            detections: people of the frame, in any order.
            now: seconds, the frame's stamp. A clock that jumps back resets the tracker.

        Returns:
            People seen in this frame for at least the ``min_hits``-th time, oldest id first.

        Raises:
            ValueError: ``now`` is not finite.
        """
        if not math.isfinite(now):
            raise ValueError(f"expected a finite time in seconds, got {now}")
        if now < self._now or now - self._now > self.memory:
            self.reset()
        self._skip(now)
        self._now = now
        boxes = [_anchor(detection) for detection in detections]
        rows = [([b.x, b.y, b.width, b.height], float(d.score), 0) for b, d in zip(boxes, detections, strict=True)]
        seen = {int(row[0]): row[4] for row in self._sort.update(rows) if row[4] is not None}
        self._tracks = {k: t for k, t in self._tracks.items() if k in seen or now - t.last_seen <= self.memory}
        people = []
        for key, index in seen.items():
            track = self._touch(key, boxes[index], now, seen)
            if track.hits >= self.min_hits:
                track = self._named(key)
                detection = detections[index]
                seen_as = (detection.score, detection.body, detection.face, track.first_seen)
                people.append(Person(track.person_id, *seen_as))
        return sorted(people, key=lambda person: person.person_id)

    def _skip(self, now: float) -> None:
        """Let the Kalman filters run over the ticks between the last frame and this one."""
        if self._tracks:
            for _ in range(round((now - self._now) / TICK) - 1):
                self._sort.update([])

    def _touch(self, key: int, box: Box, now: float, seen: Container[int]) -> _Track:
        track = self._tracks.get(key) or self._relink(box, seen) or _Track("", now, now, 0, box)
        self._tracks[key] = replace(track, last_seen=now, hits=track.hits + 1, box=box)
        return self._tracks[key]

    def _relink(self, box: Box, seen: Container[int]) -> _Track | None:
        """A person lost near ``box``: one who stops or turns while hidden defeats the Kalman prediction."""
        near = [
            (math.dist(track.box.center, box.center), key)
            for key, track in self._tracks.items()
            if key not in seen
            and track.person_id
            and math.dist(track.box.center, box.center) <= REACH * track.box.width
            and 1 / SAME_SIZE <= box.area / max(track.box.area, 1e-9) <= SAME_SIZE
        ]
        return self._tracks.pop(min(near)[1]) if near else None

    def _named(self, key: int) -> _Track:
        """Give the track an id when it is first reported, so that ids count people and not flickers."""
        track = self._tracks[key]
        if not track.person_id:
            self._count += 1
            track = replace(track, person_id=f"p{self._count:05d}")
            self._tracks[key] = track
        return track


def _anchor(detection: Detection) -> Box:
    """The box to track: the body, or the one extrapolated from the face, so that losing one of them changes little."""
    if detection.body is not None:
        return detection.body
    if detection.face is None:
        raise ValueError("a detection needs a body or a face")
    return body_from_face(detection.face.box)
