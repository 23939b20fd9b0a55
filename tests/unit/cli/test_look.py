"""`emo-face look`: pictures, films, JSON, drawings, and mistakes in one line."""

from __future__ import annotations

import json
from functools import cache

import cv2
import numpy as np
import pytest

from emo_face.api.look import look, nano_model, nano_pipeline
from emo_face.cli.main import main
from emo_face.runtime import samples


@pytest.fixture(autouse=True)
def here(tmp_path, assets, monkeypatch):
    monkeypatch.setenv("EMO_FACE_MODELS", str(assets))
    monkeypatch.chdir(tmp_path)
    nano_pipeline.cache_clear()  # another test of this process may have looked without these models


def said(capsys, *words):
    code = main(["look", *map(str, words)])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_without_a_source_the_packaged_portrait_is_read_and_drawn(tmp_path, capsys):
    code, out, err = said(capsys)
    assert code == 0
    assert out.startswith("astronaut.jpg: 1 person")
    assert "Happy" in out
    assert "drawn: astronaut_look.png" in err
    drawn, plain = cv2.imread(str(tmp_path / "astronaut_look.png")), cv2.imread(str(samples.portrait()))
    assert drawn.shape == plain.shape
    assert (drawn != plain).any()


def test_what_is_optional_is_told_when_asked(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("EMO_FACE_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for kept in (nano_pipeline, nano_model):
        monkeypatch.setattr(f"emo_face.api.look.{kept.__name__}", cache(kept.__wrapped__))
    assert said(capsys)[2] == "drawn: astronaut_look.png\n"
    assert "look: no YuNet" in said(capsys, "--verbose")[2]


def test_json_is_what_the_library_says_and_draws_nothing(tmp_path, assets, capsys):
    picture = assets / "images" / "people" / "apollo11_pilots.jpg"
    code, out, _ = said(capsys, picture, "--json")
    assert code == 0
    got, seen = json.loads(out), look(picture)
    assert len(got["people"]) == len(seen.people) == 3
    for row, one in zip(got["people"], seen.people, strict=True):
        assert row["top"] == one.top
        assert row["probabilities"] == pytest.approx(one.probabilities, abs=1e-6)
        assert row["face"] == pytest.approx(
            [one.face.box.x, one.face.box.y, one.face.box.width, one.face.box.height], abs=0.1
        )
    assert list(tmp_path.iterdir()) == []


def test_words_of_the_nearest_person_count(capsys):
    plain = json.loads(said(capsys, "--json")[1])["people"][0]
    angry = json.loads(said(capsys, "--json", "--said", "I am furious, this is outrageous!")[1])["people"][0]
    assert "speech" in angry["evidence"]
    assert angry["probabilities"]["Anger"] > plain["probabilities"]["Anger"]


def test_a_picture_without_people(tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((240, 320, 3), 127, np.uint8))
    code, out, _ = said(capsys, tmp_path / "grey.png")
    assert code == 0
    assert out.startswith("grey.png: 0 people")


def test_a_film_is_followed_and_drawn(tmp_path, assets, capsys):
    film = assets / "video" / "WolfgangLanger_Pexels_3063838.mp4"
    code, out, err = said(capsys, film, "--seconds", "1", "--out", tmp_path / "seen.mp4")
    assert code == 0
    assert "1 person" in out
    assert "0.0 to 1.0 s" in out
    assert "drawn:" in err
    drawn = cv2.VideoCapture(str(tmp_path / "seen.mp4"))
    assert drawn.get(cv2.CAP_PROP_FPS) == pytest.approx(24, abs=0.1)
    assert 20 <= drawn.get(cv2.CAP_PROP_FRAME_COUNT) <= 26


def test_a_film_in_json(assets, capsys, tmp_path):
    film = assets / "video" / "WolfgangLanger_Pexels_3063838.mp4"
    code, out, _ = said(capsys, film, "--seconds", "0.5", "--json")
    assert code == 0
    (person,) = json.loads(out)["people"]
    assert sum(person["emotions"].values()) > 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nobody.jpg"], "nobody.jpg: No such file"),
        (["nobody.mp4"], "nobody.mp4"),
        (["--seconds", "-1"], "--seconds: expected at least 0"),
        (["--tier", "full"], "--tier full: needs --model"),
        (["--ask", "Why?"], "--ask: needs --base"),
        (["--box", "1,2,3,4"], "--box: works only with --ask"),
        (["--out", "/proc/x.png"], "/proc/x.png: cannot be written"),
        (["--out", "drawing.nonsense"], "cannot be written"),
    ],
)
def test_mistakes_are_one_line(capsys, words, says):
    code, _, err = said(capsys, *words)
    assert code == 2
    assert says in err.strip().splitlines()[-1]


def test_a_group_of_six():
    group = samples.group()
    assert group.shape == (480, 640, 3)
    assert len(look(group).people) == 6
