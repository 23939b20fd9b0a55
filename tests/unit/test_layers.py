"""The layout's rules: arrows run downwards, no import cycles, no drawers, and a nano tier free of torch and ROS.

The rules and what measures them are in ``scripts/code_figures.py``; docs/architecture.md says them in words.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("code_figures", ROOT / "scripts" / "code_figures.py")
code = sys.modules["code_figures"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(code)

HEAVY = {"rclpy", "torch", "transformers", "ultralytics", "tensorrt"}
LIGHT_ROOMS = ("core", "runtime", "perception", "expression", "face", "web")
FULL_TIER = ("emo_face.perception.multiview.", "emo_face.expression.contextface.")
MODULES = code.modules(ROOT)
LIGHT = [name for name in MODULES if code.room(name) in LIGHT_ROOMS and not name.startswith(FULL_TIER)]


def test_every_package_has_its_row():
    assert set(code.packages(ROOT)) == set(code.MAY_IMPORT)


def test_the_rows_themselves_have_an_order():
    assert list(TopologicalSorter(code.MAY_IMPORT).static_order())


def test_arrows_run_downwards_lazy_imports_too():
    assert code.upward_arrows(ROOT) == []


def test_no_module_imports_itself_through_others():
    assert code.cycles(code.import_graph(ROOT)) == []


def test_no_folder_holds_more_than_a_reader_can_scan():
    large = {name for name, size in code.folder_sizes(ROOT).items() if size > code.FOLDER_LIMIT}
    assert large - code.MANY_OF_A_KIND == set()


def test_no_three_modules_share_a_prefix():
    assert code.prefix_families(ROOT) == []


def test_the_measures_see_what_they_are_for(tmp_path):
    """A tree with one of each fault: an upward lazy import, a cycle through a function, a family, a large folder."""
    package = tmp_path / "src" / "emo_face"
    for folder in ("core", "runtime"):
        (package / folder).mkdir(parents=True)
    files = {
        "core/__init__.py": "",
        "runtime/__init__.py": "",
        "core/a.py": "def f():\n    from emo_face.core import b\n    from emo_face.runtime.x_1 import y\n",
        "core/b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from emo_face.core.a import f\n",
        **{f"runtime/x_{i}.py": "" for i in range(16)},
    }
    for name, text in files.items():
        (package / name).write_text(text)
    assert [arrow.split(" ", 1)[1] for arrow in code.upward_arrows(tmp_path)] == ["core imports emo_face.runtime.x_1.y"]
    assert code.cycles(code.import_graph(tmp_path)) == [["emo_face.core.a", "emo_face.core.b"]]
    assert code.prefix_families(tmp_path)[0].startswith("src/emo_face/runtime: x_0, x_1")
    assert code.folder_sizes(tmp_path) == {"runtime": 16, "core": 2}


@pytest.mark.parametrize("name", LIGHT)
def test_light_rooms_import_nothing_heavy(name):
    for found in code.imports(MODULES[name]):
        assert found.lazy or found.name.split(".")[0] not in HEAVY, f"{MODULES[name]}:{found.line} {found.name}"


ABSENT = f"""
import importlib, sys
class Absent:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from emo_face.cli.main import build_parser, verbs
for name in {LIGHT!r}: importlib.import_module(name)
for verb in verbs(): build_parser([verb])
"""


def test_the_nano_tier_and_every_verb_are_there_without_torch_and_ros():
    """Import every light module and build every parser where torch and rclpy cannot be imported."""
    done = subprocess.run([sys.executable, "-c", ABSENT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
