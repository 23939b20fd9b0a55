"""``emo-face say --tier full`` from saved folders: backbone and model of true format, no network."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import cv2
from tinyworld import PICTURE, tiny

from emo_face.cli.main import main
from emo_face.expression.contextface import checkpoint
from emo_face.face.flame.codes import read_codes
from fixtures import tiny_contextface as source


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """(model, backbone, picture) in files."""
    root = tmp_path_factory.mktemp("say")
    tokenizer = source.tiny_tokenizer("llava")
    source.tiny_base("llava", tokenizer).save_pretrained(root / "backbone")
    tokenizer.save_pretrained(root / "backbone")
    source.tiny_image_processor("llava").save_pretrained(root / "backbone")
    world = tiny()
    checkpoint.save_model(root / "model", world.model, str(root / "backbone"))
    cv2.imwrite(str(root / "p.png"), PICTURE)
    answer = world.onepass().answer(quote="We won!")
    return root, answer


def run(capsys, *words):
    code = main(["say", "--tier", "full", *map(str, words)])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_json_is_the_models_answer(folders, capsys, tmp_path):
    root, answer = folders
    file = tmp_path / "face.json"
    code, out, _ = run(capsys, "--model", root / "model", "We won!", "--decision", "map", "--json", "--out", file)
    assert code == 0
    got = json.loads(out)
    assert got["emotion"] == answer.word
    np.testing.assert_allclose(list(got["probabilities"].values()), answer.probabilities, atol=1e-4)
    np.testing.assert_allclose(got["face"]["expression"], answer.face("map")[:100], atol=1e-3)
    saved = read_codes(file, "flame2020")
    np.testing.assert_allclose(saved.expression, answer.face("map")[:100], atol=1e-3)
    np.testing.assert_allclose(saved.jaw, answer.face("map")[100:], atol=1e-3)


def test_picture_box_listener_and_words(folders, capsys):
    root, _ = folders
    code, out, err = run(
        capsys,
        "--model",
        root / "model",
        "--image",
        root / "p.png",
        "--box",
        "10,10,40,60",
        "It's over.",
        "--perspective",
        "listener",
        "--ask",
        "What would he feel?",
        "--max-tokens",
        5,
    )
    assert code == 0
    assert all(word in out for word in ("Angry", "Disgust", "flame2020 expression"))
    assert " ms, " in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "nothing to read"),
        (["a", "--box", "1,2,3,4"], "--box: needs --image"),
        (["--image", "none.png"], "none.png: No such file"),
        (["a", "--device", "tensorrt"], "device 'tensorrt': Expected one of cpu"),
        (["\u200b\x00<"], ""),
    ],
)
def test_mistakes_are_one_line(folders, capsys, words, says):
    root, _ = folders
    code, _, err = run(capsys, "--model", root / "model", *words)
    if says:
        assert code == 2
        assert says in err
        assert len([line for line in err.splitlines() if line and "Loading weights" not in line]) == 1


def test_a_missing_model_is_named(capsys, tmp_path):
    code, _, err = run(capsys, "--model", tmp_path, "a")
    assert code == 2
    assert "contextface.json: cannot be read" in err


@pytest.mark.parametrize("box", ["1,2,3", "a,b,c,d", "0,0,0,5", "0,0,nan,5", "0,0,5,inf"])
def test_a_bad_box_is_named(folders, capsys, box):
    root, _ = folders
    code, _, err = run(capsys, "--model", root / "model", "--image", root / "p.png", "--box", box)
    assert code == 2
    assert "--box: expected" in err
    assert box in err
