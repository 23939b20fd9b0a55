"""What the released code has and this must not: see docs/contextface.md, defects 4, 7, 11 and 12. Needs no torch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[4] / "src" / "emo_face"
FILES = [*SOURCE.glob("expression/contextface/*.py"), *SOURCE.glob("training/contextface*.py")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_absolute_paths_no_forced_device_no_tracker(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = [n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    assert "cuda" not in called
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert not [t for t in texts if t.startswith(("/home/", "/DATA", "/data", "/mnt", "/root"))]
    imported = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    assert not imported & {"wandb", "deepspeed", "pickle"}


@pytest.mark.parametrize("path", [f for f in FILES if not f.name.endswith("_main.py")], ids=lambda path: path.name)
def test_the_library_prints_nothing(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "print"]


def test_importing_the_package_needs_no_torch():
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "import emo_face.expression, emo_face.expression.contextface, emo_face.expression.contextface.prompts\n"
        "import emo_face.expression.contextface.config, emo_face.expression.contextface.picture\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
