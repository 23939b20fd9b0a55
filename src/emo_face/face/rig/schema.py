"""The rig file: what it may say, and errors that name the file, the line and the field."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from emo_face.core.errors import ConfigError
from emo_face.core.versions import known_version
from emo_face.core.yaml_files import BoundedLoader

Loc = tuple[str | int, ...]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Unit = Literal["rad", "us", "ticks", "share"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Term(_Strict):
    """One contribution to an actuator: ``gain`` times a channel, or times the product of a ``pair`` of channels.

    ``channel`` is an ARKit name, an ARKit name without its side (then the mean of both sides counts), or
    ``flame_000`` .. ``flame_099``. A ``curve`` of (value, value) points shapes the channel first, linearly between
    them. ``gain`` is a share of the way from neutral: 1 is the actuator's + end, -1 its - end.
    """

    channel: str | None = None
    pair: tuple[str, str] | None = None
    gain: Annotated[float, Field(ge=-4, le=4)] = 1.0
    curve: tuple[tuple[Finite, Finite], ...] | None = None


class Shows(_Strict):
    """What the face shows when the actuator is at its + or - end: channel -> value in [0, 1]."""

    plus: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    minus: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}


class Actuator(_Strict):
    """One motor. Positions in ``unit``; rates in unit/s, unit/s^2, unit/s^3; ``invert`` makes ``min`` the + end."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
    id: Annotated[int, Field(ge=0, le=1007)]
    unit: Unit
    group: str = "face"
    min: Finite
    max: Finite
    neutral: Finite
    invert: bool = False
    velocity: Positive
    acceleration: Positive
    jerk: Positive
    deadband: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    drive: tuple[Term, ...] = ()
    shows: Shows | None = None


class InterlockRule(_Strict):
    """While ``when`` is past a share of its way, ``then`` stays in ``range`` (shares from -1 to 1, 0 = neutral)."""

    when: str
    above: Annotated[float, Field(gt=-1, lt=1)] | None = None
    below: Annotated[float, Field(gt=-1, lt=1)] | None = None
    then: str
    range: tuple[Annotated[float, Field(ge=-1, le=1)], Annotated[float, Field(ge=-1, le=1)]]


class DwellRule(_Strict):
    """``actuator`` stays past a share of its way for at most ``max_s``, then short of it for ``rest_s`` seconds."""

    actuator: str
    above: Annotated[float, Field(gt=-1, lt=1)] | None = None
    below: Annotated[float, Field(gt=-1, lt=1)] | None = None
    max_s: Positive
    rest_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class DriverModel(_Strict):
    """Which bus, and how to reach it. ``options`` go to the driver's constructor, which checks them."""

    kind: Literal["mock", "recorder", "sim", "trajectory", "pca9685", "dynamixel", "feetech"] = "mock"
    options: dict[str, str | int | float | bool | tuple[int, ...]] = {}


class RigFile(_Strict):
    """A whole rig file."""

    version: Annotated[int, BeforeValidator(known_version(1))] = 1
    name: str
    description: str = ""
    mixing: Literal["least_squares", "sum"] = "least_squares"
    estop: Literal["torque_off", "hold"] = "torque_off"
    timeout: Positive = 1.0
    neutral_time: Positive = 1.0
    driver: DriverModel = DriverModel()
    actuators: Annotated[tuple[Actuator, ...], Field(min_length=1, max_length=256)]
    interlocks: tuple[InterlockRule, ...] = ()
    dwell: tuple[DwellRule, ...] = ()


class Source:
    """A parsed YAML file that remembers where each field stands.

    Args:
        path: the file. text: its content; read from ``path`` when None.

    Raises:
        ConfigError: the file cannot be read or is no YAML mapping; names file and line.
    """

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        try:
            content = path.read_text(encoding="utf-8") if text is None else text
            self._root = yaml.compose(content, Loader=BoundedLoader)
            self.data: Any = yaml.safe_load(content)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: not a UTF-8 text file") from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ConfigError(f"{path}:{line}: not valid YAML: {error.problem}") from None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f"{path}: not valid YAML: {error}") from None
        if not isinstance(self.data, dict):
            raise ConfigError(
                f"{path}:1: expected a mapping with `name` and `actuators`, got {type(self.data).__name__}"
            )

    def line(self, loc: Loc) -> int:
        """Line of a field (1 is the first), or of the closest thing that exists around it."""
        node, line = self._root, 1
        for step in loc:
            found = None
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == str(step)), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                found = (node.value[step], node.value[step])
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        return line

    def error(self, loc: Loc, message: str) -> ConfigError:
        """A ConfigError that names file, line and field."""
        return ConfigError(f"{self.path}:{self.line(loc)}: field {'.'.join(map(str, loc)) or '(file)'}: {message}")


def load_rig_file(path: Path, text: str | None = None) -> tuple[RigFile, Source]:
    """Read and check the form of a rig file; :mod:`emo_face.face.rig.rig` checks what it means.

    Raises:
        ConfigError: names file, line, field, what was expected and what was found.
    """
    source = Source(path, text)
    try:
        return RigFile.model_validate(source.data), source
    except ValidationError as error:
        first = error.errors()[0]
        got = "" if first["type"] == "missing" else f", got {_short(first['input'])}"
        raise source.error(tuple(first["loc"]), f"{first['msg'].removeprefix('Value error, ')}{got}") from None


def _short(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
