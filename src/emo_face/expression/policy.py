"""Whom to follow, how to answer, where to look: the manners of the robot, apart from any model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emo_face.core.errors import ConfigError
from emo_face.core.paths import data_file
from emo_face.core.types import Box, FloatArray, Person, Speech
from emo_face.expression.model import Scene, SeenPerson
from emo_face.face.facs import Facs, explain, read_table

FOLLOW = ("nearest", "largest", "speaking", "id")
BODY_HEADS = 7.5
"""Standing height in head heights (Loomis, Figure Drawing, 1943): compares a body box with a face box."""
Strength = Annotated[float, Field(ge=0, le=1)]


class Perspective(BaseModel):
    """How one perspective answers; see the comments in ``data/perspectives.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    description: str
    same: Strength
    answers: dict[str, dict[str, Strength]]
    on_speech: dict[str, Strength]

    def answer(self, seen: Mapping[str, float], spoken: bool) -> dict[str, float]:
        """Expression -> strength of the robot for expression -> strength of the person."""
        result = dict(self.on_speech) if spoken else {}
        for name, strength in seen.items():
            row = self.answers.get(name, {name: self.same})
            for answer, share in row.items():
                result[answer] = result.get(answer, 0.0) + share * strength
        return result


def load_perspectives(facs: Facs, path: Path | None = None) -> dict[str, Perspective]:
    """Read the perspectives of a file (the packaged one by default) and check them against the expressions.

    Raises:
        ConfigError: unreadable, a wrong field, or an expression that the FACS table lacks; names file and field.
    """
    path = path or data_file("perspectives.yaml")
    raw = read_table(path)
    if not isinstance(raw, dict) or set(raw) != {"perspectives"} or not isinstance(raw["perspectives"], dict):
        raise ConfigError(f"{path}: expected one top-level key `perspectives` with one entry a perspective")
    result = {}
    for name, body in raw["perspectives"].items():
        try:
            result[str(name)] = perspective = Perspective.model_validate(body)
        except ValidationError as error:
            raise ConfigError(f"{path}: perspectives.{name}.{explain(error)}") from None
        used = [*perspective.answers, *perspective.on_speech, *(e for row in perspective.answers.values() for e in row)]
        for expression in used:
            if expression not in facs.expressions:
                known = f"expected one of {', '.join(facs.expressions)}"
                raise ConfigError(f"{path}: perspectives.{name}: unknown expression {expression!r}, {known}")
    return result


def apparent_size(person: Person) -> float:
    """Height of the head in pixels, from the face or, failing that, the body: grows as the person comes nearer."""
    if person.face is not None:
        return max(0.0, person.face.box.height)
    if person.body is not None:
        return max(0.0, person.body.height) / BODY_HEADS
    return 0.0


def apparent_area(person: Person) -> float:
    """Area in square pixels of the body or, failing that, the face."""
    box = person.body or (person.face.box if person.face else None)
    return box.area if box else 0.0


def choose(
    scene: Scene, follow: str, follow_id: str, speech: Speech | None, previous: str, margin: float
) -> SeenPerson | None:
    """Pick the person to follow.

    ``nearest`` compares head heights, ``largest`` areas; the person followed before is kept until another is larger
    by ``margin``, so two people side by side do not make the robot look to and fro. ``speaking`` follows the speaker
    of ``speech`` and the nearest person while that is nobody in view. ``id`` follows ``follow_id`` alone.

    Raises:
        ConfigError: ``follow`` is none of these.
    """
    if follow not in FOLLOW:
        raise ConfigError(f"follow: {follow!r}, expected one of {', '.join(FOLLOW)}")
    people = {seen.person.person_id: seen for seen in scene.people}
    if follow == "id":
        return people.get(follow_id)
    if follow == "speaking" and speech is not None and speech.speaker in people:
        return people[speech.speaker]
    measure = apparent_area if follow == "largest" else apparent_size
    return _largest(scene.people, {i: measure(s.person) for i, s in people.items()}, previous, margin)


def _largest(
    people: Sequence[SeenPerson], sizes: Mapping[str, float], previous: str, margin: float
) -> SeenPerson | None:
    if not people:
        return None
    best = max(people, key=lambda seen: (sizes[seen.person.person_id], seen.person.person_id))
    if previous in sizes and sizes[best.person.person_id] <= sizes[previous] * (1 + margin):
        return next(seen for seen in people if seen.person.person_id == previous)
    return best


@dataclass(frozen=True, slots=True)
class Camera:
    """Where image positions lie as seen from the robot's eyes, by a pinhole model.

    Attributes:
        horizontal_fov: rad, of the whole image width.
        yaw, pitch: rad; how the camera is turned against the face's straight ahead (left +, up +).
        max_yaw, max_pitch: rad; the eyes turn no further.
    """

    horizontal_fov: float = math.radians(60.0)
    yaw: float = 0.0
    pitch: float = 0.0
    max_yaw: float = math.radians(30.0)
    max_pitch: float = math.radians(20.0)

    def __post_init__(self) -> None:
        if not 0 < self.horizontal_fov < math.pi:
            raise ConfigError(f"horizontal_fov: {self.horizontal_fov} rad, expected more than 0 and less than pi")

    def gaze(self, point: tuple[float, float], width: int, height: int) -> FloatArray:
        """(2,) rad, yaw (left +) and pitch (up +) towards a pixel; zero if the point or the size is unusable."""
        if width <= 0 or height <= 0 or not all(map(math.isfinite, point)):
            return np.zeros(2)
        focal = width / 2 / math.tan(self.horizontal_fov / 2)
        x, y = (width / 2 - point[0]) / focal, (height / 2 - point[1]) / focal
        yaw = math.atan(x) + self.yaw
        pitch = math.atan(y / math.hypot(1.0, x)) + self.pitch
        return np.clip([yaw, pitch], [-self.max_yaw, -self.max_pitch], [self.max_yaw, self.max_pitch])


def eyes_of(person: Person) -> tuple[float, float] | None:
    """Pixel between the person's eyes: landmarks, else the upper face box, else the top of the body box."""
    if person.face is not None:
        landmarks = person.face.landmarks
        if landmarks is not None and len(landmarks) >= 2:
            middle = np.mean(np.asarray(landmarks, dtype=np.float64)[:2], axis=0)
            return float(middle[0]), float(middle[1])
        return _within(person.face.box, 0.4)
    return _within(person.body, 0.5 / BODY_HEADS) if person.body is not None else None


def _within(box: Box, down: float) -> tuple[float, float]:
    return box.x + box.width / 2, box.y + box.height * down
