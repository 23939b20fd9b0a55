"""Arguments of `emo-face up` and `emo-face demo`, and the timeline of spoken lines."""

from __future__ import annotations

import argparse

import pytest

from emo_face.cli import demo, main, up
from emo_face.core.errors import ConfigError


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    up.add_arguments(parser)
    return parser.parse_args(list(words))


def test_lines_are_due_once_and_again_each_period():
    timeline = demo.Timeline([(1.0, "one"), (2.0, "two")], period=10.0)
    assert list(timeline.due(0.5)) == []
    assert list(timeline.due(2.5)) == ["one", "two"]
    assert list(timeline.due(2.6)) == []
    assert list(timeline.due(11.5)) == ["one"]


def test_a_line_at_zero_is_spoken():
    assert list(demo.Timeline([(0.0, "now")], period=5.0).due(0.0)) == ["now"]


def test_a_real_source_brings_its_own_speech():
    assert list(demo.load_timeline(None, "talk.mp4").due(1e6)) == []
    assert list(demo.load_timeline(None, "").due(2.0))


def test_a_bad_timeline_is_named(tmp_path):
    path = tmp_path / "lines.yaml"
    path.write_text("lines: 3")
    with pytest.raises(ConfigError, match=r"lines\.yaml: expected `period"):
        demo.load_timeline(path, "")


def test_overrides_reach_the_node_they_name():
    pytest.importorskip("yaml")
    pytest.importorskip("rclpy", reason="run scripts/setup.sh")
    words = ("--set", "perception.max_age=0.3", "--source", "a b.mp4", "--only", "camera,perception")
    commands = {names[0]: command for names, command in up.commands(parse(*words))}
    assert set(commands) == {"camera", "perception"}
    assert "max_age:=0.3" in commands["perception"]
    assert 'source:="a b.mp4"' in commands["camera"]
    assert not any("max_age" in word for word in commands["camera"])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--set", "perception.nonsense=1"], "has no parameter 'nonsense'"),
        (["--set", "nobody.rate=1"], "expected NODE.PARAM=VALUE"),
        (["--only", "camera,nobody"], "no node is called 'nobody'"),
        (["--params", "missing.yaml"], "missing.yaml does not exist"),
        (["--remap", "foo"], "Couldn't parse remap rule: '-r foo'"),
        (["--log-level", "foo"], "Couldn't parse log level"),
        (["--namespace", "a!b"], "Couldn't parse remap rule: '-r __ns:=/a!b'"),
        (["--ros-args", "--bogus"], "unknown arguments \\['--bogus'"),
        (["--ros-args", "-r", "__node:=x"], "would give every node this name"),
    ],
)
def test_mistakes_are_named(words, complaint):
    with pytest.raises(ConfigError, match=complaint):
        up.commands(parse(*words))


def test_every_verb_has_help_with_its_own_text(capsys):
    for verb in main.verbs():
        with pytest.raises(SystemExit) as ended:
            main.main([verb, "--help"])
        assert ended.value.code == 0
        assert len(capsys.readouterr().out) > 200, f"{verb} explains nothing"


def test_a_users_mistake_is_one_line(capsys):
    assert main.main(["replay", "no/such.mcap"]) == 2
    assert capsys.readouterr().err.strip() == "emo-face replay: no/such.mcap does not exist"
