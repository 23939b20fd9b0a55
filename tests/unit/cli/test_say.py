"""`emo-face say`: sentences to emotions and faces."""

from __future__ import annotations

import io
import json

import cv2
import pytest

from emo_face.cli.main import main


def said(capsys, *words):
    code = main(["say", *map(str, words)])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_a_sentence_in_text(capsys):
    code, out, _ = said(capsys, "What a lovely surprise!")
    assert code == 0
    assert out.splitlines()[0] == "What a lovely surprise!"
    assert "Surprise" in out
    assert "face: " in out


def test_several_sentences_in_json_are_a_line_each(capsys):
    code, out, _ = said(capsys, "I am so happy today!", "I miss her so much, I am so sad.", "--json")
    assert code == 0
    first, second = map(json.loads, out.splitlines())
    assert (first["top"], second["top"]) == ("Happy", "Sad")
    assert sum(first["probabilities"].values()) == pytest.approx(1)
    assert first["blendshapes"]["mouthSmileLeft"] > 0.1


def test_a_command_moves_nothing_and_a_long_line_is_echoed_short(capsys):
    code, out, _ = said(capsys, "Bring me a glass of water.", "\x1b[2J I am so happy today! " + "a" * 100_000)
    assert code == 0
    assert "face: at rest" in out
    assert len(out) < 2000
    assert "\x1b" not in out


@pytest.mark.parametrize("dash", [[], ["-"]])
def test_lines_of_standard_input(capsys, monkeypatch, dash):
    monkeypatch.setattr("sys.stdin", io.StringIO("I got the job!\n\nLeave me alone.\n"))
    code, out, _ = said(capsys, *dash, "--json")
    assert code == 0
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["I got the job!", "Leave me alone."]


def test_the_listener_answers_with_another_face(capsys):
    speaker = json.loads(said(capsys, "I am furious with you!", "--json")[1])
    listener = json.loads(said(capsys, "I am furious with you!", "--json", "--perspective", "listener")[1])
    assert speaker["probabilities"] == listener["probabilities"]
    assert speaker["blendshapes"] != listener["blendshapes"]


def test_faces_are_drawn_side_by_side(capsys, tmp_path):
    code, _, err = said(
        capsys, "I am so happy today!", "I miss her so much, I am so sad.", "--out", tmp_path / "faces.png"
    )
    assert code == 0
    assert "drawn:" in err
    drawn = cv2.imread(str(tmp_path / "faces.png"))
    assert drawn.shape == (360, 720, 3)
    assert (drawn[:, :360] != drawn[:, 360:]).any()


def test_flags_before_and_after_the_sentence(capsys):
    assert said(capsys, "--json", "I got the job!")[1] == said(capsys, "I got the job!", "--json")[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["hi", "--situation", "A quiet room."], "--situation: works only with --tier full"),
        (["hi", "--model", "m"], "--model: works only with --tier full"),
        (["--tier", "full", "hi"], "--tier full: needs --model"),
        (["hi", "--out", "/proc/x.png"], "/proc/x.png: cannot be written"),
    ],
)
def test_mistakes_are_one_line(capsys, words, says):
    code, _, err = said(capsys, *words)
    assert code == 2
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_nothing_said(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    code, _, err = said(capsys)
    assert code == 2
    assert "nothing was said" in err
