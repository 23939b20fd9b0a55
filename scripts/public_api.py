#!/usr/bin/env python3
"""Print the public interface of emo_face: every name in __all__ with its signature, fields and methods.

docs/api.md holds this text between its markers and a test compares them, so that no change slips in unnoticed.
``python scripts/public_api.py --write`` puts the present interface into the page.
"""

import argparse
import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import emo_face

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"
START, END = "<!-- public interface, made by scripts/public_api.py -->\n```text\n", "```\n<!-- end -->"


def surface() -> str:
    """One line per name, its members indented below it."""
    lines: list[str] = []
    for name in emo_face.__all__:
        value = getattr(emo_face, name)
        if inspect.isclass(value):
            bases = [base.__name__ for base in value.__bases__ if base is not object and not inner(base)]
            lines.append(f"class {name}" + (f"({', '.join(bases)})" if bases else ""))
            lines += [f"    {member}" for member in members(value)]
        elif callable(value):
            lines.append(f"def {name}{signature(value)}")
        else:
            lines.append(f"{name}: {type(value).__name__}")
    return "\n".join(lines) + "\n"


class _Source(str):
    """An annotation shown as it stands in the source."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def signature(function: Callable[..., object]) -> inspect.Signature:
    """The signature with its annotations as they are written."""
    found, node = inspect.signature(function), _source(function)
    written = {arg.arg: arg.annotation for arg in ast.walk(node.args) if isinstance(arg, ast.arg) and arg.annotation}
    shown = {name: _Source(ast.unparse(annotation)) for name, annotation in written.items()}
    parameters = [p.replace(annotation=shown.get(p.name, p.empty)) for p in found.parameters.values()]
    return found.replace(parameters=parameters, return_annotation=_Source(ast.unparse(node.returns)))


def _source(thing: object) -> Any:
    """The definition of a class or a function."""
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


def field_types(cls: type) -> dict[str, str]:
    """Name -> annotation of the fields of a class and of its bases, as they are written."""
    own = [n for n in _source(cls).body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
    bases = [base for base in cls.__bases__ if base.__module__.startswith("emo_face.")]
    inherited = {name: text for base in bases for name, text in field_types(base).items()}
    return {**inherited, **{n.target.id: ast.unparse(n.annotation) for n in own}}


def inner(base: type) -> bool:
    """A base class that the package does not name in public: its members are shown as the class's own."""
    return base.__module__.startswith("emo_face.") and base.__name__ not in emo_face.__all__


def members(cls: type) -> Iterator[str]:
    """Fields of a dataclass, then public properties and methods in alphabetical order."""
    if issubclass(cls, Exception):
        return
    types = field_types(cls)
    for field in dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ():
        if not field.name.startswith("_"):
            optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            yield f"{field.name}: {types[field.name]}" + (" = ..." if optional else "")
    bases = [base for base in reversed(cls.__mro__) if base is cls or inner(base)]
    own = {name: value for base in bases for name, value in vars(base).items()}
    for name, value in sorted(own.items()):
        public = not name.startswith("_") or name in ("__enter__", "__exit__")
        if public and isinstance(value, property):
            yield f"{name}: {signature(value.fget).return_annotation}  (read only)"
        elif public and inspect.isfunction(value):
            yield f"def {name}{signature(value)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put it into docs/api.md")
    if not parser.parse_args().write:
        print(surface(), end="")
        return
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    PAGE.write_text(before + START + surface() + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
