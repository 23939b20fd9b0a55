"""YAML that people are given: plain values only, and never more of them than a person would write."""

import yaml

MOST = 200_000
"""Values in a file, each alias counted as all it stands for: nine lines of aliases stand for a billion."""


class BoundedLoader(yaml.SafeLoader):
    """Safe, and raises YAMLError for a file that grows beyond :data:`MOST`, holds itself, or is nested too deeply."""

    def get_single_node(self) -> yaml.Node | None:
        try:
            node = super().get_single_node()
            if _size(node, {}) > MOST:
                raise yaml.YAMLError(f"its aliases stand for more than {MOST} values")
        except RecursionError:
            raise yaml.YAMLError("nested too deeply") from None
        return node


def _size(node: yaml.Node | None, known: dict[int, float]) -> float:
    """Values that ``node`` stands for; infinite if it holds itself."""
    if node is None or isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = float("inf")
        parts = (part for pair in node.value for part in pair) if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]
