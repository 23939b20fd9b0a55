"""How to answer and where to look: the robot's behaviour, independent of any model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emo_face.core.errors import ConfigError
from emo_face.core.geometry import BODY_HEADS
from emo_face.core.paths import data_file
from emo_face.core.types import Box, FloatArray, Person
from emo_face.face.expressions.facs import Facs, explain, read_table

Strength = Annotated[float, Field(ge=0, le=1)]


class Perspective(BaseModel):
    """How one perspective answers; see the comments in ``data/perspectives.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    description: str
    same: Strength
    answers: dict[str, dict[str, Strength]]
    on_speech: dict[str, Strength]
    grave: tuple[str, ...] = ()

    def answer(self, seen: Mapping[str, float], spoken: bool) -> dict[str, float]:
        """Expression -> strength of the robot for expression -> strength of the person."""
        result = dict(self.on_speech) if spoken else {}
        for name, strength in seen.items():
            for answer, share in self.answers.get(name, {name: self.same}).items():
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
        raise ConfigError(f"{path}: expected one top-level key `perspectives` with one entry per perspective")
    result = {}
    for name, body in raw["perspectives"].items():
        try:
            result[str(name)] = perspective = Perspective.model_validate(body)
        except ValidationError as error:
            raise ConfigError(f"{path}: perspectives.{name}.{explain(error)}") from None
        answers = (e for row in perspective.answers.values() for e in row)
        used = [*perspective.answers, *perspective.on_speech, *perspective.grave, *answers]
        for expression in used:
            if expression not in facs.expressions:
                known = f"expected one of {', '.join(facs.expressions)}"
                raise ConfigError(f"{path}: perspectives.{name}: unknown expression {expression!r}, {known}")
    return result


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
