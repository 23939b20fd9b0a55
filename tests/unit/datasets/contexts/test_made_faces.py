"""Faces to learn without a face tool: prototypes as strong as the words, MediaPipe on the labelled face."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from emo_face.cli.main import main
from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.errors import UserError
from emo_face.core.types import Box, Face
from emo_face.datasets.contexts import face_targets, made_faces
from emo_face.datasets.records import Record, write_jsonl
from emo_face.face.expressions.basis import FaceCode, open_basis
from emo_face.face.expressions.facs import default_facs

SMILE = ARKIT_INDEX["mouthSmileLeft"]


def person(name, label="Happy", **fields):
    return Record(name, f"{name}.png", "caers7", (label,), "test", **fields)


def test_prototypes_in_every_open_basis_by_command(tmp_path, capsys):
    loud = person("loud", quote="I am so very happy, this is amazing!", reaction="Surprise")
    quiet = person("quiet", quote="I am a bit pleased.")
    write_jsonl(tmp_path / "r.jsonl", [loud, quiet])
    where = ["data", "targets", "--records", str(tmp_path / "r.jsonl"), "--tool", "facs", "--json"]
    found = {}
    for basis in ("arkit-52", "open-ict-1"):
        assert main([*where, "--basis", basis, "--to", str(tmp_path / basis)]) == 0
        assert json.loads(capsys.readouterr().out)["n"] == 3
        found[basis] = face_targets.read(tmp_path / basis, basis)
    faces = found["arkit-52"]
    assert faces.ids == ("loud", "loud/listener", "quiet")
    assert faces.get("loud").expression[SMILE] > 1.5 * faces.get("quiet").expression[SMILE] > 0.1
    assert faces.get("loud").jaw is None
    heard = default_facs().arkit({"Surprise": 1.0})
    shown = faces.get("loud/listener").expression
    np.testing.assert_allclose(shown / np.linalg.norm(shown), heard / np.linalg.norm(heard), atol=1e-6)
    for name in faces.ids:  # the same face in the other basis
        code = found["open-ict-1"].get(name)
        back = open_basis().decode(FaceCode(code.expression, code.jaw, code.eyelids, np.zeros(2)))
        np.testing.assert_allclose(back[SMILE], faces.get(name).expression[SMILE], atol=0.1)
    assert main([*where, "--basis", "flame1999", "--to", str(tmp_path / "x")]) == 2
    assert "expected one of flame2020" in capsys.readouterr().err
    assert main([*where[:-3], "--tool", "smirk", "--basis", "flame2020", "--to", str(tmp_path / "x")]) == 2
    assert "needs --outputs" in capsys.readouterr().err


FACES = [Face(Box(10, 10, 20, 20), 0.9), Face(Box(100, 10, 40, 40), 0.9), Face(Box(210, 10, 30, 30), 0.9)]


@pytest.mark.parametrize(
    ("fields", "chosen"),
    [
        ({"bbox_face": Box(208, 8, 32, 32)}, 2),
        ({"bbox_face": Box(300, 300, 10, 10)}, None),
        ({"bbox_body": Box(0, 0, 60, 200)}, 0),
        ({"bbox_body": Box(0, 0, 300, 200)}, 1),
        ({"bbox_body": Box(60, 0, 30, 30)}, None),
        ({}, None),
    ],
)
def test_the_labelled_persons_face_not_the_first(fields, chosen):
    found = made_faces.labelled_face(person("a", **fields), FACES)
    assert found is (None if chosen is None else FACES[chosen])
    assert made_faces.labelled_face(person("a"), FACES[:1]) is FACES[0]


def test_measured_faces_are_those_of_the_box(tmp_path):
    """Detector and MediaPipe as their interfaces are; each face answers with its place."""

    class Detector:
        def detect(self, frame):
            return FACES

    class Reader:
        def read(self, frame, faces):
            return [None if face.box.x < 50 else np.full(52, face.box.x / 1000) for face in faces]

    people = [
        person("right", bbox_face=Box(210, 10, 30, 30)),
        person("unseen", bbox_face=Box(10, 10, 20, 20)),
        person("nobody", bbox_face=Box(400, 10, 20, 20)),
        person("gone"),
    ]
    for record in people[:3]:
        cv2.imwrite(str(tmp_path / record.image), np.zeros((200, 300, 3), np.uint8))
    found = made_faces.by_blendshapes(people, tmp_path, Reader(), Detector(), "arkit-52")
    assert found.targets.ids == ("right",)
    np.testing.assert_allclose(found.targets.get("right").expression, 0.21, rtol=1e-6)
    assert {reason: len(ids) for reason, ids in found.left_out.items()} == {
        "blendshapes were not measured": 1,
        "the labelled person's face was not found": 1,
        "picture is missing or does not decode": 1,
    }
    with pytest.raises(UserError, match="no face for any record: 1 x picture is missing"):
        made_faces.by_blendshapes(people[3:], tmp_path, Reader(), Detector(), "arkit-52")
