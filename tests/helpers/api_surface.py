"""Classes and modules that have exactly what a recorded API has: an unknown call, argument or member raises.

The recordings are in tests/data/tensorrt, made from NVIDIA's own wheels by scripts/record_tensorrt_surface.py.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

DATA = Path(__file__).resolve().parents[1] / "data" / "tensorrt"


def read(name: str) -> dict[str, Any]:
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


def check(where: str, overloads: Sequence[Sequence[str]], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raises TypeError, as pybind and Cython do, where no overload takes these arguments."""
    for names in overloads:
        plain = [name.rstrip("?") for name in names if name != "self"]
        needed = {name for name in names if name != "self" and not name.endswith("?")}
        given = set(plain[: len(args)]) | set(kwargs)
        if len(args) <= len(plain) and needed <= given <= set(plain) and not set(plain[: len(args)]) & set(kwargs):
            return
    if overloads:
        raise TypeError(f"{where}: incompatible arguments {args} {dict(kwargs)}; it takes {overloads}")


def enumeration(name: str, members: Mapping[str, int]) -> type[enum.IntEnum]:
    return enum.IntEnum(name, dict(members))


def guarded(name: str, entry: Mapping[str, Any], behaviour: type) -> type:
    """A class with the recorded methods and properties, of which ``behaviour`` fills some; the rest say so.

    ``behaviour`` may keep private state (``_names``); objects that only the library makes come from ``_made``.
    """
    own = {key for key in vars(behaviour) if not key.startswith("_")}
    unknown = own - set(entry["methods"]) - set(entry["properties"]) - set(entry.get("classes", ()))
    space: dict[str, Any] = {}
    for method, overloads in entry["methods"].items():
        if method == "__init__":
            space[method] = _constructor(name, overloads, behaviour)
        else:
            space[method] = _method(f"{name}.{method}", overloads, getattr(behaviour, method, None))
    for prop, access in entry["properties"].items():
        if prop not in own:
            space[prop] = property(_not_modelled(f"{name}.{prop}"), _not_modelled(f"{name}.{prop}"))
        elif access == "r" and getattr(behaviour, prop).fset is not None:
            raise AssertionError(f"{name}.{prop} is read-only")
    for nested, what in entry.get("classes", {}).items():
        space[nested] = enumeration(nested, what["members"])
    # What this version lacks must be absent, also where the fake knows how it behaves.
    space["__getattribute__"] = _without(name, unknown)
    space["__setattr__"] = _closed(name, entry["properties"])
    return type(name, (behaviour,), space)


def _constructor(name: str, overloads: Sequence[Sequence[str]], behaviour: type) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        if not overloads:
            raise TypeError(f"{name}: No constructor defined!")
        check(name, overloads, args, kwargs)
        behaviour.__init__(self, *args, **kwargs)

    return __init__


def _method(where: str, overloads: Sequence[Sequence[str]], filled: Any) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        check(where, overloads, args, kwargs)
        if filled is None:
            raise NotImplementedError(f"the fake does not model {where}")
        return filled(self, *args, **kwargs)

    return call


def _not_modelled(where: str) -> Callable[..., Any]:
    def access(*_: Any) -> Any:
        raise NotImplementedError(f"the fake does not model {where}")

    return access


def _without(name: str, absent: set[str]) -> Callable[[Any, str], Any]:
    def get(self: Any, key: str) -> Any:
        if key in absent:
            raise AttributeError(f"{name!r} object has no attribute {key!r}")
        return object.__getattribute__(self, key)

    return get


def _closed(name: str, properties: Mapping[str, str]) -> Callable[[Any, str, Any], None]:
    def put(self: Any, key: str, value: Any) -> None:
        plain = type(self).__name__ == name and not key.startswith("_")  # a Python subclass may have attributes
        if plain and properties.get(key) != "rw":
            raise AttributeError(f"{name!r} object has no writable attribute {key!r}")
        object.__setattr__(self, key, value)

    return put


def module(surface: Mapping[str, Any], classes: Mapping[str, type], functions: Mapping[str, Any]) -> ModuleType:
    """A module with the recorded names: ``classes`` and ``functions`` behave, others say that they do not."""
    made = ModuleType(surface["module"])
    for name, entry in surface["classes"].items():
        if "members" in entry:
            setattr(made, name, enumeration(name, entry["members"]))
        elif name in classes:
            setattr(made, name, guarded(name, entry, classes[name]))
    for name, overloads in surface["functions"].items():
        setattr(made, name, _function(name, overloads, functions.get(name)))
    for name, value in surface["constants"].items():
        setattr(made, name, value)
    if extra := (set(functions) - set(surface["functions"])) | (set(classes) - set(surface["classes"])):
        raise AssertionError(f"{surface['module']} {surface['version']} has no {', '.join(sorted(extra))}")
    return made


def _function(name: str, overloads: Sequence[Sequence[str]], filled: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        check(name, overloads, args, kwargs)
        if filled is None:
            raise NotImplementedError(f"the fake does not model {name}")
        return filled(*args, **kwargs)

    return call
