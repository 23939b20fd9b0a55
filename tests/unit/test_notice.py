"""NOTICE names every library that setup.py installs and every model that the manifest lists as shipped."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
NOTICE = (ROOT / "NOTICE").read_text(encoding="utf-8").lower()
REQUIREMENT = re.compile(r"([A-Za-z][A-Za-z0-9._-]*)(\[[\w,]+\])?\s*([<>=~!].*)?")


def requirements() -> set[str]:
    """Names in setup.py's constants that end up in install_requires and extras_require."""
    assigned = [n for n in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body if isinstance(n, ast.Assign)]
    lists = [part for node in assigned for part in ast.walk(node.value) if isinstance(part, ast.List)]
    single = [node.value for node in assigned if ">=" in ast.unparse(node.value)]
    texts = [text for part in lists for text in part.elts] + single
    values = [text.value for text in texts if isinstance(text, ast.Constant) and isinstance(text.value, str)]
    return {REQUIREMENT.match(value)[1] for value in values}


def test_every_requirement_has_a_licence() -> None:
    names = requirements()
    assert {"numpy", "torch", "onnxruntime-gpu", "pytest"} <= names
    assert {name for name in names if name.lower() not in NOTICE} == set()


def test_every_packaged_model_has_its_origin() -> None:
    manifest = yaml.safe_load((ROOT / "models" / "manifest.yaml").read_text(encoding="utf-8"))
    shipped = [m["file"] for m in manifest["models"] if (ROOT / "models" / m["file"]).is_file()]
    assert len(shipped) >= 3
    assert [file for file in shipped if f"models/{file}" not in NOTICE] == []
