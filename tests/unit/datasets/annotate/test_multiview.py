"""`emo-face annotate multiview` against a real HTTP server: the corpus' texts, held to their listings."""

from __future__ import annotations

import base64
import json
import pickle

import cv2
import numpy as np
import pytest
from fake_endpoint import FakeEndpoint

from emo_face.cli.main import main
from emo_face.core.types import Box
from emo_face.datasets.qa import quality, templates
from emo_face.datasets.qa.corpus import build
from emo_face.datasets.records import Record, read_jsonl, write_jsonl
from emo_face.runtime.runners.local import LocalRunner
from emo_face.runtime.shards import compute

TEXTS = {
    "caption": "A man in a grey coat waits beside a bus stop.",
    "pose": "A man stands upright with his arms crossed. His head is turned to the left.",
    "situation": "People hurry along a street. He waits for a bus that is late.",
}


def asked_task(body):
    """Which prompt came, and the labels it names: told apart by the paper's own words."""
    content = body["messages"][-1]["content"]
    text = next(part["text"] for part in content if part["type"] == "text")
    for task, prompt in (
        ("caption", templates.annotation_prompt("caption")),
        ("pose", templates.annotation_prompt("pose")),
        ("situation", templates.annotation_prompt("situation")),
    ):
        if text == prompt:
            return task
    return "rationale"


def good(body, number):
    task = asked_task(body)
    if task == "rationale":
        answer = "He looks down the street again and again. He seems to feel Anticipation because the bus is late."
        return "```json\n" + json.dumps([{"question": "Why?", "answer": answer}]) + "\n```"
    return f'"{TEXTS[task]}"'


@pytest.fixture
def people(tmp_path):
    (tmp_path / "p").mkdir()
    for name, grey in (("a", 120), ("b", 90)):
        cv2.imwrite(str(tmp_path / "p" / f"{name}.png"), np.full((60, 80, 3), grey, np.uint8))
    records = [
        Record("a", "a.png", "emotic26", ("Anticipation",), "train", bbox_body=Box(10, 10, 30, 40)),
        Record("b", "b.png", "emotic26", ("Anticipation",), "train", bbox_face=Box(10, 10, 30, 40)),
    ]
    write_jsonl(tmp_path / "r.jsonl", records)
    return tmp_path


def annotate(folder, server, *more):
    words = ["--records", f"{folder}/r.jsonl", "--root", f"{folder}/p", "--out", f"{folder}/out.jsonl"]
    return main(["annotate", "multiview", *words, "--model", "m", "--endpoint", server.url, "--json", *more])


def test_all_four_texts_of_each_person_make_all_task_types(people, capsys):
    with FakeEndpoint(good) as server:
        assert annotate(people, server) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == {"done": 8}
    assert report["missing"] == {}
    first = next(iter(read_jsonl(people / "out.jsonl")))
    assert (first.caption, first.pose, first.situation) == tuple(TEXTS.values())
    assert first.rationale.startswith("He looks down")
    rows = build(list(read_jsonl(people / "out.jsonl")), balance=False, other_share=3.0).rows
    assert {row.task for row in rows} == {"caption", "pose", "situation", "rationale"}  # the caption guides the labels
    provenance = [json.loads(line) for line in (people / "out.provenance.jsonl").read_text().splitlines()]
    assert [row["id"] for row in provenance[:4]] == ["a/caption", "a/pose", "a/situation", "a/rationale"]
    assert {row["prompt"] for row in provenance} == {"multiview/1"}


def test_the_person_asked_about_is_in_a_red_box(people):
    with FakeEndpoint(good) as server:
        annotate(people, server, "--tasks", "pose", "--limit", "1")
        picture = next(p for p in server.bodies[0]["messages"][-1]["content"] if p["type"] == "image_url")
    data = base64.b64decode(picture["image_url"]["url"].partition(",")[2])
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
    red = (shown[:, :, 2] > 200) & (shown[:, :, 1] < 90)
    assert red.sum() > 100


@pytest.mark.parametrize(
    ("task", "bad"),
    [
        ("pose", "A smiling man stands upright."),  # listing 1: no face expressions
        ("pose", "One stands. He looks left. His arms hang."),  # one to two sentences
        ("situation", "A street. The man inside the red bounding box waits."),
        ("caption", "A happy man waits."),
        ("rationale", "not JSON"),
        ("rationale", json.dumps([{"question": "Why?", "answer": "He feels Anger."}])),  # outside the ground truth
    ],
)
def test_a_text_that_breaks_its_listing_is_asked_again(people, task, bad):
    seen = []

    def first_bad(body, number):
        if asked_task(body) != task:
            return good(body, number)
        seen.append(number)
        return bad if len(seen) == 1 else good(body, number)

    with FakeEndpoint(first_bad) as server:
        assert annotate(people, server, "--tasks", task, "--limit", "1") == 0
        assert len(server.bodies) == 2


def test_a_text_that_stays_bad_is_missing_and_counted(people, capsys):
    with FakeEndpoint(lambda body, n: "A smiling man." if asked_task(body) == "pose" else good(body, n)) as server:
        assert annotate(people, server, "--tries", "2") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["missing"] == {"pose": 2}
    assert report["rows"] == {"done": 6, "invalid": 2}
    assert all(not record.pose and record.caption for record in read_jsonl(people / "out.jsonl"))


def test_people_without_a_box_are_refused_or_stay_without_texts(people, capsys):
    records = [*read_jsonl(people / "r.jsonl"), Record("c", "a.png", "emotic26", ("Peace",), "train")]
    write_jsonl(people / "r.jsonl", records)
    with FakeEndpoint(good) as server:
        assert annotate(people, server) == 2
        assert "1 of 3 people have no box, first 'c'" in capsys.readouterr().err
        assert not server.bodies
        assert annotate(people, server, "--boxed-only") == 0
    left = {record.id: record for record in read_jsonl(people / "out.jsonl")}
    assert list(left) == ["a", "b", "c"]
    assert [bool(record.pose) for record in left.values()] == [True, True, False]


def test_some_missing_texts_are_enough_where_that_is_said(people, capsys):
    """A refusal comes again however often it is asked: a recipe could never go on."""

    def once_refused(body, number):
        return "I'm sorry, but I can't help with that." if asked_task(body) == "pose" else good(body, number)

    with FakeEndpoint(once_refused) as server:
        assert annotate(people, server, "--tasks", "caption,pose") == 1
        assert annotate(people, server, "--tasks", "caption,pose", "--least", "0.6") == 1
        assert annotate(people, server, "--tasks", "caption,pose", "--least", "0.5") == 0
        assert annotate(people, server, "--least", "0") == 2
    assert "--least: expected a share over 0 and up to 1, got 0" in capsys.readouterr().err


def test_an_unknown_task_is_named(people, capsys):
    with FakeEndpoint(good) as server:
        assert annotate(people, server, "--tasks", "pose,mood") == 2
    assert "unknown task 'mood'; tasks are caption, pose, situation, rationale" in capsys.readouterr().err


def test_stopped_and_started_again_nothing_is_asked_twice(people):
    def until_three(body, number):
        return (500, {}, "down") if number >= 3 else good(body, number)

    with FakeEndpoint(until_three) as server:
        assert annotate(people, server, "--workers", "1", "--retries", "0") == 2, "five in a row: it is dead"
    with FakeEndpoint(good) as server:
        assert annotate(people, server, "--workers", "1") == 0
        assert len(server.bodies) == 5


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("A man walks a dog.", ""),
        ("", "empty"),
        ("A man walks. A dog follows.", "2 sentences"),
        ("A man " + "very " * 40 + "slowly walks.", "words"),
        ("A man in a red bounding box walks.", "red bounding box"),
    ],
)
def test_captions(text, fault):
    found = quality.fault("caption", text, (), "emotic26")
    assert fault in found
    assert bool(fault) == bool(found)


def test_processes_ask_each_question_once_and_make_the_same_records(people, capsys, monkeypatch):
    """Shards with a cache of their own each, merged; a server that fails is asked again for what is missing only."""
    down = {"left": 2}

    def sometimes(body, number):
        if asked_task(body) == "pose" and down["left"]:
            down["left"] -= 1
            return (500, {}, "down")
        return good(body, number)

    class Here(LocalRunner):  # a second process, without its start
        def run(self, job, shards, done):
            job = pickle.loads(pickle.dumps(job))
            for shard in shards:  # two workers: each loads its own provider
                compute(job.worker(), shard)
                done(shard)

    monkeypatch.setattr("emo_face.runtime.runners.local.make", lambda workers, folder: Here(workers))
    many = ("--processes", "2", "--shards", "2", "--retries", "0", "--workers", "1", "--json")
    with FakeEndpoint(sometimes) as server:
        assert annotate(people, server, *many) == 1
        first = json.loads(capsys.readouterr().out)
        assert first["rows"] == {"done": 6, "unreachable": 2}
        assert first["requests"] == 6
        assert annotate(people, server, *many) == 0
        second = json.loads(capsys.readouterr().out)
        assert second["rows"] == {"done": 8}
        assert second["requests"] == 2
        assert len(server.bodies) == 10
        assert not list((people / "out.cache" / "parts").glob("*"))
    shared = (people / "out.jsonl").read_bytes()
    with FakeEndpoint(good) as server:  # the ordinary way finds every answer in the merged cache
        assert annotate(people, server) == 0
        assert not server.bodies
    assert (people / "out.jsonl").read_bytes() == shared
