"""People seen by several cameras as one list: who is in two views is one person, with one distribution.

Two views are of one person if the lines of sight of their cameras pass each other closely, where the heads are of
their sizes. That needs to be known of both cameras where they stand; of one that is not placed nobody is known
to be somebody else's view, so that a person in two views counts twice then.

The boxes of the list are in the first camera's picture, which is the robot's own. Who is seen by others only stands at
its edge, on the side on which they are, or has no boxes if the places of the cameras are not known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from emo_face.core.geometry import apparent_size
from emo_face.core.types import Array, Box, Emotion, Face, Person
from emo_face.perception.associate import match

HEAD = 0.18
"""Metres from chin to hairline of an adult, about: what a face's box is high."""
SIZES = 1.6
"""Factor by which somebody may be nearer or farther than the size of the head says: children, boxes, half a face."""
NEAREST = 0.2  # m from a camera

Scored = tuple[Person, Emotion]


@dataclass(frozen=True, slots=True)
class CameraPlace:
    """A camera in the robot's frame (x ahead, y to its left, z up).

    Attributes:
        position: (3,) m. rotation: (3, 3), from the optical frame (x right, y down, z forward).
        horizontal_fov: rad, of the whole width of the picture.
    """

    position: Array
    rotation: Array
    horizontal_fov: float

    @classmethod
    def looking(cls, x: float, y: float, z: float, yaw: float, pitch: float, fov: float) -> CameraPlace:
        """From metres and degrees: ``yaw`` to the left and ``pitch`` up from straight ahead."""
        a, b = math.radians(yaw), math.radians(pitch)
        forward = [math.cos(a) * math.cos(b), math.sin(a) * math.cos(b), math.sin(b)]
        right = [math.sin(a), -math.cos(a), 0.0]
        return cls(np.array([x, y, z]), np.stack([right, np.cross(forward, right), forward], axis=1), math.radians(fov))

    def focal(self, width: int) -> float:
        """Pixels, of a picture that is ``width`` pixels wide."""
        return width / 2 / math.tan(self.horizontal_fov / 2)

    def sight(self, point: tuple[float, float], size: tuple[int, int]) -> Array:
        """(3,) unit vector towards a pixel, in the robot's frame."""
        focal = self.focal(size[0])
        ray = self.rotation @ np.array([(point[0] - size[0] / 2) / focal, (point[1] - size[1] / 2) / focal, 1.0])
        return np.asarray(ray / np.linalg.norm(ray))

    def pixel(self, point: Array, size: tuple[int, int]) -> tuple[float, float]:
        """Where a point of the robot's frame is in the picture; beside it, on its side, if it is behind the camera."""
        right, down, ahead = self.rotation.T @ (point - self.position)
        scale = self.focal(size[0]) / max(ahead, 1e-3)
        return size[0] / 2 + right * scale, size[1] / 2 + down * scale


@dataclass(frozen=True, slots=True)
class CameraView:
    """What one camera shows now. ``size``: (width, height) of its picture in pixels; ``place``: None if not known."""

    name: str
    people: Sequence[Scored]
    size: tuple[int, int]
    place: CameraPlace | None = None


@dataclass(slots=True)
class Someone:
    """One person of the list. ``views``: number of the camera -> what it shows of them; ``at``: (3,) m or None."""

    person_id: str
    views: dict[int, Scored]
    at: Array | None = None


class PeopleMerger:
    """Merges the views of several cameras, and keeps who is who from call to call. Not thread-safe.

    Args:
        apart: metres by which the lines of sight to one person may pass each other.
    """

    def __init__(self, apart: float = 0.3) -> None:
        self.apart = apart
        self._names: dict[tuple[int, str], str] = {}

    def clear(self) -> None:
        """Forget who is who."""
        self._names.clear()

    def merge(self, views: Sequence[CameraView]) -> list[Someone]:
        """Everybody, those whom the first camera sees first.

        Somebody keeps the id of the first camera that saw them while any camera does; one that comes from another
        camera has its name in front: ``door_p00003``.
        """
        found: list[Someone] = []
        for number, view in enumerate(views):
            pairs = match({i: self._gaps(view, scored, views, found) for i, scored in enumerate(view.people)})
            alone: list[Someone] = []
            for i, scored in enumerate(view.people):
                if i in pairs:
                    found[pairs[i]].views[number] = scored
                else:
                    alone.append(Someone("", {number: scored}))
            found += alone
        self._name(found, views)
        for someone in found:
            someone.at = _place(someone, views)
        return found

    def _gaps(
        self, view: CameraView, scored: Scored, views: Sequence[CameraView], found: Sequence[Someone]
    ) -> dict[int, float]:
        """Number of somebody who may be the same -> metres between the lines of sight."""
        gaps: dict[int, float] = {}
        for index, someone in enumerate(found):
            other, seen = next(iter(someone.views.items()))
            gap = _gap(view, scored[0], views[other], seen[0])
            if gap is not None and gap <= self.apart:
                gaps[index] = gap
        return gaps

    def _name(self, found: Sequence[Someone], views: Sequence[CameraView]) -> None:
        names: dict[tuple[int, str], str] = {}
        taken: set[str] = set()
        for someone in found:
            tracks = [(number, scored[0].person_id) for number, scored in someone.views.items()]
            number, own = tracks[0]
            fresh = own if number == 0 else f"{views[number].name}_{own}"
            known = [self._names[track] for track in tracks if track in self._names]
            someone.person_id = next((name for name in (*known, fresh) if name not in taken), fresh)
            taken.add(someone.person_id)
            names |= dict.fromkeys(tracks, someone.person_id)
        self._names = names


def _eyes(person: Person) -> tuple[float, float] | None:
    if person.face is not None:
        return person.face.box.center
    return (person.body.center[0], person.body.y) if person.body is not None else None


def _gap(a: CameraView, one: Person, b: CameraView, other: Person) -> float | None:
    """Metres between the parts of two lines of sight on which a head is of its size; None if a place is not known.

    The closest points of two segments: Ericson, Real-Time Collision Detection (2005), 5.1.9.
    """
    start, end = _eyes(one), _eyes(other)
    if a.place is None or b.place is None or start is None or end is None:
        return None
    along, towards = a.place.sight(start, a.size), b.place.sight(end, b.size)
    between, near, far = b.place.position - a.place.position, _distance(a, one), _distance(b, other)
    angle = float(along @ towards)
    crossing = float(between @ along - angle * (between @ towards)) / max(1 - angle * angle, 1e-9)
    on_b = _within(angle * _within(crossing, near) - float(between @ towards), far)
    on_a = _within(float((between + on_b * towards) @ along), near)
    return float(np.linalg.norm(a.place.position + on_a * along - b.place.position - on_b * towards))


def _within(far: float, by_size: float) -> float:
    return min(max(far, by_size / SIZES), by_size * SIZES)


def _distance(view: CameraView, person: Person) -> float:
    """Metres, by the size of the head."""
    assert view.place is not None
    return view.place.focal(view.size[0]) * HEAD / max(apparent_size(person), 1.0)


def _place(someone: Someone, views: Sequence[CameraView]) -> Array | None:
    """Middle of the places that each camera gives by line of sight and size of the head."""
    spots = []
    for number, (person, _) in someone.views.items():
        view, eyes = views[number], _eyes(person)
        if view.place is not None and eyes is not None:
            spots.append(view.place.position + _distance(view, person) * view.place.sight(eyes, view.size))
    return np.asarray(np.mean(spots, axis=0)) if spots else None


def as_seen_by_first(someone: Someone, views: Sequence[CameraView]) -> Scored:
    """The person with boxes of the first camera's picture, and one distribution out of all views."""
    emotion = pooled([scored[1] for scored in someone.views.values()])
    if 0 in someone.views:
        return replace(someone.views[0][0], person_id=someone.person_id), emotion
    person = next(iter(someone.views.values()))[0]
    return replace(person, person_id=someone.person_id, body=None, face=_at_the_edge(someone.at, views[0])), emotion


def _at_the_edge(at: Array | None, view: CameraView) -> Face | None:
    """A face where the point is in the picture, moved to its nearest edge if it is outside."""
    width, height = view.size
    if at is None or view.place is None or width < 1 or height < 1:
        return None
    x, y = view.place.pixel(at, view.size)
    away = max(float(np.linalg.norm(at - view.place.position)), NEAREST)
    side = min(view.place.focal(width) * HEAD / away, width / 2, height / 2)
    left, top = (min(max(v - side / 2, 0.0), limit - side) for v, limit in ((x, width), (y, height)))
    return Face(Box(left, top, side, side), 1.0)


def pooled(emotions: Sequence[Emotion]) -> Emotion:
    """One distribution out of several views of one person: their mean, weighted by quality.

    The views are of the same face and the same words, so they are not evidence on top of each other. All but the
    distribution and its valence and arousal is of the view with the highest quality; others with another label set
    do not count.
    """
    best = max(emotions, key=lambda emotion: emotion.quality)
    same = [e for e in emotions if e.label_set == best.label_set and e.quality > 0]
    if len(same) < 2:
        return best
    weights = np.array([emotion.quality for emotion in same]) / sum(emotion.quality for emotion in same)
    mean = np.asarray(weights @ np.array([emotion.probabilities for emotion in same]))
    valence, arousal = weights @ np.array([(emotion.valence, emotion.arousal) for emotion in same])
    return replace(best, probabilities=mean, valence=float(valence), arousal=float(arousal))
