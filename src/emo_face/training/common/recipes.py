"""Recipes: the numbers of a training as a YAML file, packaged (``data/recipes``) or the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml

from emo_face.core.errors import ConfigError, UserError
from emo_face.core.paths import data_file
from emo_face.perception.multiview.config import from_dict

VERSION = 1
Recipe = TypeVar("Recipe")


def read_recipe(kind: type[Recipe], name: str, own: Path | None = None, **changes: Any) -> Recipe:
    """The packaged recipe ``name`` as a dataclass, with the fields of the file ``own`` and ``changes`` on top.

    A change that is None is no change.

    Raises:
        UserError: ``own`` cannot be read or is of another version. ConfigError: a field is unknown, missing or wrong.
    """
    packaged = data_file(f"recipes/{name}.yaml")
    values, where = _read(packaged), str(packaged)
    if own is not None:
        values, where = {**values, **_read(own)}, str(own)
    changed = {key: value for key, value in changes.items() if value is not None}
    return from_dict(kind, {**values, **changed}, where)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as a recipe: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected fields of a recipe, got {type(values).__name__}")
    version = values.pop("version", None)
    if version != VERSION:
        raise UserError(f"{path}: field version: expected {VERSION}, got {version!r}; start from a packaged recipe")
    return values
