"""Nodes and parameters given to `emo-face up`, checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from emo_face.core.errors import ConfigError
from emo_face.core.yaml_files import BoundedLoader

if TYPE_CHECKING:
    from emo_face.ros.parameters.schema import Parameter


def node_names(only: str | None, without: str | None) -> list[str]:
    """Names of the nodes to start, in the order of the graph."""
    from emo_face.ros.supervision.graph import NODE_NAMES

    wanted = set(only.split(",")) if only else set(NODE_NAMES)
    dropped = set(without.split(",")) if without else set()
    for name in sorted(wanted | dropped):
        if name not in NODE_NAMES:
            raise ConfigError(f"no node is called {name!r}: expected some of {', '.join(NODE_NAMES)}")
    return [name for name in NODE_NAMES if name in wanted and name not in dropped]


def parse_overrides(settings: list[str]) -> dict[str, dict[str, str]]:
    """``NODE.PARAM=VALUE`` strings -> {node: {param: value}}. Raises ConfigError naming what does not fit."""
    from emo_face.ros.parameters.schema import load_schema
    from emo_face.ros.supervision.cameras import PEOPLE
    from emo_face.ros.supervision.graph import NODE_NAMES

    known = (*NODE_NAMES, PEOPLE.name)
    overrides: dict[str, dict[str, str]] = {}
    for setting in settings:
        path, equals, value = setting.partition("=")
        node, dot, name = path.partition(".")
        if not equals or not dot or node not in known:
            raise ConfigError(f"--set {setting}: expected NODE.PARAM=VALUE with NODE one of {', '.join(known)}")
        schema = load_schema(node)
        if name not in schema:
            raise ConfigError(f"--set {setting}: node {node} has no parameter {name!r}; see `emo-face params --table`")
        overrides.setdefault(node, {})[name] = yaml_text(schema[name], value, setting)
    return overrides


def yaml_text(parameter: Parameter, text: str, setting: str) -> str:
    """What a user wrote for ``parameter`` as YAML of its type. Raises ConfigError naming the setting."""
    try:
        value = text if parameter.type == "string" else yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    if parameter.type == "double" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    problem = parameter.problem(value)
    if problem:
        raise ConfigError(f"--set {setting}: {problem}")
    return json.dumps(value)  # JSON is YAML; a quoted string stays a string


def check_file(path: Path, nodes: Sequence[str]) -> list[str]:
    """What a ROS parameter file says to none of ``nodes`` (full names, ``/robot/camera``) but seems to mean for one.

    Files that other nodes share are fine. rcl itself passes over every section that fits no node.

    Raises:
        ConfigError: no YAML, not of ROS's structure, or without any section for one of them.
    """
    try:
        table = yaml.load(path.read_text(encoding="utf-8"), Loader=BoundedLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    heard = {section: {node for node in nodes if _fits(section, node)} for section in _sections(table, path)}
    deaf = [node for node in nodes if not any(node in by for by in heard.values())]
    lost = []
    for section in (section for section, by in heard.items() if not by):
        name = section.rpartition("/")[2]
        lost += [
            f"{path}: no node here is called {section}; did you mean {node}?"
            for node in deaf
            if get_close_matches(name, [node.rpartition("/")[2]], cutoff=0.75)
        ]
    if len(deaf) == len(nodes):
        found = ", ".join(heard) or "none"
        raise ConfigError("; ".join(lost[:1]) or f"{path}: no section of it ({found}) is for {', '.join(nodes)}")
    return lost


def _sections(table: object, path: Path, name: str = "") -> Iterator[str]:
    """Full names of nodes, with wildcards, that have ``ros__parameters``."""
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {name or 'the file'}: expected NODE, then ros__parameters below it, then values")
    if "ros__parameters" in table:
        yield name
        return
    for key, below in table.items():
        yield from _sections(below, path, f"{name}/{str(key).strip('/')}")


def _fits(section: str, node: str) -> bool:
    """As rcl: ``*`` stands for one part of a name, ``**`` for any number of them."""
    parts = {"*": "/[^/]+", "**": "(?:/[^/]+)*"}
    return re.fullmatch("".join(parts.get(p, "/" + re.escape(p)) for p in section.split("/")[1:]), node) is not None
