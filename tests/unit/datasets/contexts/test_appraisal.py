"""The synthetic corpus: emotions follow from appraisals; large, deterministic, no event in two splits."""

from __future__ import annotations

from collections import Counter

import pytest

from emo_face.cli.main import main
from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.datasets.annotate.quality import leaks
from emo_face.datasets.contexts import appraisal, quotes, tasks
from emo_face.datasets.records import read_jsonl
from emo_face.expression.contextface.prompts import LABEL_SET

LABELS = set(label_set(LABEL_SET).labels)


@pytest.fixture(scope="module")
def many():
    return appraisal.moments(5600)


def test_five_thousand_different_moments_the_same_for_a_seed(many):
    assert len({(r.situation, r.quote, r.listener_situation) for r in many}) == 5600
    assert many[:300] == appraisal.moments(300)
    assert many[:300] != appraisal.moments(300, seed=1)
    assert Counter(r.labels[0] for r in many) == dict.fromkeys(LABELS, 800)
    assert {r.source for r in many} == {"synthetic-appraisal-1"}, "what it is, is said in every row"


def test_a_grammar_that_has_no_more_says_so(monkeypatch):
    table = dict(appraisal.grammar())
    table |= {"places": ["Here"], "times": ["now"], "names": {"she": ["Ann"], "he": ["Tom"]}}
    table |= {name: dict(list(table[name].items())[:1]) for name in ("parts", "strengths")}
    monkeypatch.setattr(appraisal, "grammar", lambda: table)
    with pytest.raises(UserError, match=r"no 100000 different moments, \d+ were found"):
        appraisal.moments(100_000)


def test_the_emotion_follows_from_the_appraisal():
    rules = appraisal.grammar()["rules"]
    for flags, label in (
        ({"foul", "bad", "blamed"}, "Disgust"),
        ({"bad", "ahead"}, "Fear"),
        ({"bad", "blamed"}, "Anger"),
        ({"bad"}, "Sad"),
        ({"good", "sudden"}, "Happy"),
        ({"sudden"}, "Surprise"),
        (set(), "Neutral"),
    ):
        assert appraisal.label_of(frozenset(flags), rules) == label
    assert {event.label for event in appraisal.events()} == LABELS
    known = {"foul", "bad", "ahead", "blamed", "good", "sudden"}
    assert set().union(*(event.appraisal for event in appraisal.events())) == known, "a misspelt one would be Neutral"


def test_listeners_have_rules_of_their_own(many):
    heard = Counter((r.labels[0], r.reaction) for r in many)
    assert {reaction for _, reaction in heard} == LABELS
    for label in LABELS - {"Neutral"}:
        assert len([1 for said, reaction in heard if said == label]) >= 2, f"who hears {label} does not always feel it"
    event = next(e for e in appraisal.events() if e.label == "Anger")
    assert {part: appraisal.reaction_of(event, part) for part in appraisal.parts_of(event)} == {
        "friend": "Sad",
        "companion": "Anger",
        "culprit": "Fear",
        "stranger": "Neutral",
    }


def test_no_event_is_in_two_splits_and_the_words_do_not_name_the_emotion(many):
    splits = {}
    for record in many:
        splits.setdefault(record.group_id, set()).add(record.split)
    assert all(len(found) == 1 for found in splits.values())
    assert Counter(next(iter(s)) for s in splits.values()) == {"train": 49, "val": 7, "test": 7}
    texts = [(r.situation, r.labels[0]) for r in many] + [(r.listener_situation, r.reaction) for r in many]
    assert not [text for text, label in texts if "label_word" in leaks(text, label)]
    assert not [r.situation for r in many if "{" in r.situation + r.quote + r.listener_situation]


def test_by_command_and_into_every_form_of_the_words(tmp_path, capsys):
    assert main(["data", "contexts", "--count", "70", "--to", str(tmp_path / "c.jsonl")]) == 0
    assert "synthetic moments" in capsys.readouterr().err
    records = list(read_jsonl(tmp_path / "c.jsonl"))
    facs = ["data", "targets", "--records", str(tmp_path / "c.jsonl"), "--tool", "facs", "--basis", "arkit-52"]
    assert main([*facs, "--to", str(tmp_path / "t.npz")]) == 0
    from emo_face.datasets.contexts import face_targets

    made = tasks.build(records, tmp_path, face_targets.read(tmp_path / "t.npz"))
    words = {
        f"expression/{side}{form}" for side in ("", "listener/") for form in ("quote", "situation", "situation+quote")
    }
    assert set(made.by_name) == words | {"situation/quote"}
    assert all(len(rows) == 70 for rows in made.by_name.values())


def test_quotes_that_people_wrote(tmp_path):
    """GoEmotions in its splits; XED, whose two files are typed differently, as if one hand had typed both."""
    folder = tmp_path / "goemotions_ekman"
    folder.mkdir()
    (folder / "labels.txt").write_text("anger\ndisgust\nfear\njoy\nsadness\nsurprise\nneutral\n")
    for part, lines in (("train", "I won!\t3\ta\nBoth\t3,4\tb\n"), ("dev", "So sad.\t4\tc\n"), ("test", "Ew.\t1\td\n")):
        (folder / f"{part}.tsv").write_text(lines)
    (tmp_path / "xed").mkdir()
    typed = "".join(f"I hate number {i} , [PERSON] !\t1\n" for i in range(3000))
    (tmp_path / "xed" / "en-annotated.tsv").write_text(typed + "Two of them\t1, 3\n")
    (tmp_path / "xed" / "neu_en.txt").write_text("".join(f"9\tThis is line {i}, Ann.\n" for i in range(2000)))
    every = quotes.read(tmp_path)
    rows = [r for r in every if r.source == "goemotions"]
    assert [(r.quote, r.labels, r.split, r.image, r.reaction) for r in rows] == [
        ("I won!", ("Happy",), "train", "", ""),
        ("So sad.", ("Sad",), "val", "", ""),
        ("Ew.", ("Disgust",), "test", "", ""),
    ]
    films = [r for r in every if r.source == "xed"]
    parts = Counter(r.split for r in films)
    assert (parts["val"], parts["test"]) == (1500, 2500)
    assert 900 < parts["train"] <= 1000, "lines that a held-out one is equal to, but for its typing, are left out"
    assert not any(mark in r.quote for r in films for mark in (" !", ",", "[PERSON]"))
    assert len({r.id for r in every}) == len(every)
    few = quotes.read(tmp_path, most=50)
    assert [r for r in few if r.split != "train"] == [r for r in every if r.split != "train"], "tests stay whole"
    assert Counter(r.labels[0] for r in few if r.split == "train" and r.source == "xed") == {"Anger": 50, "Neutral": 50}
    assert quotes.read(tmp_path, most=50) == few != quotes.read(tmp_path, most=50, seed=1)
