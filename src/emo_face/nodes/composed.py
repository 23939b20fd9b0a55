"""Camera, perception and expression, or some of them, as one process: ``emo-face up --compose`` starts it.

    python -m emo_face.nodes.composed camera --ros-args ... -- perception --ros-args ... -- expression --ros-args ...

Every node has its own arguments, parameters, topics, services and lifecycle, as if it were a process of its own. What
the camera reads goes to the other two by reference, and over DDS to whoever else subscribes.
"""

import sys
from collections.abc import Iterator, Sequence
from importlib import import_module

from emo_face.core.errors import UserError
from emo_face.ros.compose import Part, run_together
from emo_face.ros.supervision.graph import COMPOSED, NEXT_NODE

CLASSES = {"camera": "CameraNode", "perception": "PerceptionNode", "expression": "ExpressionNode"}


def parts(words: Sequence[str]) -> list[Part]:
    """The nodes that a command line names, those that give pictures first.

    Raises:
        UserError: a name that is no node of :data:`COMPOSED`, or none at all.
    """
    given = dict(_by_node(words))
    wrong = sorted(set(given) - set(COMPOSED))
    if wrong or not given:
        named = ", ".join(wrong) or "nothing"
        raise UserError(f"composed: {named}: expected some of {', '.join(COMPOSED)}, each with its --ros-args")
    return [_part(name, given[name]) for name in COMPOSED if name in given]


def _by_node(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    found: list[str] = []
    for word in (*words, NEXT_NODE):
        if word != NEXT_NODE:
            found.append(word)
        elif found:
            yield found[0], found[1:]
            found = []


def _part(name: str, words: Sequence[str]) -> Part:
    module = import_module(f"emo_face.nodes.{name}")
    return Part(getattr(module, CLASSES[name]), words, getattr(module, "REMAPS", ()))


def main() -> int:
    """Run the process."""
    try:
        wanted = parts(sys.argv[1:])
    except UserError as error:
        print(f"emo_face: {error}", file=sys.stderr)
        return 2
    return run_together(wanted)


if __name__ == "__main__":
    raise SystemExit(main())
