"""Recipes: the settings of a training as a YAML file, packaged (``data/recipes``) or the user's own."""

import re
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from emo_face.core.configs import from_dict
from emo_face.core.errors import ConfigError, UserError
from emo_face.core.paths import data_file
from emo_face.core.yaml_files import BoundedLoader

VERSION = 1
BOOL, FLOAT = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:float"
Recipe = TypeVar("Recipe")


class Yaml12(BoundedLoader):
    """Words as YAML 1.2 reads them: ``no`` is a word (a precision, too) and ``1e-5`` a number; in 1.1 neither is."""


Yaml12.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag != BOOL]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Yaml12.add_implicit_resolver(BOOL, re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF"))
Yaml12.add_implicit_resolver(FLOAT, re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)[eE][-+]?\d+$"), list("-+.0123456789"))


@dataclass
class Fields:
    """The fields of a recipe as plain values, and where each one stands. A field's path: ``stage1.epochs``."""

    source: str
    values: dict[str, Any]
    lines: dict[str, int] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    """Fields that the command line set -> how."""

    def where(self, path: str) -> str:
        """File and line of a field, or the flag that set it; the file alone for one that is not written."""
        if path in self.given:
            return self.given[path]
        line = self.lines.get(path)
        return f"{self.source}:{line}" if line else self.source

    def put(self, path: str, value: Any, how: str) -> None:
        """Set a field from the command line."""
        *sections, name = path.split(".")
        target = self.values
        for section in sections:
            target = target.setdefault(section, {})
        target[name] = value
        self.given[path] = how


def read_recipe(kind: type[Recipe], name: str, own: Path | None = None, **changes: Any) -> Recipe:
    """The packaged recipe ``name`` as a dataclass, with the fields of the file ``own`` and ``changes`` on top.

    A change that is None is no change.

    Raises:
        UserError: ``own`` cannot be read or is of another version. ConfigError: a field is unknown, missing or wrong.
    """
    found = read_fields(data_file(f"recipes/{name}.yaml"))
    if own is not None:
        top = read_fields(own)
        found = Fields(top.source, {**found.values, **top.values}, top.lines)
    changed = {key: value for key, value in changes.items() if value is not None}
    return from_dict(kind, {**found.values, **changed}, found.where)


def read_fields(path: Path) -> Fields:
    """The fields of a recipe file. Raises UserError if it cannot be read, is no mapping or of another version."""
    try:
        text = path.read_text(encoding="utf-8")
        node, values = yaml.compose(text, Loader=Yaml12), yaml.load(text, Loader=Yaml12)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as a recipe: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected fields of a recipe, got {type(values).__name__}")
    version = values.pop("version", None)
    if version != VERSION:
        raise UserError(f"{path}: field version: expected {VERSION}, got {version!r}; start from a packaged recipe")
    lines: dict[str, int] = {}
    for name, line in _marks(node, ""):
        if name in lines:
            raise ConfigError(f"{path}:{line}: {name}: is written twice, first in line {lines[name]}")
        lines[name] = line
    return Fields(str(path), values, lines)


def of_sections(kind: type[Recipe], found: Fields) -> Recipe:
    """A dataclass whose fields are dataclasses, each a section of the file.

    Raises:
        ConfigError: a section or field is unknown or wrong; names file, line, field, expected and got.
    """
    hints = typing.get_type_hints(kind)
    made = {}
    for name, value in found.values.items():
        if name not in hints:
            raise ConfigError(f"{found.where(name)}: unknown section {name!r}; expected some of {', '.join(hints)}")
        if not isinstance(value, dict):
            raise ConfigError(f"{found.where(name)}: {name}: expected fields, got {value!r}")
        made[name] = from_dict(hints[name], value, _Section(found, name))
    return kind(**made)


@dataclass(frozen=True)
class _Section:
    found: Fields
    name: str

    def __call__(self, field_name: str) -> str:
        path = f"{self.name}.{field_name}" if field_name else self.name
        return f"{self.found.where(path)}: {self.name}"


def _marks(node: Any, above: str) -> Iterator[tuple[str, int]]:
    """Path and line of every key, in order; lines count from 1."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        path = f"{above}{key.value}"
        yield path, key.start_mark.line + 1
        yield from _marks(value, f"{path}.")


def named(own: str, packaged: Sequence[str]) -> Path:
    """The file ``own``, or the packaged recipe of that name. Raises UserError with the packaged ones."""
    if Path(own).is_file():
        return Path(own)
    if Path(own).name == own and Path(own).stem in packaged:
        return data_file(f"recipes/{Path(own).stem}.yaml")
    raise UserError(f"--recipe {own}: no such file; packaged recipes: {', '.join(f'{name}.yaml' for name in packaged)}")
