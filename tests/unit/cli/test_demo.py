"""Arguments of `emo-face up` and `emo-face demo`, and the timeline of spoken lines."""

from __future__ import annotations

import argparse
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from rich.console import Console

from emo_face.cli import demo, main, up
from emo_face.cli._live import LiveView
from emo_face.core.errors import ConfigError
from emo_face.core.labels import basic7
from emo_face.core.paths import share_dir
from emo_face.runtime.sources import open_source


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


def test_a_password_on_the_command_line_is_told_of_and_not_repeated(capsys):
    up.warn_of_password("rtsp://me:sesame@camera/1")
    told = capsys.readouterr().err
    assert "process list" in told
    assert "sesame" not in told
    up.warn_of_password("camera.url")
    assert capsys.readouterr().err == ""


def test_the_demo_shows_the_packaged_scene_again_and_again():
    args = argparse.Namespace(port=0, source="", set=[], dashboard=8766, network=False, rig="head_12servo")
    given = demo.up_arguments(args)
    assert Path(given.source).name == "visitor.mp4"
    assert Path(given.source).is_file()
    assert "camera.loop=true" in given.set
    assert "face_driver.rig_driver=sim" in given.set
    assert up.dashboard_words(given)[-3:] == ["dashboard", "--port", "8766"]
    film = open_source(given.source)
    rate, seen = film.rate, 0
    while film.read() is not None:
        seen += 1
    period = yaml.safe_load((share_dir() / "config" / "demo_scene.yaml").read_text())["period"]
    assert seen / rate == pytest.approx(period), "the lines would drift against the film"


def message(**fields):
    return SimpleNamespace(**fields)


def busy_view() -> LiveView:
    """Everything that can be on the screen at once."""
    view = LiveView("emo_face demo", "http://127.0.0.1:8765")
    labels = basic7().labels
    people = [
        message(
            person_id=f"p{number:05d}",
            top="Surprise",
            labels=labels,
            probabilities=[0.9 if label == "Surprise" else 0.1 for label in labels],
            evidence=[message(source="face", share=0.91), message(source="speech", share=-0.09)],
            quality=0.95,
        )
        for number in range(6)
    ]
    view.on_message("emotion/scores", message(people=people))
    view.on_message("speech/text", message(data="My grandmother is in hospital. " * 9))
    shown = {"person_emotion": "Surprise", "shown": "Reassurance", "strength": 0.5}
    view.on_message("face/expression", message(perspective="listener", source="prototypes", person_id="p1", **shown))
    values = [message(key=f"{name}.rate_hz", value="30.0") for name in ("image", "scores", "expression")]
    warning = "no person detector: bodies are extrapolated from faces, backs are not seen. " * 2
    for name in ("camera", "perception", "expression", "face_driver"):
        view.on_message("diagnostics", message(status=[message(name=name, level=1, message=warning, values=values)]))
    return view


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_panel_fits_a_terminal(width):
    console = Console(width=width, height=24, record=True, file=StringIO())
    nodes = ("camera", "perception", "expression", "face_driver")
    console.print(busy_view().render(12.3, 30.0, dict.fromkeys(nodes, "active"), width))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    screen = "\n".join(lines[:24])
    for row in ("p00000", "p00003", "feels Surprise  shows Reassurance 50%", *nodes):
        assert sum(row in line for line in lines) >= 1
        assert row in screen
    boxes = [number for number, line in enumerate(lines) if line.startswith("╰")]
    assert boxes == [6, 10, 16], "a row was wrapped"


def test_a_real_source_brings_its_own_speech():
    assert list(demo.load_timeline(None, "talk.mp4").due(1e6)) == []
    assert list(demo.load_timeline(None, "").due(10.0))


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
