"""The documentation's navigation: every page is in it, every package has a reference page."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert listed == pages


def test_every_package_has_a_reference_page() -> None:
    packages = {path.parent.name for path in (ROOT / "src" / "emo_face").glob("*/__init__.py")}
    assert {path.stem for path in (ROOT / "docs" / "reference").glob("*.md")} == packages
