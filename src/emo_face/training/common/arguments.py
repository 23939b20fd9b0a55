"""Command-line arguments that several trainings share; no torch."""

import argparse
import dataclasses
import re
import typing
from pathlib import Path
from typing import Any

from emo_face.core.arguments import Option, arguments, option


def common(data: str) -> Option:
    """``--data`` (described by ``data``), ``--out``, ``--seed`` and ``--threads``."""
    return arguments(
        option("--data", type=Path, required=True, metavar="DIR", help=data),
        option("--out", type=Path, required=True, metavar="DIR", help="folder to write to"),
        option("--seed", type=int, default=0, help="training seed (default 0); data splits do not depend on it"),
        option("--threads", type=int, default=1, help="CPU threads (default 1)"),
    )


def add_fields(parser: Any, kind: Any, without: tuple[str, ...] = ()) -> None:
    """One flag per field of a config dataclass, with its default; booleans get a ``--no-`` form, tuples take words."""
    hints, told_of = typing.get_type_hints(kind), documented(kind)
    for field in dataclasses.fields(kind):
        if field.name in without:
            continue
        flag, default, hint = flag_of(field.name), field.default, hints[field.name]
        told = help_of(told_of.get(field.name, ""), default)
        if isinstance(default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=told)
        elif typing.get_origin(hint) is typing.Literal:
            parser.add_argument(flag, choices=typing.get_args(hint), default=default, help=told)
        elif isinstance(default, tuple):
            parser.add_argument(flag, nargs="+", default=default, help=told)
        else:
            parser.add_argument(flag, type=type(default), default=default, help=told)


def documented(kind: Any) -> dict[str, str]:
    """Field -> what the ``Attributes`` of a dataclass' docstring, or of those it extends, say of it."""
    names = "|".join(field.name for field in dataclasses.fields(kind))
    entry = re.compile(rf"(?:^|(?<=\.) )((?:{names})(?:, (?:{names}))*): ")
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        text = " ".join((base.__doc__ or "").partition("Attributes:")[2].split())
        _, *parts = entry.split(re.sub(r":\w+:`(?:[^`]*\.)?(\w+)`|``", r"\1", text))
        for several, told in zip(parts[::2], parts[1::2], strict=True):
            found |= dict.fromkeys(several.split(", "), told.strip().rstrip("."))
    return found


def help_of(told: str, default: Any) -> str:
    """Help of a flag: what it does, and its default."""
    shown = " ".join(default) if isinstance(default, tuple) else str(default)
    return f"{told} (default: {shown or 'empty'})".strip().replace("%", "%%")


def flag_of(name: str) -> str:
    """``--batch-size`` of ``batch_size``."""
    return "--" + name.replace("_", "-")


def words_of(config: Any, without: tuple[str, ...] = ()) -> list[str]:
    """The command line that :func:`add_fields` reads back as ``config``; fields at their default are left out."""
    words: list[str] = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in without or value == field.default:
            continue
        if isinstance(value, bool):
            words.append(flag_of(field.name) if value else flag_of(f"no_{field.name}"))
        else:
            words += [flag_of(field.name), *map(str, value if isinstance(value, tuple) else (value,))]
    return words


def config_of(kind: Any, args: argparse.Namespace, /, **given: Any) -> Any:
    """The dataclass ``kind`` from parsed flags; ``given`` fields are taken as they are."""
    names = {field.name for field in dataclasses.fields(kind)} - set(given)
    found = {name: getattr(args, name) for name in names if hasattr(args, name)}
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}, **given)
