"""Declare a node's parameters from the schema and validate every live change against it."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

from emo_face.core.errors import ConfigError, UserError
from emo_face.ros.parameters.schema import NodeSchema, Parameter, Value, load_schema

__all__ = ["Parameters", "descriptor", "load_schema"]

# declared by rclpy itself
_FOREIGN = ("qos_overrides.", "use_sim_time", "start_type_description_service")


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """What ``ros2 param describe`` shows."""
    unit = f" [{parameter.unit}]" if parameter.unit else ""
    later = " A change counts from the node's next configure on." if parameter.configure else ""
    found = ParameterDescriptor(
        name=parameter.name,
        description=parameter.description + unit + later,
        read_only=parameter.read_only,
        additional_constraints=f"one of {parameter.range_text}" if parameter.choices else "",
    )
    if parameter.minimum is not None and parameter.maximum is not None:
        if parameter.type.startswith("int"):
            found.integer_range = [IntegerRange(from_value=int(parameter.minimum), to_value=int(parameter.maximum))]
        elif parameter.type == "double":
            found.floating_point_range = [
                FloatingPointRange(from_value=float(parameter.minimum), to_value=float(parameter.maximum))
            ]
    return found


class Parameters:
    """The current values of one node, always valid.

    Args:
        apply: called with (all values, names that changed) before a live change is accepted; raising
            ``ValueError`` or ``UserError`` refuses the change with that reason.

    Attributes:
        waiting: names changed that count from the next configure on; whoever configures empties it.

    Raises:
        ConfigError: a value given at start breaks the schema; names node, parameter, expected and got.
    """

    def __init__(
        self, node: Node, schema: NodeSchema, apply: Callable[[Mapping[str, Value], frozenset[str]], None]
    ) -> None:
        self._schema = {p.name: p for p in schema.parameters}
        self._apply = apply
        self._values: dict[str, Value] = {}
        self.waiting: set[str] = set()
        for parameter in schema.parameters:
            self._values[parameter.name] = self._declare(node, parameter)
        self.unknown = self._unknown(node)
        node.add_on_set_parameters_callback(self._on_set)

    def _declare(self, node: Node, parameter: Parameter) -> Any:
        where = f"{node.get_name()}: parameter {parameter.name}"
        try:
            value: Any = node.declare_parameter(parameter.name, parameter.default, descriptor(parameter)).value
        except InvalidParameterTypeException as error:
            got = getattr(error, "_param_value", "") or _override(node, parameter.name)
            problem = parameter.problem(got) or f"expected a {parameter.type}, got {got!r}"
            raise ConfigError(f"{where}: {problem}") from None
        except InvalidParameterValueException:
            raise ConfigError(f"{where}: {parameter.problem(_override(node, parameter.name))}") from None
        plain = _plain(value)
        if problem := parameter.problem(plain):
            raise ConfigError(f"{where}: {problem}")
        return plain

    def _unknown(self, node: Node) -> dict[str, str]:
        """Names given at start that no one declares -> the nearest known name or an empty text."""
        given = getattr(node, "_parameter_overrides", {})  # rclpy has no public view of them
        strange = [n for n in given if n not in self._schema and not n.startswith(_FOREIGN)]
        return {n: next(iter(difflib.get_close_matches(n, self._schema, 1)), "") for n in strange}

    def useless_overrides(self, node: Node) -> list[str]:
        """QoS overrides given at start that fit no topic of the node; ask when its topics exist."""
        given = getattr(node, "_parameter_overrides", {})
        return [n for n in given if n.startswith("qos_overrides.") and not node.has_parameter(n)]

    def _on_set(self, changes: list[Any]) -> SetParametersResult:
        known = {p.name: _plain(p.value) for p in changes if p.name in self._schema}
        for name, value in known.items():
            if problem := self._schema[name].problem(value):
                return SetParametersResult(successful=False, reason=f"{name}: {problem}")
        if not known:
            return SetParametersResult(successful=True)
        candidate = {**self._values, **known}
        try:
            self._apply(candidate, frozenset(known))
        except (UserError, ValueError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        self.waiting |= {n for n in known if self._schema[n].configure and known[n] != self._values[n]}
        self._values = candidate
        return SetParametersResult(successful=True)

    @property
    def values(self) -> Mapping[str, Value]:
        """Name -> value. The mapping is replaced, never changed, by a live change."""
        return self._values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]


def _override(node: Node, name: str) -> Any:
    found = getattr(node, "_parameter_overrides", {}).get(name)
    return _plain(found.value) if found is not None else None


def _plain(value: Any) -> Any:
    """rclpy's arrays and tuples as lists."""
    return value if isinstance(value, (bool, int, float, str)) or value is None else list(value)
