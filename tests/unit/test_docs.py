"""The documentation: every page is in the navigation, every package has a reference page, every command exists."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from emo_face.cli.main import build_parser, verbs

ROOT = Path(__file__).resolve().parents[2]


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert listed == pages


def test_every_package_has_a_reference_page() -> None:
    packages = {path.parent.name for path in (ROOT / "src" / "emo_face").glob("*/__init__.py")}
    assert {path.stem for path in (ROOT / "docs" / "reference").glob("*.md")} == packages


COMMAND = re.compile(r"emo-face ([a-z][a-z0-9-]*)([^`\n#|]*)")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Every option of a parser and of the parsers below it."""
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {option for below in action.choices.values() for option in options_of(below)}
    return found


@pytest.mark.parametrize("page", ["README.md", *sorted(p.name for p in (ROOT / "docs").glob("*.md"))])
def test_commands_that_the_pages_name_exist(page: str) -> None:
    text = (ROOT / page if page == "README.md" else ROOT / "docs" / page).read_text(encoding="utf-8")
    known, options = set(verbs()), {}
    for verb, rest in COMMAND.findall(text.replace("\\\n", " ")):
        if verb not in known:
            continue  # "emo-face is", and the like
        if verb not in options:
            options[verb] = options_of(build_parser([verb]))
        assert set(FLAG.findall(rest.partition("--ros-args")[0])) <= options[verb], f"{page}: emo-face {verb}{rest}"
