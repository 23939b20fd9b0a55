"""The nodes of the graph and how each is started: read by ``emo-face up`` and by the launch file."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class NodeSpec:
    """A node of the graph. ``name`` is the node's name and its section in the YAML, ``space`` its namespace below the
    graph's own."""

    name: str
    space: str = ""

    @property
    def label(self) -> str:
        """What it is called among the nodes of the graph."""
        return f"{self.space}/{self.name}".lstrip("/")

    @property
    def module(self) -> str:
        return f"emo_face.nodes.{self.name}"

    @property
    def executable(self) -> str:
        """Name for ``ros2 run emo_face`` and launch files."""
        return f"{self.name}_node"


# Consumers come first, so that the first frame finds everybody listening.
GRAPH: tuple[NodeSpec, ...] = (
    NodeSpec("face_driver"),
    NodeSpec("expression"),
    NodeSpec("perception"),
    NodeSpec("camera"),
)
NODE_NAMES: tuple[str, ...] = tuple(spec.name for spec in GRAPH)
COMPOSED = ("camera", "perception", "expression")
"""Nodes that can share a process, in the order of the picture's way; what drives a face stays apart."""
NEXT_NODE = "--"  # parts the nodes of a composed command line


def command_line(spec: NodeSpec, words: Sequence[str]) -> list[str]:
    """Command that runs ``spec`` as a process of this interpreter; ``words``: its :func:`node_words`."""
    return [sys.executable, "-m", spec.module, *words]


def node_words(
    spec: NodeSpec,
    params_file: Path | None = None,
    namespace: str = "",
    overrides: Mapping[str, str] | None = None,
    ros_args: Sequence[str] = (),
) -> list[str]:
    """The arguments of one node, ``--ros-args`` first.

    Args:
        overrides: parameter -> YAML text of its value; they win over the file.
        ros_args: further words that follow ``--ros-args``; their parameter files win over ``params_file``.
    """
    words = ["--ros-args", "-r", f"__node:={spec.name}"]
    space = "/".join(filter(None, (namespace.strip("/"), spec.space)))
    if space:
        words += ["-r", f"__ns:=/{space}"]
    if params_file is not None:
        words += ["--params-file", str(params_file)]
    words += ros_args
    for name, value in (overrides or {}).items():
        words += ["-p", f"{name}:={value}"]
    return words


def composed_command(words: Mapping[str, Sequence[str]]) -> list[str]:
    """Command that runs several nodes as one process; ``words``: name of the node -> its :func:`node_words`."""
    command = [sys.executable, "-m", "emo_face.nodes.composed"]
    for number, (name, own) in enumerate(words.items()):
        command += [*([NEXT_NODE] if number else []), name, *own]
    return command
