"""Arrows run downwards only, and the nano tier stays free of torch and ROS at import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "emo_face"

# What each room may import of emo_face at module level, besides itself. See docs/architecture.md.
MAY_IMPORT = {
    "core": set(),
    "runtime": {"core"},
    "perception": {"core", "runtime"},
    "face": {"core", "runtime"},
    "expression": {"core", "runtime", "face"},
    "web": {"core", "face"},
    "datasets": {"core", "runtime", "face", "perception", "expression"},
    "training": {"core", "runtime", "face", "perception", "expression", "datasets", "evaluation"},
    "evaluation": {"core", "runtime", "face", "perception", "expression", "datasets", "training", "web"},
    "recording": {"core", "runtime", "perception", "expression", "face"},
    "ros": {"core", "runtime", "recording", "perception", "expression", "face"},
    "nodes": {"core", "runtime", "perception", "expression", "face", "web", "ros"},
}
HEAVY = {"rclpy", "torch", "transformers", "ultralytics", "tensorrt"}
LIGHT_ROOMS = ("core", "runtime", "perception", "expression", "face", "web")
FULL_TIER = ("perception/multiview/", "expression/contextface/")


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def top_level_imports(path: Path) -> list[tuple[int, str]]:
    """(line, module) of every import that runs when the module is imported; TYPE_CHECKING blocks do not."""
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_arrows_run_downwards(path):
    room = path.relative_to(SOURCE).parts[0]
    if room not in MAY_IMPORT:
        return
    for line, name in top_level_imports(path):
        parts = name.split(".")
        if parts[0] == "emo_face" and len(parts) > 1 and (SOURCE / parts[1]).is_dir():
            assert parts[1] == room or parts[1] in MAY_IMPORT[room], f"{path}:{line} {room} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_light_rooms_import_nothing_heavy(path):
    relative = path.relative_to(SOURCE).as_posix()
    if relative.split("/")[0] not in LIGHT_ROOMS or relative.startswith(FULL_TIER):
        return
    for line, name in top_level_imports(path):
        assert name.split(".")[0] not in HEAVY, f"{path}:{line} imports {name} at module level"


def test_the_nano_tier_runs_without_torch_and_ros():
    """Import every light module in a fresh interpreter in which torch and rclpy cannot be imported."""
    names = [
        "emo_face." + p.relative_to(SOURCE).with_suffix("").as_posix().replace("/", ".")
        for p in modules()
        if p.relative_to(SOURCE).parts[0] in LIGHT_ROOMS
        and p.name != "__init__.py"
        and not p.relative_to(SOURCE).as_posix().startswith(FULL_TIER)
    ]
    script = (
        f"import sys\nfor name in {sorted(HEAVY)!r}: sys.modules[name] = None\n"
        f"import importlib\nfor name in {names!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
