"""Show the parameters of every node, or generate the parameter file and the documentation from the schema.

examples:
  emo-face params                      table of every parameter
  emo-face params --node perception    one node
  emo-face params --json               the same for programs
  emo-face params --write              write config/emo_face.yaml and docs/parameters.md
  emo-face params --check              exit code 1 and the fix when one of them is out of date
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from emo_face.core.arguments import arguments, one_of, option
from emo_face.core.paths import share_dir
from emo_face.ros.parameters.schema import NodeSchema, load_schema, schemas
from emo_face.ros.parameters.text import params_markdown, params_yaml, yaml_value
from emo_face.runtime.files import write_text

add_arguments = arguments(
    one_of(
        option("--table", action="store_true", help="print a table (the default)"),
        option("--write", action="store_true", help="write the generated files into this checkout"),
        option("--check", action="store_true", help="compare the generated files with the schema"),
        required=False,
    ),
    option("--node", help="only this node's parameters"),
    option("--json", action="store_true", help="print JSON instead of a table"),
)


def generated(root: Path) -> dict[Path, str]:
    """Path -> text of every file made from the schema."""
    return {
        root / "config" / "emo_face.yaml": params_yaml(schemas()),
        root / "docs" / "parameters.md": params_markdown(schemas()),
    }


def outdated(root: Path) -> list[Path]:
    """Generated files that are missing or differ from the schema."""
    return [p for p, text in generated(root).items() if not p.is_file() or p.read_text(encoding="utf-8") != text]


def run(args: argparse.Namespace) -> int:
    """Exit code 1 when ``--check`` finds a difference."""
    if args.check:
        for path in (stale := outdated(share_dir())):
            print(f"{path} is out of date: run `emo-face params --write`", file=sys.stderr)
        return 1 if stale else 0
    if args.write:
        for path, text in generated(share_dir()).items():
            print(write_text(path, text))
        return 0
    nodes = {args.node: load_schema(args.node)} if args.node else schemas()
    if args.json:
        print(json.dumps({n: [dataclasses.asdict(p) for p in s.parameters] for n, s in nodes.items()}, indent=1))
    else:
        _print_table(nodes)
    return 0


def _print_table(nodes: dict[str, NodeSchema]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for name, schema in nodes.items():
        table = Table(title=name, title_justify="left", caption=schema.description, caption_justify="left")
        for column, most in (("parameter", 24), ("default", 14), ("meaning", None)):
            table.add_column(column, max_width=most, overflow="fold")
        for p in schema.parameters:
            bounds = ", ".join(filter(None, (p.unit, p.range_text, p.change)))
            table.add_row(p.name, yaml_value(p.default), f"{p.description} ({bounds})" if bounds else p.description)
        console.print(table)
