"""The paper's experiment by the user's command: told situations, baselines, covered faces, figures; tiny models."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("transformers")

import cv2
from fake_endpoint import FakeEndpoint

from emo_face.cli.main import main
from emo_face.core.errors import UserError
from emo_face.core.types import Box
from emo_face.datasets.records import Record, write_jsonl
from emo_face.evaluation.contextface import figures, situations
from emo_face.evaluation.contextface.predict import hidden
from emo_face.expression.contextface import prompts
from emo_face.expression.contextface.checkpoint import save_model
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.model import build_model
from fixtures import contexts as world
from fixtures import tiny_contextface as tiny

HAPPY = "He got a letter. Therefore, the emotion this person is feeling is Happy."


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Records with pictures, an untuned backbone with its processor, and a "trained" model that speaks ARKit."""
    root = tmp_path_factory.mktemp("sfew_c")
    samples = world.make(14, 3)
    for sample in samples:
        cv2.imwrite(str(root / f"{sample.id}.png"), world.draw(sample))
    write_jsonl(root / "records.jsonl", [world.record(sample, "test") for sample in samples])
    tokenizer = tiny.tiny_tokenizer("llava", world.texts())
    base = tiny.tiny_base("llava", tokenizer)
    base.save_pretrained(root / "backbone")
    tiny.tiny_llava_processor(tokenizer).save_pretrained(root / "backbone")
    model = build_model(base, tokenizer, ContextFaceConfig(face_basis="arkit-52"), 0)
    save_model(root / "model", model, str(root / "backbone"))
    return root


@pytest.fixture(autouse=True)
def short_answers(monkeypatch):
    """Random models never end by themselves."""
    monkeypatch.setattr(situations, "LONGEST", 4)
    monkeypatch.setattr(figures, "TURNS", 4)


def evaluate(files, *more):
    words = ("evaluate", "contextface", "--records", files / "records.jsonl", "--root", files, "--rounds", 3)
    return main([str(word) for word in (*words, "--model", files / "model", *more)])


def test_told_situations_stand_beside_any_untuned_model_and_the_papers_rows(files, tmp_path, capsys, monkeypatch):
    server = FakeEndpoint(lambda body, number: HAPPY)
    baselines = (f"untuned={files / 'backbone'}", f"served={server.url}#some-vlm")
    more = [flag for value in baselines for flag in ("--baseline", value)]
    wanted = ("--conditions", "image+quote,image+quote face hidden,situation,quote", "--limit", 3, "--figures", 1)
    command = ("--out", tmp_path / "out", *more, *wanted)
    assert evaluate(files, *command) == 0
    said = capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    for form, text in (("image+quote", "table1_quote"), ("image+situation", "table1_situation")):
        found = report["situations"][form]
        assert list(found) == ["This run", "untuned", "served"]
        assert all(scores["n"] == 3 for scores in found.values())
        assert found["served"]["unparsed"] == 0, "its answers name one emotion"
        assert {"value", "low", "high"} == set(found["served"]["behind"])
        assert text.endswith(form.removeprefix("image+"))
    asked = server.bodies[0]["messages"][-1]["content"]
    assert [part["type"] for part in asked] == ["image_url", "text"], "the picture comes first"
    questions = [body["messages"][-1]["content"][1]["text"] for body in server.bodies]
    assert len(questions) == 6, "three records, two forms"
    assert sum("construct the scenario" in question for question in questions) == 3
    assert "93.21" in said
    assert "Emotion-LLaMA" in said
    assert report["emotion"]["image+quote face hidden"]["n"] == 3
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    shown = [cell for figure in report["figures"] for row in figure["rows"] for cell in row if "image" in cell]
    assert len(report["figures"]) == 4
    assert shown
    for cell in shown:
        assert cv2.imread(str(tmp_path / "out" / "figures" / cell["image"])) is not None
        assert f'src="figures/{cell["image"]}"' in page
    # killed at its end, it goes on: neither answers nor faces are computed anew
    for name in ("evaluation.contextface.spread.predict", "expression.contextface.talk.stream"):
        monkeypatch.setattr(f"emo_face.{name}", lambda *words, **named: pytest.fail("computed twice"))
    again = ("--out", tmp_path / "out", *more[2:], "--conditions", "quote", "--limit", 3)
    assert evaluate(files, *again, "--save-predictions", tmp_path / "other.npz") == 0
    assert len(server.bodies) == 6, "what was answered is not asked again"
    capsys.readouterr()
    predictions = ("--predictions", tmp_path / "out" / "predictions.npz", "--limit", 3)
    assert evaluate(files, *predictions, "--json") == 0
    assert json.loads(capsys.readouterr().out)["situations"] == report["situations"]


def test_four_classes_and_ablations(files, tmp_path, capsys):
    more = (
        "--classes",
        "Happy,Sad,Angry,Surprise",
        "--conditions",
        "quote",
        "--situations",
        "image+quote",
        "--limit",
        4,
    )
    assert evaluate(files, *more, "--also", f"table3/none={files / 'model'}") == 2
    assert "table3/neither" in capsys.readouterr().err
    assert evaluate(files, *more, "--also", f"table3/neither={files / 'model'}") == 0
    said = capsys.readouterr().out
    assert "supplement, table 3" in said
    assert "97.32" in said
    assert "neither: this model is 0.000 (0.000 to 0.000) UAR ahead" in said, "it is the same model"
    assert evaluate(files, "--classes", "Bored") == 2
    assert "Bored" in capsys.readouterr().err


def test_a_baseline_that_cannot_be_asked_says_why(files, tmp_path, capsys, monkeypatch):
    for value, text in ((f"x={files}", "config.json"), ("x=http://127.0.0.1:9/v1", "#"), ("alone", "NAME=DIR")):
        with pytest.raises(UserError, match=text):
            situations.baseline(value)
    found = situations.baseline("down=http://127.0.0.1:9/v1#m")
    assert (found.name, found.model, found.provider("cpu", "").name) == ("down", "m", "http:127.0.0.1")
    assert evaluate(files, "--situations", "", "--baseline", "x=http://127.0.0.1:9/v1#m") == 2
    assert "--baseline: needs" in capsys.readouterr().err
    monkeypatch.setattr("emo_face.evaluation.contextface.spread.predict", lambda *words: pytest.fail("hours of work"))
    assert evaluate(files, "--baseline", "x=http://127.0.0.1:9/v1#m", "--out", tmp_path / "out") == 2
    assert "gave no answer" in capsys.readouterr().err


def test_answers_are_read_as_the_paper_reads_them():
    texts = (
        HAPPY,
        "I cannot say.",
        "It is sad, or happy.",
        "Therefore, the emotion this person is feeling is sadness.",
    )
    told = situations.Told(("a", "b", "c", "d"), texts)
    names = prompts.words()
    assert told.guess.tolist() == [names.index("Happy"), -1, -1, names.index("Sad")]


def test_a_covered_face_is_gone_and_the_rest_stays():
    image = np.arange(60 * 80 * 3, dtype=np.uint8).reshape(60, 80, 3)
    face = Record("r", "r.png", "caers7", ("Sad",), bbox_body=Box(10, 5, 40, 50), bbox_face=Box(20, 10, 16, 20))
    covered = hidden(image, face)
    assert len(np.unique(covered[10:30, 20:36])) == 1
    np.testing.assert_array_equal(covered[40:], image[40:])
    body = Record("r", "r.png", "caers7", ("Sad",), bbox_body=Box(10, 0, 40, 40))
    assert len(np.unique(hidden(image, body)[:20, 10:50])) == 1
    np.testing.assert_array_equal(hidden(image, body)[21:], image[21:])


def test_faces_are_drawn_on_a_mesh_where_there_is_one(assets):
    smile = np.zeros(52)
    smile[[23, 24]] = 1.0
    for head in (None, assets / "head3d"):
        paint = figures.painter("arkit-52", head, None)
        assert np.abs(paint(smile).astype(int) - paint(np.zeros(52))).max() > 20
    assert figures.painter("flame2020", None, None) is None, "a FLAME face needs the user's FLAME file"
