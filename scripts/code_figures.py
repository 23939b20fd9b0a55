#!/usr/bin/env python3
"""Print how the code is built: layers, import cycles, folders, sizes, repetition, suppressed checks.

    python scripts/code_figures.py                 # this checkout
    python scripts/code_figures.py --before DIR    # and an older one beside it: git worktree add DIR REVISION
    python scripts/code_figures.py --json

The rules are here and tests/unit/test_layers.py holds the tree to them; docs/architecture.md says them in words.
Reads files, imports nothing of them.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "emo_face"
MODELS = {"perception", "expression", "face"}
LIBRARY = {"core", "runtime", *MODELS}
DATA = {"core", "face", "perception", "expression", "runtime"}

# What each package of emo_face may import of the others, lazily or not.
MAY_IMPORT: Mapping[str, set[str]] = {
    "core": set(),
    "runtime": {"core"},
    "face": {"core", "runtime"},
    "perception": {"core", "runtime"},
    "expression": {"core", "runtime", "face"},
    "web": {"core", "face"},
    "api": LIBRARY,
    "recording": {"core", "runtime", "perception", "expression", "face"},
    "datasets": DATA,
    "evaluation": {*DATA, "datasets"},
    "training": {*DATA, "datasets", "evaluation"},
    "export": {*DATA, "training"},
    "ros": {"core", "runtime", "face", "recording"},
    "nodes": {*LIBRARY, "web", "ros"},
    "bench": {*LIBRARY, "web", "ros", "recording"},
    "cli": {*LIBRARY, "api", "web", "ros", "recording", "datasets", "evaluation", "training", "export", "bench"},
}
FOLDER_LIMIT = 15
MANY_OF_A_KIND = {"cli"}  # one more of the same kind in each module, so any number may lie side by side
FAMILY_LIMIT = 3
LONG_FILE = 300
REPEATED_LINES = 6


@dataclass(frozen=True)
class Import:
    """One import statement. ``lazy``: inside a function or a TYPE_CHECKING block, so not run by importing the file."""

    line: int
    name: str
    lazy: bool


def modules(root: Path) -> dict[str, Path]:
    """Dotted name -> file of every module of the package below ``root / src``; a package counts as its __init__."""
    source = root / "src"
    found = {}
    for path in sorted((source / PACKAGE).rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> list[Import]:
    """Every import of a file, wherever it stands; ``from a import b`` counts as ``a.b``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_import = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        lazy = id(node) not in at_import
        if isinstance(node, ast.Import):
            found += [Import(node.lineno, alias.name, lazy) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [Import(node.lineno, f"{node.module}.{alias.name}", lazy) for alias in node.names]
    return found


def room(name: str) -> str:
    """The first package below emo_face that a dotted name lies in, or empty."""
    parts = name.split(".")
    return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else ""


def upward_arrows(root: Path) -> list[str]:
    """Imports, lazy ones too, from a package that :data:`MAY_IMPORT` does not grant."""
    names, bad = modules(root), []
    rooms = {room(name) for name, path in names.items() if path.parent != root / "src" / PACKAGE}
    for name, path in names.items():
        here = room(name)
        for found in imports(path) if here in rooms else ():
            there = room(found.name)
            if there in rooms and there != here and there not in MAY_IMPORT.get(here, set()):
                bad.append(f"{path.relative_to(root)}:{found.line} {here} imports {found.name}")
    return bad


def import_graph(root: Path) -> dict[str, set[str]]:
    """Module -> modules of the package that it imports, lazily or not; ``from a import b`` imports ``a`` too."""
    names = modules(root)
    graph = {}
    for name, path in names.items():
        targets = {target for found in imports(path) for target in (found.name, found.name.rpartition(".")[0])}
        graph[name] = targets & set(names) - {name}
    return graph


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            part = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(part) > 1:
                found.append(sorted(part))

    sys.setrecursionlimit(10_000)
    for node in graph:
        if node not in index:
            visit(node)
    return found


def folder_sizes(root: Path) -> dict[str, int]:
    """Folder -> modules directly in it, __init__ apart, largest first."""
    inside = Counter(
        str(p.parent.relative_to(root / "src" / PACKAGE)) for p in modules(root).values() if p.stem != "__init__"
    )
    return dict(inside.most_common())


def prefix_families(root: Path) -> list[str]:
    """Modules of one folder that share what stands before their first underscore: a package in disguise."""
    families: dict[tuple[Path, str], set[str]] = defaultdict(set)
    for path in modules(root).values():
        if path.stem != "__init__":
            families[path.parent, path.stem.lstrip("_").split("_")[0]].add(path.stem)
    return [
        f"{folder.relative_to(root)}: {', '.join(sorted(stems))}"
        for (folder, _), stems in sorted(families.items())
        if len(stems) >= FAMILY_LIMIT
    ]


def statements(path: Path) -> int:
    """Statements of a file, docstrings (those under a constant or a field too) apart."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.stmt)]
    return sum(
        not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) and isinstance(n.value.value, str))
        for n in nodes
    )


def repeated_runs(paths: list[Path], length: int = REPEATED_LINES) -> int:
    """Runs of ``length`` lines, blank lines, comments and imports apart, that stand in more than one place."""
    seen: Counter[tuple[str, ...]] = Counter()
    for path in paths:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        lines = [line for line in lines if len(line) > 1 and not line.startswith(("#", "import ", "from "))]
        seen.update(tuple(lines[i : i + length]) for i in range(len(lines) - length + 1))
    return sum(count > 1 for count in seen.values())


def python_files(root: Path) -> list[Path]:
    """Every tracked Python file."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=root, capture_output=True, text=True, check=True)
    return [root / line for line in listed.stdout.splitlines() if (root / line).exists()]


def strict_packages(root: Path) -> list[str]:
    """Packages of emo_face that mypy checks strictly, as pyproject.toml lists them."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    every = [room_ for room_ in MAY_IMPORT if (root / "src" / PACKAGE / room_).is_dir()]
    whole = text.split("[[tool.mypy.overrides]]")[0].split("[tool.mypy]")[1]
    return every if "\nstrict = true\n" in whole else [r for r in every if f"{PACKAGE}.{r}.*" in text]


def figures(root: Path) -> dict[str, object]:
    """Every figure of one checkout."""
    source, everything = list(modules(root).values()), python_files(root)
    texts = {path: path.read_text(encoding="utf-8") for path in everything}
    lines = {str(p.relative_to(root)): texts[p].count("\n") for p in everything if "src" in p.parts}
    marker = "# fmt: " + "skip"
    return {
        "modules in src": len(source),
        "import cycles": len(cycles(import_graph(root))),
        "upward arrows, lazy imports counted": len(upward_arrows(root)),
        "prefix families of three": len(prefix_families(root)),
        "largest folders": ", ".join(f"{k} {v}" for k, v in list(folder_sizes(root).items())[:4]),
        "files over 300 lines in src": ", ".join(k for k, v in lines.items() if v > LONG_FILE) or "none",
        "statements in src": sum(map(statements, source)),
        "lines in src": sum(lines.values()),
        "statements in the tree": sum(map(statements, everything)),
        "repeated runs of six lines in src": repeated_runs(source),
        "repeated runs of six lines in the tree": repeated_runs(everything),
        marker: sum(text.count(marker) for text in texts.values()),
        "packages in strict mypy": f"{len(strict_packages(root))} of {len(list(packages(root)))}",
    }


def packages(root: Path) -> Iterator[str]:
    """Packages directly below emo_face that hold Python."""
    for folder in sorted((root / "src" / PACKAGE).iterdir()):
        if (folder / "__init__.py").is_file():
            yield folder.name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="an older checkout to compare with")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    args = parser.parse_args()
    now = figures(Path(__file__).resolve().parents[1])
    before = figures(args.before.resolve()) if args.before else None
    if args.json:
        print(json.dumps({"now": now, "before": before} if before else now, indent=1))
        return
    print("| figure | before | now |\n|---|---|---|" if before else "| figure | now |\n|---|---|")
    for key, value in now.items():
        print(f"| {key} | {before[key]} | {value} |" if before else f"| {key} | {value} |")


if __name__ == "__main__":
    main()
