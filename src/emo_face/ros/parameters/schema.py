"""The parameter schema: every parameter once, with type, unit, range and meaning. Needs no rclpy.

Nodes declare from it, ``config/emo_face.yaml`` and ``docs/parameters.md`` are generated from it.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

import yaml

from emo_face.core.errors import ConfigError
from emo_face.core.paths import data_file

Value = bool | int | float | str | list[str] | list[int] | list[float]
T = TypeVar("T")

_SCALARS: dict[str, Any] = {"bool": bool, "int": int, "double": float, "string": str}
TYPES: tuple[str, ...] = (*_SCALARS, "int_array", "double_array", "string_array")
"""Types a parameter may have; ROS's own names."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of one node.

    Attributes:
        name: dotted, for example ``tracker.max_gap``.
        unit: SI or ``px``, ``fps``; empty for a pure number or text.
        default: also fixes the number of items of a numeric array.
        minimum, maximum: allowed range, both inclusive, of a number or of each item of an array.
        choices: the allowed values of a string; empty means any.
        read_only: fixed once the node runs. configure: a change is taken over by the next configure.
    """

    name: str
    type: str
    default: Value
    description: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = False
    configure: bool = False

    def problem(self, value: Any) -> str:
        """Why ``value`` is not allowed, or an empty text."""
        if self.type.endswith("_array"):
            kind = _SCALARS[self.type.removesuffix("_array")]
            if not isinstance(value, (list, tuple)) and not hasattr(value, "typecode"):
                return f"expected a list of {self.type.removesuffix('_array')}, got {value!r}"
            count = len(self.default)  # type: ignore[arg-type]
            if self.type != "string_array" and len(value) != count:
                return f"expected {count} items, got {len(value)}"
            return next((p for p in (self._item_problem(v, kind) for v in value) if p), "")
        return self._item_problem(value, _SCALARS[self.type])

    def _item_problem(self, value: Any, kind: Any) -> str:
        if type(value) is not kind:
            hint = f"; write {float(value)}" if kind is float and type(value) is int else ""
            if kind is str and type(value) in (int, float):
                hint = f"; quote it: \"'{value}'\""
            return f"expected a {self.type}, got {value!r}{hint}"
        if kind is float and not math.isfinite(value):
            return f"expected a finite number, got {value}"
        if self.minimum is not None and not self.minimum <= value <= float(self.maximum or 0.0):
            return f"expected a value in {self.range_text}, got {value}"
        if self.choices and value not in self.choices:
            return f"expected one of {', '.join(self.choices)}, got {value!r}"
        return ""

    @property
    def change(self) -> str:
        """When a change counts: ``live``, ``configure`` or never (``fixed``)."""
        return "fixed" if self.read_only else "configure" if self.configure else "live"

    @property
    def range_text(self) -> str:
        """``0.0 .. 1.0``, the choices, or an empty text."""
        if self.minimum is not None:
            return f"{self.minimum:g} .. {self.maximum:g}"
        return " | ".join(self.choices)


@dataclass(frozen=True, slots=True)
class NodeSchema:
    """The parameters of one node, in the order of the file."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]

    def __contains__(self, name: object) -> bool:
        return any(parameter.name == name for parameter in self.parameters)

    def __getitem__(self, name: str) -> Parameter:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise KeyError(f"node {self.name} has no parameter {name!r}")


def parse_schema(text: str, origin: str) -> dict[str, NodeSchema]:
    """Read the schema.

    Raises:
        ConfigError: names ``origin``, the parameter and what is wrong with it.
    """
    raw = yaml.safe_load(text)
    common = raw.get("common") or {}
    nodes = {}
    for name, body in raw["nodes"].items():
        entries = {**body["parameters"], **common}
        parameters = tuple(_parameter(key, entry, f"{origin}: nodes.{name}.{key}") for key, entry in entries.items())
        nodes[name] = NodeSchema(name, " ".join(body["description"].split()), parameters)
    return nodes


def _parameter(name: str, entry: Mapping[str, Any], where: str) -> Parameter:
    unknown = set(entry) - {"type", "default", "description", "unit", "range", "choices", "read_only", "configure"}
    missing = {"type", "default", "description"} - set(entry)
    if unknown or missing or entry["type"] not in TYPES:
        raise ConfigError(f"{where}: unknown {sorted(unknown)}, missing {sorted(missing)}, type in {TYPES}")
    low, high = entry.get("range", (None, None))
    default = entry["default"]
    parameter = Parameter(
        name=name,
        type=entry["type"],
        default=default,
        description=" ".join(entry["description"].split()),
        unit=entry.get("unit", ""),
        minimum=low,
        maximum=high,
        choices=tuple(entry.get("choices", ())),
        read_only=bool(entry.get("read_only", False)),
        configure=bool(entry.get("configure", False)),
    )
    if default == []:
        raise ConfigError(f"{where}: ROS cannot tell the type of an empty list; use one empty item")
    if problem := parameter.problem(default):
        raise ConfigError(f"{where}: default: {problem}")
    return parameter


@cache
def schemas() -> dict[str, NodeSchema]:
    """Node name -> its parameters, from the packaged ``parameters.yaml``."""
    path: Path = data_file("parameters.yaml")
    return parse_schema(path.read_text(encoding="utf-8"), path.name)


def load_schema(node: str) -> NodeSchema:
    """The parameters of ``node``. Raises ConfigError that lists the nodes."""
    try:
        return schemas()[node]
    except KeyError:
        raise ConfigError(f"no node is called {node!r}: expected one of {', '.join(schemas())}") from None


def build(cls: type[T], values: Mapping[str, Any], prefix: str = "", **extra: Any) -> T:
    """Make the dataclass ``cls`` from the values named ``prefix.field``; nested dataclasses recurse.

    Args:
        values: parameter name -> value; lists become tuples, text becomes a Path if the field is one.
        extra: fields that are no parameters.

    Raises:
        ConfigError: a field without default has no parameter, or the dataclass refuses the values.
    """
    hints = get_type_hints(cls)
    arguments = dict(extra)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name in extra or not field.init:
            continue
        name = f"{prefix}.{field.name}" if prefix else field.name
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            arguments[field.name] = build(hint, values, name)
        elif name in values:
            arguments[field.name] = _convert(values[name], hint)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(
                f"{cls.__name__}.{field.name} has no default and no parameter {name!r} in parameters.yaml"
            )
    try:
        return cls(**arguments)
    except ValueError as error:
        raise ConfigError(f"{prefix or cls.__name__}: {error}") from None


def _convert(value: Any, hint: Any) -> Any:
    if hint is Path:
        return Path(value).expanduser()
    if get_origin(hint) is tuple or hint is tuple:
        return tuple(value)
    return value
