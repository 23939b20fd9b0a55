"""Nodes and parameters given to `emo-face up`, checked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import yaml

from emo_face.core.errors import ConfigError

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
