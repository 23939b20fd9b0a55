"""`emo-face data boxes`: boxes for people that have none, by the real detectors on real pictures."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from emo_face.cli.main import main
from emo_face.core.types import Box, Face
from emo_face.datasets.pictures.match import Finder
from emo_face.datasets.records import Record, read_jsonl, write_jsonl
from emo_face.perception.build import Detectors
from emo_face.perception.detect_yolo import Body


class Fixed:
    """A detector that finds what it was told."""

    def __init__(self, name, found):
        self.name, self.found = name, found

    def detect(self, frame):
        return list(self.found)


FRAME = np.zeros((400, 600, 3), np.uint8)
LEFT, RIGHT = Box(20, 20, 160, 360), Box(320, 20, 160, 360)
LEFT_FACE, RIGHT_FACE = Face(Box(70, 30, 60, 70), 0.9), Face(Box(370, 30, 50, 60), 0.8)


def finder(bodies=(), faces=()):
    parts = Detectors(Fixed("yolo11n", bodies), Fixed("yunet", faces))
    return Finder(parts, {"yolo11n": "aaa", "yunet": "bbb"})


def person(name="p", **fields):
    return Record(name, "a.png", "basic7", ("Happy",), **fields)


def test_an_annotated_body_gets_the_face_inside_it():
    people = [person("l", bbox_body=LEFT), person("r", bbox_body=RIGHT)]
    left, right = finder([Body(LEFT, 0.7)], [RIGHT_FACE, LEFT_FACE]).complete(FRAME, people)
    assert (left.bbox_body, left.bbox_face) == (LEFT, LEFT_FACE.box)
    assert (right.bbox_body, right.bbox_face) == (RIGHT, RIGHT_FACE.box)
    assert left.body_found is None  # annotated
    assert (left.face_found.detector, left.face_found.version, left.face_found.score) == ("yunet", "bbb", 0.9)


def test_an_annotated_face_gets_the_body_around_it():
    people = [person(bbox_face=RIGHT_FACE.box)]
    (found,) = finder([Body(LEFT, 0.9), Body(RIGHT, 0.6)], [LEFT_FACE, RIGHT_FACE]).complete(FRAME, people)
    assert (found.bbox_body, found.bbox_face) == (RIGHT, RIGHT_FACE.box)
    assert found.body_found.score == 0.6
    assert found.face_found is None


def test_without_any_box_the_person_with_the_largest_face_is_meant():
    bodies, faces = [Body(RIGHT, 0.9), Body(LEFT, 0.6)], [RIGHT_FACE, LEFT_FACE]
    (found,) = finder(bodies, faces).complete(FRAME, [person()])
    assert (found.bbox_body, found.bbox_face) == (LEFT, LEFT_FACE.box)


def test_a_face_that_somebody_owns_is_nobody_else_s():
    people = [person("l", bbox_body=LEFT), person("blank")]
    left, blank = finder([Body(RIGHT, 0.9)], [LEFT_FACE, RIGHT_FACE]).complete(FRAME, people)
    assert left.bbox_face == LEFT_FACE.box
    assert (blank.bbox_body, blank.bbox_face) == (RIGHT, RIGHT_FACE.box)


def test_two_people_without_boxes_cannot_be_told_apart():
    people = [person("a"), person("b")]
    assert finder([Body(LEFT, 0.9)], [LEFT_FACE]).complete(FRAME, people) == people


def test_boxes_of_the_annotation_are_never_moved():
    mine = person(bbox_body=replace(LEFT, x=25), bbox_face=replace(LEFT_FACE.box, x=72))
    assert finder([Body(LEFT, 0.9)], [LEFT_FACE]).complete(FRAME, [mine]) == [mine]


@pytest.fixture
def folder(tmp_path, assets, monkeypatch):
    monkeypatch.setenv("EMO_FACE_MODELS", str(assets))
    (tmp_path / "p").mkdir()
    for source in ("people/apollo11_pilots.jpg", "emotion/max_surprised.jpeg"):
        shutil.copy(assets / "images" / source, tmp_path / "p" / source.split("/")[1])
    names = ("apollo11_pilots.jpg", "max_surprised.jpeg")
    write_jsonl(tmp_path / "r.jsonl", [Record(n, n, "basic7", ("Happy",), split="train") for n in names])
    return tmp_path


def boxes(folder, *words):
    return main(
        [
            "data",
            "boxes",
            "--records",
            f"{folder}/r.jsonl",
            "--images",
            f"{folder}/p",
            "--to",
            f"{folder}/b.jsonl",
            *words,
        ]
    )


def test_the_command_fills_both_views_and_says_who_found_them(folder, capsys):
    assert boxes(folder, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["before"] == {"scene": 1.0, "body": 0.0, "face": 0.0}
    assert said["after"] == {"scene": 1.0, "body": 1.0, "face": 1.0}
    for record in read_jsonl(folder / "b.jsonl"):
        assert record.body_found.detector == "yolo11n"
        assert record.body_found.score > 0.5
        assert record.face_found.detector == "yunet"
        assert len(record.face_found.version) == 12
    surprised = list(read_jsonl(folder / "b.jsonl"))[1]
    inside = surprised.bbox_body
    assert inside.x < surprised.bbox_face.center[0] < inside.right


def test_a_second_run_changes_nothing_and_looks_at_no_picture_again(folder, monkeypatch):
    boxes(folder)
    first = (folder / "b.jsonl").read_bytes()
    monkeypatch.setattr(cv2, "imdecode", lambda *a: pytest.fail("decoded again"))
    assert boxes(folder) == 0
    assert (folder / "b.jsonl").read_bytes() == first


def test_two_workers_write_the_same_file(folder):
    boxes(folder)
    one = (folder / "b.jsonl").read_bytes()
    shutil.rmtree(folder / "b.shards")
    assert boxes(folder, "--workers", "2", "--shards", "2") == 0
    assert (folder / "b.jsonl").read_bytes() == one


def test_a_missing_and_a_broken_picture_are_named_and_tried_again(folder, capsys):
    path = folder / "p" / "max_surprised.jpeg"
    whole = path.read_bytes()
    path.write_bytes(b"no picture")
    (folder / "p" / "apollo11_pilots.jpg").rename(folder / "away.jpg")
    assert boxes(folder) == 1
    said = capsys.readouterr().err
    assert "apollo11_pilots.jpg: no such file" in said
    assert "max_surprised.jpeg: not a picture" in said
    path.write_bytes(whole)
    (folder / "away.jpg").rename(folder / "p" / "apollo11_pilots.jpg")
    assert boxes(folder) == 0
    assert all(record.bbox_face for record in read_jsonl(folder / "b.jsonl"))


def test_a_missing_folder_is_named(folder, capsys):
    shutil.rmtree(folder / "p")
    assert boxes(folder) == 2
    assert "no such folder" in capsys.readouterr().err


def test_records_keep_who_found_a_box(tmp_path):
    people = finder([Body(LEFT, 0.9)], [LEFT_FACE]).complete(FRAME, [person()])
    write_jsonl(tmp_path / "r.jsonl", people)
    assert [replace(r, group_id="") for r in read_jsonl(tmp_path / "r.jsonl")] == people
