"""Face targets: one file, the basis named and checked, import of what face tools write."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emo_face.cli.main import main
from emo_face.core.errors import UserError
from emo_face.core.types import Box
from emo_face.datasets.contexts import face_targets as ft
from emo_face.datasets.records import Record, write_jsonl

RNG = np.random.default_rng(0)


def person(name, image):
    return Record(name, image, "caers7", ("Sad",))


@pytest.fixture
def outputs(tmp_path):
    """SMIRK as .npz, EMOCA as a folder, DECA as .json, a bare expression, one broken, one of another version."""
    folder = tmp_path / "outputs"
    (folder / "Sad").mkdir(parents=True)
    truth = RNG.normal(size=(6, 100))
    np.savez(
        folder / "Sad" / "smirk.npz",
        expression_params=truth[0][None, :50],
        jaw_params=[[0.2, 0, 0]],
        eyelid_params=[[0.1, 0.9]],
        pose_params=[[0, 0, 0]],
        shape_params=np.zeros((1, 300)),
    )
    emoca = folder / "emoca00"
    emoca.mkdir()
    np.save(emoca / "exp.npy", truth[1][:50])
    np.save(emoca / "shape.npy", np.zeros(100))
    np.save(emoca / "pose.npy", np.array([0.5, 0, 0, 0.3, 0, 0.1]))
    (folder / "deca.json").write_text(json.dumps({"exp": truth[2].tolist(), "pose": [0, 0, 0]}))
    np.save(folder / "bare.npy", truth[3])
    np.savez(folder / "broken.npz", exp=truth[4])
    (folder / "broken.npz").write_bytes((folder / "broken.npz").read_bytes()[:200])
    (folder / "newer.json").write_text(json.dumps({"exp": truth[4].tolist(), "flame_version": "flame2023"}))
    (folder / "monster.json").write_text(json.dumps({"exp": [1e30] * 50}))
    (folder / "shout.json").write_text(json.dumps({"exp": truth[4].tolist(), "jaw": [20.0, 0, 0]}))
    return folder, truth


PEOPLE = [
    person("s", "Sad/smirk.png"),
    person("e", "any/emoca.jpg"),
    person("d", "deca.png"),
    person("b", "x/bare.png"),
    person("broken", "broken.png"),
    person("newer", "newer.png"),
    person("shout", "shout.png"),
    person("gone", "gone.png"),
    person("monster", "monster.png"),
]


def test_outputs_of_each_tool(outputs, tmp_path):
    folder, truth = outputs
    found = ft.import_outputs(PEOPLE, folder, "flame2020", "several")
    assert found.targets.ids == ("s", "e", "d", "b")
    np.testing.assert_allclose(found.targets.get("s").expression, np.pad(truth[0][:50], (0, 50)), rtol=1e-6)
    np.testing.assert_allclose(found.targets.get("s").jaw, [0.2, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(found.targets.get("s").eyelids, [0.1, 0.9], rtol=1e-6)
    np.testing.assert_allclose(found.targets.get("e").jaw, [0.3, 0, 0.1], rtol=1e-6)
    assert found.targets.get("e").eyelids is None
    assert found.targets.get("d").jaw is None, "three numbers of pose are the head's, not the jaw's"
    np.testing.assert_allclose(found.targets.get("b").expression, truth[3], rtol=1e-6)
    assert found.targets.get("nobody") is None
    reasons = {name: reason for reason, names in found.left_out.items() for name in names}
    assert set(reasons) == {"broken", "newer", "shout", "gone", "monster"}
    assert reasons["monster"] == "a coefficient over 100"
    assert "flame2023" in reasons["newer"]
    assert "jaw" in reasons["shout"]
    assert reasons["gone"] == "no file"
    ft.write(tmp_path / "t.npz", found.targets)
    back = ft.read(tmp_path / "t.npz", "flame2020")
    assert (back.ids, back.basis, back.source, back.given) == (found.targets.ids, "flame2020", "several", 100)
    for name in ("expression", "jaw", "eyelids"):
        np.testing.assert_array_equal(getattr(back, name), getattr(found.targets, name))
    shown = ft.statistics(back)
    assert (shown["n"], shown["with_jaw"], shown["with_eyelids"]) == (4, 2, 1)


def test_of_several_faces_none_is_guessed(outputs):
    folder, _ = outputs
    second = folder / "emoca01"
    second.mkdir()
    np.save(second / "exp.npy", np.ones(50))
    found = ft.import_outputs(PEOPLE[:2], folder, "flame2020", "emoca")
    assert found.targets.ids == ("s",)
    assert list(found.left_out) == ["several faces, and none is named as the labelled person's"]
    named = ft.import_outputs(PEOPLE[1:2], folder, "flame2020", "emoca", {"e": "emoca01"})
    np.testing.assert_allclose(named.targets.get("e").expression[:50], 1.0)


def test_two_labelled_people_of_one_picture_do_not_share_its_one_face(outputs):
    left, right = (replace(PEOPLE[0], id=name, bbox_body=Box(x, 5, 40, 80)) for name, x in (("l", 5), ("r", 60)))
    again, told = replace(left, id="l2"), replace(PEOPLE[0], id="words", image="", quote="Oh!")
    folder, _ = outputs
    found = ft.import_outputs([left, right, PEOPLE[2], told], folder, "flame2020", "smirk")
    assert found.left_out == {ft.SEVERAL: ["l", "r"], "no picture": ["words"]}
    same = ft.import_outputs([left, again], folder, "flame2020", "smirk")
    np.testing.assert_array_equal(same.targets.get("l").expression, same.targets.get("l2").expression)
    named = ft.import_outputs([left, right], folder, "flame2020", "smirk", {"r": "Sad/smirk.npz"})
    assert named.left_out == {ft.SEVERAL: ["l"]}


def test_pictures_that_are_called_alike_do_not_share_a_face(tmp_path):
    """CAER-S: train/Anger/0100.png, 0101.png, test/Sad/0100.png; INFERNO's TestData names a folder as the picture."""
    for name in ("0100", "0101"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "exp.npy", np.ones(50))
    people = [person("one", "train/Anger/0100.png"), person("next", "train/Anger/0101.png")]
    assert ft.import_outputs(people, tmp_path, "flame2020", "inferno").targets.ids == ("one", "next"), "two pictures"
    people.append(person("other", "test/Sad/0100.png"))
    (tmp_path / "test" / "Sad").mkdir(parents=True)
    (tmp_path / "0100").rename(tmp_path / "test" / "Sad" / "0100")
    found = ft.import_outputs(people, tmp_path, "flame2020", "inferno")
    assert found.targets.ids == ("next", "other")
    (tmp_path / "0100").mkdir()
    np.save(tmp_path / "0100" / "exp.npy", np.zeros(50))
    found = ft.import_outputs(people, tmp_path, "flame2020", "inferno")
    assert found.left_out == {"no file in its picture's folder, and other pictures have the same name": ["one"]}


def test_files_of_the_first_format_are_read(tmp_path):
    head = {"format": ft.BEFORE, "flame_version": "flame2020"}
    np.savez(tmp_path / "old.npz", **{**good(), "meta": np.array(json.dumps(head))})
    assert ft.read(tmp_path / "old.npz").basis == "flame2020"


def test_another_basis_is_refused(outputs, tmp_path):
    folder, _ = outputs
    ft.write(tmp_path / "t.npz", ft.import_outputs(PEOPLE[:1], folder, "flame2020", "smirk").targets)
    with pytest.raises(UserError, match=r"flame2020.*flame2023.*flame convert"):
        ft.read(tmp_path / "t.npz", "flame2023")
    with pytest.raises(UserError, match="flame1999"):
        ft.import_outputs(PEOPLE, folder, "flame1999", "smirk")
    with pytest.raises(UserError, match="1 x no file"):
        ft.import_outputs(PEOPLE[-2:-1], folder, "flame2020", "smirk")


def good():
    head = {"format": ft.FORMAT, "basis": "flame2020"}
    return {
        "meta": np.array(json.dumps(head)),
        "ids": np.array(["a", "b"]),
        "expression": np.zeros((2, 100), np.float32),
        "jaw": np.zeros((2, 3)),
        "eyelids": np.zeros((2, 2)),
    }


def test_wrong_files_say_what_is_wrong(tmp_path):
    path = tmp_path / "t.npz"
    nan = np.full((2, 100), np.nan)
    for change, words in (
        ({"meta": np.array(json.dumps({"format": "x", "flame_version": "flame2020"}))}, "format 'x'"),
        ({"meta": np.array(json.dumps({"format": ft.FORMAT, "basis": "flame1"}))}, "flame1"),
        ({"meta": np.array("{}")}, "not a targets file"),
        ({"meta": np.array("no json")}, "not a targets file"),
        ({"expression": np.zeros((2, 50))}, "expression: expected shape"),
        ({"expression": nan}, "not finite"),
        ({"jaw": np.zeros((3, 3))}, "jaw: expected shape"),
        ({"ids": np.array(["a", "a"])}, "twice"),
        ({"ids": np.array([{"a": 1}, "b"], dtype=object)}, "not a targets file"),
    ):
        np.savez(path, **{**good(), **change})
        with pytest.raises(UserError, match=words):
            ft.read(path)
    np.savez(path, **good())
    assert len(ft.read(path)) == 2
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="not a targets file"):
        ft.read(path)
    with pytest.raises(UserError, match="no such targets file"):
        ft.read(tmp_path / "none.npz")


def import_words(folder: Path, tmp_path: Path, tool: str) -> list[str]:
    """The command that imports ``folder`` for r.jsonl into t.npz."""
    files = ["--records", tmp_path / "r.jsonl", "--outputs", folder, "--to", tmp_path / "t.npz"]
    return ["data", "targets", *map(str, files), "--tool", tool, "--basis", "flame2020", "--json"]


def test_import_by_command(outputs, tmp_path, capsys):
    folder, _ = outputs
    write_jsonl(tmp_path / "r.jsonl", PEOPLE)
    words = import_words(folder, tmp_path, "smirk")
    assert main(words) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["n"] == 4
    assert sum(shown["left_out"].values()) == 5
    assert ft.read(tmp_path / "t.npz").source == "smirk"


def test_paths_from_the_annotations(outputs, tmp_path, capsys):
    folder, truth = outputs
    rows = [{"image": "q/z.png", "emotion": "Sad", "quote": "Q", "expression": "/elsewhere/bare.npy"}]
    (tmp_path / "sfew_c.json").write_text(json.dumps(rows))
    write_jsonl(tmp_path / "r.jsonl", [person("sfew_c/q/z.png", "q/z.png")])
    words = [*import_words(folder, tmp_path, "emoca"), "--annotations", str(tmp_path / "sfew_c.json")]
    assert main(words) == 0
    target = ft.read(tmp_path / "t.npz").get("sfew_c/q/z.png")
    np.testing.assert_allclose(target.expression, truth[3], rtol=1e-6)
