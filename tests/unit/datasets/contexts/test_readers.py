"""Readers of SFEW, SFEW-C / CAER-S-C and LLaVA-Instruct, on small data of the true formats; tasks from templates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emo_face.cli.main import main
from emo_face.core.errors import UserError
from emo_face.core.types import Box
from emo_face.datasets.contexts import llava_instruct
from emo_face.datasets.contexts import records as context
from emo_face.datasets.contexts import tasks as context_tasks
from emo_face.datasets.contexts.face_targets import FaceTargets
from emo_face.datasets.pictures import sfew
from emo_face.datasets.records import Record, read_jsonl, write_jsonl
from emo_face.expression.contextface.conditions import CONDITIONS
from emo_face.expression.contextface.prompts import plain

PAPER = ("situation", "quote")
GOLDEN = Path(__file__).parent / "golden"
QUOTE = "I can't believe how therapeutic it is to turn these simple pieces of paper into beautiful little art pieces."
SITUATION = "She's folding colorful origami while enjoying a relaxing afternoon coffee break at home."


def targets(*ids):
    n = len(ids)
    numbers = np.arange(n * 100, dtype=np.float32).reshape(n, 100)
    return FaceTargets("flame2020", "test", ids, numbers, np.full((n, 3), np.nan), np.full((n, 2), np.nan))


def test_sfew_folders(tmp_path):
    for split, name, file in (
        ("Train", "Angry", "HarryPotter_000123_00000001.png"),
        ("train", "HAPPY", "HarryPotter_000123_00000002.png"),
        ("Val", "Surprise", "Juno_1.jpg"),
        ("Test", "Neutral", "x.png"),
    ):
        (tmp_path / split / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / split / name / file).write_bytes(b"")
    (tmp_path / "Train" / "Angry" / "Thumbs.db").write_bytes(b"")
    records = sfew.read(tmp_path)
    assert sorted((r.split, r.labels) for r in records) == [
        ("test", ("Neutral",)),
        ("train", ("Anger",)),
        ("train", ("Happy",)),
        ("val", ("Surprise",)),
    ]
    clips = {r.group_id for r in records if "Harry" in r.image}
    assert clips == {"HarryPotter_000123"}, "frames of one clip are one group"
    (tmp_path / "Val" / "Contempt").mkdir()
    (tmp_path / "Val" / "Contempt" / "y.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"Contempt.*unknown class"):
        sfew.read(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        sfew.read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures"):
        sfew.read(tmp_path / "empty")


def test_flat_context_rows(tmp_path):
    rows = [
        {
            "image": "Angry/1.png",
            "emotion": "Angry",
            "situation": SITUATION,
            "quote": f"“{QUOTE}”",
            "bbox": [1, 2, 3, 4],
            "expression": "exp/1.npy",
            "annotator": "someone",
        },
        {"image": "b.png", "label": "happiness", "Expected situation": "S.", "Expected quote": "Q."},
        {"image": "c.png", "emotion": "worried", "situation": "S.", "quote": "Q."},
    ]
    (tmp_path / "train.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "test.jsonl").write_text(json.dumps({**rows[1], "image": "d.png"}) + "\n\n", encoding="utf-8")
    found = context.read(tmp_path, "sfew_c")
    assert [(r.image, r.labels, r.split) for r in found.records] == [
        ("Angry/1.png", ("Anger",), "train"),
        ("b.png", ("Happy",), "train"),
        ("d.png", ("Happy",), "test"),
    ]
    assert (found.records[0].quote, found.records[0].bbox_body) == (QUOTE, Box(1, 2, 3, 4))
    assert (found.records[1].situation, found.records[1].quote) == ("S.", "Q.")
    assert found.expressions == {found.records[0].id: "exp/1.npy"}
    assert found.dropped == {"emotion 'worried' is none of the seven": 1}
    write_jsonl(tmp_path / "out.jsonl", found.records)
    assert list(read_jsonl(tmp_path / "out.jsonl")) == found.records


def test_dialogues_of_the_released_code_give_the_same_records(tmp_path):
    record = Record("x", "a.png", "caers7", ("Happy",), situation=SITUATION, quote=QUOTE)
    built = context_tasks.build([record], tmp_path, targets("x"), PAPER)
    rows = []
    for example in built.of("situation") + built.of("expression"):
        question, answer = plain(example.turns[0].question), plain(example.turns[0].answer)
        said = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
        rows.append({"id": example.id, "image": "a.png", "conversations": said, "expression": "a.npy"})
    (tmp_path / "mixed.json").write_text(json.dumps(rows), encoding="utf-8")
    found = context.read(tmp_path / "mixed.json", "caer_s_c", "train")
    assert len(found.records) == 1, "three dialogues about one picture are one record"
    (back,) = found.records
    assert (back.situation, back.quote, back.labels) == (SITUATION, QUOTE, ("Happy",))
    assert list(found.expressions.values()) == ["a.npy"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "no usable row"),
        ('[{"emotion": "Sad"}]', "image"),
        ('[{"image": "a", "emotion": "Sad", "bbox": [1, 2]}]', "bbox"),
        ("[3]", "row"),
        ('[{"image": "a"}]', "no emotion"),
    ],
)
def test_wrong_context_files(tmp_path, text, words):
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        context.read(path, "x")
    with pytest.raises(UserError, match="no such file"):
        context.read(tmp_path / "none.json", "x")


def test_one_picture_with_two_emotions_is_counted_not_mixed(tmp_path):
    row = {"image": "a.png", "emotion": "Sad", "situation": "S.", "quote": "Q."}
    (tmp_path / "x.json").write_text(json.dumps([row, {**row, "emotion": "Happy"}]))
    found = context.read(tmp_path / "x.json", "x")
    assert [r.labels for r in found.records] == [("Sad",)]
    assert list(found.dropped.values()) == [1]


def test_llava_instruct(tmp_path):
    def talk(*values):
        return [{"from": ("human", "gpt")[i % 2], "value": value} for i, value in enumerate(values)]

    rows = [
        {"id": "1", "image": "000.jpg", "conversations": talk("<image>\nWhat is it?", "A cat.", "Why?", "It meows.")},
        {"id": "2", "image": "001.jpg", "conversations": talk("What is it?\n<image>", "A dog.")},
        {"id": "3", "conversations": talk("Two and two?", "Four.")},
        {"id": "4", "image": "002.jpg", "conversations": talk("Hm?")},
        {"id": "5", "conversations": talk("<image>\nWhere?", "Here.")},
        {"id": "6", "image": "003.jpg"},
        "nonsense",
    ]
    path = tmp_path / "llava.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "000.jpg").write_bytes(b"x")
    examples, dropped = llava_instruct.read(path, tmp_path)
    assert [e.id.split("/")[1] for e in examples] == ["1", "2", "3"]
    assert [plain(t.question) for t in examples[0].turns] == ["<image>\nWhat is it?", "Why?"]
    assert plain(examples[1].turns[0].question) == "<image>\nWhat is it?", "the picture comes first"
    assert examples[2].image is None
    assert "<image>" not in plain(examples[2].turns[0].question)
    assert sum(dropped.values()) == 4
    assert dropped["asks for a picture and names none"] == 1
    there, missing = llava_instruct.read(path, tmp_path, check_files=True)
    assert [e.id.split("/")[1] for e in there] == ["1", "3"]
    assert missing["picture is missing"] == 1
    few = [[e.id for e in llava_instruct.read(path, tmp_path, limit=5, seed=s)[0]] for s in (1, 1, 3)]
    assert few[0] == few[1]
    path.write_text("{}")
    with pytest.raises(UserError, match="list of dialogues"):
        llava_instruct.read(path, tmp_path)


# llava_v1_5_mix665k.json (text-only rows, coco/train2017/ before the names), and what converters write from it
def test_llava_instruct_in_its_other_forms(tmp_path):
    def chat(*texts, first=None):
        said = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
        return ([{"role": "system", "content": first}] if first else []) + said

    (tmp_path / "000.jpg").write_bytes(b"x")
    (tmp_path / "train2017").mkdir()
    (tmp_path / "train2017" / "111.jpg").write_bytes(b"x")
    rows = [
        {
            "id": 1,
            "image": "coco/train2017/000.jpg",
            "conversations": chat("<image>\nWho?", "A cat.", first="Be kind"),
        },
        {"id": 2, "image": ["coco/train2017/111.jpg"], "conversations": chat("What?\n<image>", "A dog.")},
        {"id": 3, "image": ["a.jpg", "b.jpg"], "conversations": chat("<image><image> Same?", "No.")},
        {"id": 4, "image": "../../etc/passwd", "conversations": chat("<image> What?", "No.")},
        {"id": 5, "image": "/etc/passwd", "conversations": chat("<image> What?", "No.")},
        {"id": "text", "conversations": chat("Two and two?", "Four."), "model": "x"},
        # LLaVA's train.py and xtuner's llava_map_fn skip what the model says first; messages and images: LLaVA-Pool
        {"id": 7, "conversations": chat("", "Hello!", "And three?", "Six.", "And four?")[1:]},
        {"id": 8, "images": ["000.jpg"], "messages": chat("<image>What?", "A cat.")},
    ]
    path = tmp_path / "mix.json"
    path.write_text("\ufeff" + json.dumps(rows), encoding="utf-8")
    examples, dropped = llava_instruct.read(path, tmp_path, check_files=True)
    cat, dog = tmp_path / "000.jpg", tmp_path / "train2017" / "111.jpg"
    assert [e.image for e in examples] == [cat, dog, None, None, cat]
    assert [plain(turn.question) for turn in examples[3].turns] == ["And three?"]
    assert dropped == {"several pictures": 1, "names a picture outside its folder": 2}


def test_tasks_match_the_papers_examples(tmp_path):
    box = Box(10, 20, 30, 40)
    record = Record(
        "x", "a.png", "caers7", ("Happy",), bbox_face=Box(0, 0, 1, 1), bbox_body=box, situation=SITUATION, quote=QUOTE
    )
    tasks = context_tasks.build([record], tmp_path, targets("x"), PAPER)
    shown = []
    for example in tasks.of("situation")[:1] + tasks.of("expression"):
        shown.append(f"== {example.task}: {example.id}, {example.label}, image {example.image is not None}")
        shown += [plain(part) for turn in example.turns for part in (turn.question, turn.answer)]
    assert "\n".join(shown) + "\n" == (GOLDEN / "tasks.txt").read_text(encoding="utf-8")
    asked = tasks.by_name["situation/image+quote"][0]
    assert (asked.image, asked.box, asked.target) == (tmp_path / "a.png", box, None)
    np.testing.assert_array_equal(tasks.of("expression")[0].target.expression, np.arange(100))
    assert not tasks.dropped.total()


def test_records_that_lack_something_are_counted(tmp_path):
    def person(name, **fields):
        return Record(name, "a.png", "caers7", ("Sad",), **fields)

    records = [
        person("whole", situation="S.", quote="Q."),
        person("no target", situation="S.", quote="Q."),
        person("no quote", situation="S."),
        Record("two", "a.png", "emotic26", ("Anger", "Fear")),
        Record("other", "a.png", "emotic26", ("Yearning",)),
    ]
    tasks = context_tasks.build(records, tmp_path, targets("whole", "no quote"), PAPER)
    assert [e.id for e in tasks.of("situation")] == ["whole/ask/quote", "no target/ask/quote"]
    assert [e.id for e in tasks.of("expression")] == ["whole/situation", "no quote/situation", "whole/quote"]
    assert tasks.dropped == {
        "situation/image+quote: no situation, no quote or no picture": 3,
        "situation/quote: no situation, no quote or no picture": 1,
        "expression/situation: no text, no reaction or no face": 1,
        "expression/quote: no text, no reaction or no face": 2,
        "not one label": 1,
        "label is none of the seven": 1,
    }
    with pytest.raises(UserError, match=r"'whole'.*'elsewhere/whole'"):
        context_tasks.build(records, tmp_path, targets("elsewhere/whole"))


def moment(name, label="Sad", reaction="Surprise", **fields):
    words = {"situation": "She waits.", "quote": "Where is it?", "listener_situation": "He hears her wait."}
    fields = {"bbox_body": Box(1, 2, 3, 4), **words, **fields}
    return Record(name, f"{name}.png", "caers7", (label,), "train", reaction=reaction, **fields)


def test_every_form_is_trained_and_a_listener_lends_a_face(tmp_path):
    records = [moment("a"), moment("b", "Surprise"), moment("c", reaction="")]
    tasks = context_tasks.build(records, tmp_path, targets("a", "b", "c"))
    assert set(tasks.by_name) == {f"expression/{name}" for name in CONDITIONS} | {
        "situation/image+quote",
        "situation/quote",
    }
    heard = tasks.by_name["expression/listener/image+situation+quote"]
    assert [e.id.split("/")[0] for e in heard] == ["a", "b"], "without a reaction there is no listener"
    assert "He hears her wait." in plain(heard[0].turns[0].question)
    assert plain(heard[0].turns[0].answer).startswith("Considering the situation, the person expresses Surprise.")
    np.testing.assert_array_equal(heard[0].target.expression, targets("a", "b").get("b").expression)  # b is surprised
    assert (heard[0].image, heard[0].box) == (tmp_path / "a.png", Box(1, 2, 3, 4))
    own = context_tasks.build(records, tmp_path, targets("a", "b", "a/listener"))
    (face, *_) = own.by_name["expression/listener/quote"]
    np.testing.assert_array_equal(face.target.expression, targets("x", "y", "z").get("z").expression)
    spread = tasks.spread()
    assert {e.id.split("/", 1)[1] for e in spread} > {"ask", "listener/quote"}
    assert len(spread) < len(tasks.of("expression"))


def test_pictures_without_a_box_are_left_out_or_refused(tmp_path):
    bare = moment("bare", bbox_body=None)
    tasks = context_tasks.build([moment("a"), bare], tmp_path, targets("a", "bare"))
    assert tasks.dropped["no person in a box"] == 1
    assert not [e for e in tasks.of("expression") + tasks.of("situation") if e.id.startswith("bare")]
    with pytest.raises(UserError, match=r"none of 1 pictures has a box.*emo-face data boxes"):
        context_tasks.build([bare], tmp_path, targets("bare"))
    words = context_tasks.build([bare], tmp_path, targets("bare"), ("quote", "listener/quote"))
    assert len(words.by_name["expression/quote"]) == 1


def test_convert_and_verify_by_command(tmp_path, capsys):
    row = {"image": "a.png", "emotion": "Sad", "situation": "S.", "quote": "Q."}
    (tmp_path / "train.json").write_text(json.dumps([row]))
    out = tmp_path / "out.jsonl"
    assert main(["data", "convert", "--set", "sfew_c", "--root", str(tmp_path), "--to", str(out)]) == 0
    assert len(list(read_jsonl(out))) == 1
    code = main(["data", "verify", "--set", "sfew_c", "--root", str(tmp_path), "--no-pictures", "--json"])
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert code == 1
    assert any("890" in p["detail"] for p in problems), "the published count is checked"


def test_what_annotation_wrote_is_read_as_it_is(tmp_path):
    records = [
        Record(
            "a",
            "a.png",
            "caers7",
            ("Anger",),
            "train",
            "caer_s:official",
            bbox_body=Box(1, 2, 3, 4),
            group_id="g",
            situation="S.",
            quote="Q.",
        ),
        Record("b", "b.png", "basic7", ("Sad",), "test", group_id="b.png", situation="S."),
        Record("c", "c.png", "emotic26", ("Yearning",), group_id="c.png"),
        *(Record(f"d{x}", "d.png", "caers7", ("Sad",), bbox_face=Box(x, 2, 3, 4), group_id="d.png") for x in (1, 9)),
    ]
    write_jsonl(tmp_path / "records.jsonl", records)
    found = context.read(tmp_path / "records.jsonl", "caer_s_c")
    assert found.records[0] == records[0]
    assert (found.records[1].id, found.records[1].label_set, found.records[1].labels) == ("b", "caers7", ("Sad",))
    assert [record.id for record in found.records[2:]] == ["d1", "d9"], "two people of one picture"
    assert found.dropped == {"not one label of the seven": 1}
    (tmp_path / "bad.jsonl").write_text(json.dumps({"label_set": "caers7", "image": "a"}))
    with pytest.raises(UserError, match=r"bad\.jsonl:1"):
        context.read(tmp_path / "bad.jsonl", "x")
