"""A hash changes with what a training learns from, and with nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emo_face.core.types import Box
from emo_face.datasets.contexts import tasks
from emo_face.datasets.contexts.content import hashes
from emo_face.datasets.contexts.face_targets import FaceTargets
from emo_face.datasets.records import Record
from emo_face.expression.contextface.prompts import Example, Turn, vqa_answer, vqa_question

PEOPLE = [
    Record(f"p{n}", f"{n}.png", "caers7", ("Sad",), bbox_body=Box(1, 1, 9, 9), situation="A dog died.", quote="Oh no.")
    for n in range(3)
]
FACES = np.zeros((3, 100), np.float32)


def found(people=PEOPLE, faces=FACES, said="A cup.", held=PEOPLE[:1], root="a"):
    targets = FaceTargets("flame2020", "made", ("p0", "p1", "p2"), faces, faces[:, :3], faces[:, :2])
    made = tasks.build(people, Path(root), targets).by_name
    vqa = [Example("v", "vqa", (Turn(vqa_question("What?", False), vqa_answer(said)),))]
    return hashes({**made, "vqa": vqa}, tasks.build(held, Path(root), targets).spread())


def test_the_same_data_have_the_same_hashes_wherever_they_lie():
    assert found() == found(root="b", faces=FACES.copy(), people=[replace(person) for person in PEOPLE])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("records", {"people": [*PEOPLE[:2], replace(PEOPLE[2], labels=("Happy",))]}),
        ("records", {"people": [*PEOPLE[:2], replace(PEOPLE[2], quote="Oh yes.")]}),
        ("records", {"people": [*PEOPLE[:2], replace(PEOPLE[2], bbox_body=Box(1, 1, 9, 8))]}),
        ("faces", {"faces": np.eye(3, 100, dtype=np.float32)}),
        ("examples", {"said": "A mug."}),
        ("validation", {"held": PEOPLE[1:2]}),
    ],
)
def test_what_changed_is_named(name, changes):
    before, after = found(), found(**changes)
    assert [key for key in before if before[key] != after[key] and key != "validation"] == [name] * (
        name != "validation"
    )
    assert (before["validation"] != after["validation"]) == (name in ("validation", "faces"))
