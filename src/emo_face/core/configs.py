"""Config dataclasses from plain values, as JSON and YAML hold them: every field's type is checked by its annotation."""

import dataclasses
import types
import typing
from collections import abc
from typing import Any, Literal, TypeVar

from emo_face.core.errors import ConfigError

T = TypeVar("T")


def from_dict(kind: type[T], values: dict[str, Any], where: str | abc.Callable[[str], str]) -> T:
    """Build a config dataclass from plain values.

    Args:
        where: the file, or what gives file, line and section of a field.

    Raises:
        ConfigError: names where, the field, expected and got.
    """
    at = where if callable(where) else lambda _: where
    hints = {field.name: typing.get_type_hints(kind)[field.name] for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ConfigError(f"{at(unknown[0])}: unknown field {unknown[0]!r}; expected some of {', '.join(hints)}")
    made = {name: _convert(value, hints[name], f"{at(name)}: {name}") for name, value in values.items()}
    try:
        return kind(**made)
    except TypeError as error:
        raise ConfigError(f"{at('')}: {error}") from None
    except ConfigError as error:  # a value that no field allows by itself or beside another
        raise ConfigError(f"{at(str(error).partition(':')[0].split()[0])}: {error}") from None


def _convert(value: Any, hint: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{where}: expected one of {', '.join(map(str, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where}: expected a list, got {value!r}")
        return tuple(_convert(item, arguments[0], where) for item in value)
    if origin is abc.Mapping:
        if not isinstance(value, abc.Mapping):
            raise ConfigError(f"{where}: expected names with values, got {value!r}")
        return {str(key): _convert(item, arguments[1], f"{where}: {key}") for key, item in value.items()}
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(value, next(a for a in arguments if a is not type(None)), where)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{where}: expected {hint.__name__}, got {value!r}")
    return value
