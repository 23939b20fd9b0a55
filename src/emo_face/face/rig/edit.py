"""Change numbers in a rig file and leave everything else, comments included, as it is."""

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from emo_face.face.rig.rig import Rig
from emo_face.face.rig.schema import Loc, load_rig_file
from emo_face.runtime.files import write_json, write_text


def with_fields(text: str, changes: Mapping[Loc, float]) -> str:
    """YAML ``text`` with the scalars at the given places replaced.

    Raises:
        KeyError: a place does not exist or is no scalar; names it.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    spans = []
    for loc, value in changes.items():
        node = _find(root, loc)
        if not isinstance(node, yaml.ScalarNode):
            raise KeyError(".".join(map(str, loc)))
        spans.append((node.start_mark.index, node.end_mark.index, number(value)))
    for begin, end, new in sorted(spans, reverse=True):
        text = text[:begin] + new + text[end:]
    return text


def number(value: float) -> str:
    """The number as a person would write it: no needless decimals."""
    return f"{value:.4f}".rstrip("0").rstrip(".") if value != round(value) else str(round(value))


def save(path: Path, text: str) -> None:
    """Check ``text`` and put it in place of ``path`` in one step; the file is never half written.

    Raises:
        ConfigError: the text is no valid rig file; ``path`` stays as it was.
    """
    Rig(*load_rig_file(path, text))
    write_text(path, text)


class CalibrationProgress:
    """Which actuators of a file have been calibrated; kept beside it until all are, so that work can be resumed.

    Args:
        path: the rig file. The notes are in ``<file>.progress``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".progress")
        self.done: list[str] = []
        try:
            noted = json.loads(self.path.read_text(encoding="utf-8"))
            self.done = [name for name in noted["done"] if isinstance(name, str)]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # nothing noted, or not by us: begin at the first actuator

    def note(self, name: str, names: tuple[str, ...]) -> None:
        """Remember that ``name`` is done; forget everything once all of ``names`` are."""
        if name not in self.done:
            self.done.append(name)
        if all(n in self.done for n in names):
            self.path.unlink(missing_ok=True)
        else:
            write_json(self.path, {"done": self.done})


def _find(node: yaml.Node | None, loc: Loc) -> yaml.Node | None:
    for step in loc:
        if isinstance(node, yaml.MappingNode):
            node = next((v for k, v in node.value if k.value == str(step)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
        else:
            return None
    return node
