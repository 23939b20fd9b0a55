"""The documentation: every page is in the navigation, every package has a reference page, every command is right."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from itertools import groupby
from pathlib import Path

import pytest
import yaml

from emo_face.cli.main import build_parser, verbs
from emo_face.ros.parameters.schema import schemas

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md"))))


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert listed == pages


def test_every_package_has_a_reference_page() -> None:
    packages = {path.parent.name for path in (ROOT / "src" / "emo_face").glob("*/__init__.py")}
    assert {path.stem for path in (ROOT / "docs" / "reference").glob("*.md")} == packages


def told() -> dict[str, str]:
    """What docs/tutorials.md says of each command: the tests that run it, or why none does."""
    page = (ROOT / "docs/tutorials.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*`) \| (.*) \|$", page, re.MULTILINE)
    return {command: rest for commands, rest in rows for command in re.findall("`([^`]+)`", commands)}


TOLD = told()


COMMAND = re.compile(r"emo-face ([a-z][a-z0-9-]*)([^`\n#|]*)")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Every option of a parser and of the parsers below it."""
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {option for below in action.choices.values() for option in options_of(below)}
    return found


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_the_pages_name_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    known, options = set(verbs()), {}
    for verb, rest in COMMAND.findall(text.replace("\\\n", " ")):
        if verb not in known:
            continue  # "emo-face is", and the like
        assert f"emo-face {verb}" in TOLD, f"docs/tutorials.md does not say what runs emo-face {verb}"
        if verb not in options:
            options[verb] = options_of(build_parser([verb]))
        assert set(FLAG.findall(rest.partition("--ros-args")[0])) <= options[verb], f"{page}: emo-face {verb}{rest}"


INDENTED = re.compile(r" {4}(?:emo-face|accelerate|make|ros2|scripts/\S+|python|pip|docker|vllm) ")


def shell_commands(page: str) -> list[list[str]]:
    """The words of every command in a page's shell blocks: fenced with bash or no language, or indented by four."""
    found: list[list[str]] = []
    language = None
    for line in (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            language = line[3:] if language is None else None
        elif language in ("", "bash") or (language is None and INDENTED.match(line)):
            words = shlex.split(line, comments=True)
            found += [list(run) for joint, run in groupby(words, lambda word: word == "&&") if not joint]
    return found


PARAMETERS = {f"{node}.{parameter.name}" for node, schema in schemas().items() for parameter in schema.parameters}


def parse(words: list[str]) -> None:
    """Parse a command line of emo-face by its own parser; ``--set`` must name a parameter."""
    if words[-1] == "...":  # some are left out; the others were looked up above
        return
    args = build_parser(words[:1]).parse_args(words)
    if words[0] == "up":
        assert {pair.partition("=")[0] for pair in args.set} <= PARAMETERS, args.set


def understand(words: list[str]) -> None:
    """Check a command by what would read it. Raises if it would be refused."""
    program, *rest = words
    if "emo-face" in program or program == "accelerate":
        parse(rest[rest.index("emo_face.cli.main") + 1 :] if program == "accelerate" else rest)
    elif program == "make":
        text = (ROOT / "Makefile").read_text(encoding="utf-8")
        for word in rest:
            name, assigned, _ = word.partition("=")
            assert re.search(rf"^{name} \?=" if assigned else rf"^{name}:", text, re.MULTILINE), word
    elif program == "ros2":
        understand_ros(*rest)
    elif program in ("python", "sudo") or program.endswith(".sh"):
        assert (ROOT / (program if program.endswith(".sh") else rest[0])).is_file(), words
    elif "=" in program:  # a variable for one command
        understand(rest)
    else:
        assert program in {command.split()[0] for command in TOLD}, words


def understand_ros(verb: str, *rest: str) -> None:
    """A `ros2` command names arguments, programs, parameters and interfaces of ours that exist."""
    if verb == "launch" and rest[0] == "emo_face":
        text = (ROOT / "launch" / rest[1]).read_text(encoding="utf-8")
        known = set(re.findall(r'^    "(\w+)": \(', text, re.MULTILINE)) | set(schemas())
        assert {word.partition(":=")[0] for word in rest[2:]} <= known, rest
    elif verb == "run" and rest[0] == "emo_face":
        node = rest[1].removesuffix("_node")
        assert rest[1].endswith("_node"), rest
        assert {f"{node}.{word.partition(':=')[0]}" for word in rest[2:] if ":=" in word} <= PARAMETERS, rest
    elif verb == "param":
        assert f"{rest[1][1:]}.{rest[2]}" in PARAMETERS, rest
    for package, kind, name in re.findall(r"(emo_face_msgs)/(msg|srv|action)/(\w+)", " ".join(rest)):
        assert (ROOT / "ros2_ws/src" / package / kind / f"{name}.{kind}").is_file(), rest


@pytest.mark.parametrize("page", [page for page in PAGES if shell_commands(page)])
def test_shell_commands_are_understood_by_what_reads_them_and_run_or_it_is_said_why_not(page: str) -> None:
    for words in shell_commands(page):
        understand(words)
        line = " ".join(word.removeprefix(".venv/bin/") for word in words if not re.match("[A-Z_]+=", word)) + " "
        assert any(line.startswith(f"{command} ") for command in TOLD), (
            f"docs/tutorials.md does not say what runs: {line}"
        )


@pytest.mark.parametrize(("command", "rest"), TOLD.items())
def test_what_is_said_to_run_a_command_names_it(command: str, rest: str) -> None:
    for file in re.findall(r"`([\w/.]+/[\w.]+)`", rest):
        assert Path(command.split()[-1]).stem in (ROOT / file).read_text(encoding="utf-8"), (command, file)


@pytest.mark.parametrize(
    "words",
    [
        "emo-face look --nowhere",
        "make dema",
        "make demo SORCE=0",
        "emo-face up --set camera.sorce=0",
        "rm x",
        "ros2 launch emo_face bringup.launch.py sorce:=0",
        "ros2 run emo_face perception",
        "python no.py",
    ],
)
def test_a_mistyped_command_is_noticed(words: str) -> None:
    with pytest.raises((AssertionError, SystemExit)):
        understand(words.split())


def test_the_compose_file_builds_what_is_there() -> None:
    """Every service builds a Dockerfile of ours from the checkout, and what it copies and runs is in it."""
    services = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))["services"]
    assert services.keys() == {profile for service in services.values() for profile in service["profiles"]}
    for service in services.values():
        assert (ROOT / "docker" / service["build"]["context"]).resolve() == ROOT
        text = (ROOT / service["build"]["dockerfile"]).read_text(encoding="utf-8")
        for script in re.findall(r"scripts/\S+\.sh", text):
            assert os.access(ROOT / script, os.X_OK), script
