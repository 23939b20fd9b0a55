"""The corpus: prompts against golden files, balancing against its own arithmetic and the paper's shares."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emo_face.cli import main as cli
from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.datasets.qa import balance, corpus, quality, templates
from emo_face.datasets.records import Record, write_jsonl

GOLDEN = Path(__file__).parent / "golden"


def rendered() -> dict[str, str]:
    emotic = templates.options_of("emotic26")
    return {
        "a2_1_classification": templates.classification_question(emotic),
        "a2_3_minor": templates.classification_question(
            templates.options_of("emotic26", minor_only=True), "A man in a grey coat waits at a stop."
        ),
        "heco_classification": templates.classification_question(templates.options_of("heco8"), multi=False),
        "listing1_pose": templates.annotation_prompt("pose"),
        "listing2_pose_questions": "\n".join(templates.prompts()["pose"]["ask"]),
        "listing3_situation": templates.annotation_prompt("situation"),
        "listing4_situation_questions": "\n".join(templates.prompts()["situation"]["ask"]),
        "listing5_rationale": templates.rationale_prompt(label_set("caers7").labels, ["Happy"]),
        "listing6_rationale_questions": "\n".join(templates.prompts()["rationale"]["ask"]),
    }


@pytest.mark.parametrize("name", sorted(rendered()))
def test_prompts_match_golden_files(name):
    assert rendered()[name] + "\n" == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_pools_have_the_papers_sizes():
    assert [len(templates.prompts()[task]["ask"]) for task in ("pose", "situation", "rationale")] == [15, 11, 19]


def test_options_cover_the_set_and_pleasure_is_in_neither_list():
    assert set(templates.options_of("emotic26")) == set(label_set("emotic26").labels)
    plan = balance.plan_of("emotic26")
    assert set(label_set("emotic26").labels) - plan.major - set(plan.minor) == {"Pleasure"}
    heco = balance.plan_of("heco8")
    assert set(label_set("heco8").labels) == heco.major | set(heco.minor)
    assert balance.plan_of("caers7") is None
    with pytest.raises(ValueError, match="balanced"):
        templates.options_of("caers7", minor_only=True)


def person(number, *labels, set_name="emotic26", split="train", **texts):
    return Record(f"r{number}", f"{number}.jpg", set_name, labels, split, group_id=f"{number}", **texts)


def test_keep_probability_in_both_readings():
    plan = balance.plan_of("emotic26")
    alone, major, mixed = person(0, "Engagement"), person(1, "Engagement", "Happiness"), person(2, "Engagement", "Fear")
    pleasure = person(3, "Engagement", "Pleasure")
    for reading, expected in (("drop", (0.2, 0.8, 1, 1)), ("keep", (0.8, 0.2, 1, 1))):
        got = tuple(balance.keep_probability(r, plan, reading) for r in (alone, major, mixed, pleasure))
        assert got == pytest.approx(expected)
    heco = balance.plan_of("heco8")
    assert balance.keep_probability(person(4, "Peace", set_name="heco8"), heco, "drop") == 0.5
    assert balance.keep_probability(person(5, "Happy", set_name="caers7"), None, "drop") == 1


def emotic_like(n=26581, seed=0):
    """People whose label counts follow figure 4: top five as printed, the rest a long tail, 5,112 Engagement-only."""
    rng = np.random.default_rng(seed)
    names = label_set("emotic26").labels
    top = {"Engagement": 24.20, "Anticipation": 12.59, "Happiness": 12.00, "Excitement": 9.65, "Confidence": 9.03}
    tail = [name for name in names if name not in top]
    weights = np.geomspace(1, 0.09, len(tail))
    share = {**top, **dict(zip(tail, weights / weights.sum() * (100 - sum(top.values())), strict=True))}
    chance = np.array([share[name] * 65889 / 100 / (n - 5112) for name in names])
    chance[names.index("Engagement")] = (15947 - 5112) / (n - 5112)
    people = [person(i, "Engagement") for i in range(5112)]
    for i in range(5112, n):
        chosen = rng.random(26) < chance
        if not chosen.any():
            chosen[names.index("Anticipation")] = True
        people.append(person(i, *(name for name, on in zip(names, chosen, strict=True) if on)))
    return people


def test_report_moves_engagement_towards_the_papers_share():
    table = balance.report(emotic_like())
    assert table["before"]["Engagement"] == pytest.approx(24.2, abs=1.0)
    assert table["paper"] == {"label": "Engagement", "before": 24.2, "after": 14.49}
    drop, keep = table["after"]["drop"]["Engagement"], table["after"]["keep"]["Engagement"]
    assert drop == pytest.approx(14.49, abs=1.5)
    assert abs(drop - 14.49) < abs(keep - 14.49)
    assert table["after"]["drop"]["Embarrassment"] > table["before"]["Embarrassment"]
    assert "14.49" in table["text"]


def test_rows_of_each_task_and_the_quality_gate():
    whole = person(
        0,
        "Engagement",
        "Fear",
        caption="A man runs.",
        pose="A man leans forward.",
        situation="A park.",
        rationale="He backs away. This suggests Fear.",
    )
    made = corpus.build([whole])
    assert [row.task for row in made.rows][:2] == ["caption", "minor"]
    assert len(made.rows) == 4  # others capped at one for each classification row
    assert made.dropped["over the share of other tasks"] == 1
    made = corpus.build([whole], other_share=9)
    by_task = {row.task: row for row in made.rows}
    assert by_task["caption"].answer == "Fear, Engagement"  # the prompt's order
    assert by_task["minor"].answer == "Fear"
    assert "Engagement" not in by_task["minor"].question
    assert by_task["rationale"].question in templates.prompts()["rationale"]["ask"]
    bad = replace(whole, pose="A man smiles.", situation="He is wearing a hat.", rationale="It is Joy and Anger.")
    made = corpus.build([bad], other_share=9)
    assert Counter(row.task for row in made.rows) == {"caption": 1, "minor": 1}
    assert sum(made.dropped.values()) == 3
    only = corpus.build([whole], tasks=("classification",), balance=False)
    assert [row.task for row in only.rows] == ["classification"]
    with pytest.raises(UserError, match="tasks: unknown"):
        corpus.build([whole], tasks=("poses",))


def test_only_training_rows_are_balanced():
    people = [person(i, "Engagement", split="val") for i in range(50)] + [person(99, "Fear", split="val")]
    made = corpus.build(people)
    assert len(made.rows) == 51
    assert all(row.task == "classification" for row in made.rows)


def test_same_seed_same_corpus():
    people = emotic_like(6000)
    assert corpus.build(people, seed=3).rows == corpus.build(people, seed=3).rows
    assert corpus.build(people, seed=3).rows != corpus.build(people, seed=4).rows


def test_corpus_file_round_trip_and_errors(tmp_path):
    made = corpus.build([person(0, "Fear", pose="A man sits.")])
    path = tmp_path / "qa.jsonl"
    assert corpus.write_corpus(path, made)["rows"] == {"classification": 1, "minor": 1, "pose": 1}
    assert corpus.read_corpus(path) == made.rows
    row = json.loads(path.read_text().splitlines()[0])
    for change, word in (({"answer": ""}, "answer"), ({"record": {}}, "id"), ({"record": 3}, ":1:")):
        path.write_text(json.dumps({**row, **change}))
        with pytest.raises(UserError, match=word):
            corpus.read_corpus(path)
    path.write_text("")
    with pytest.raises(UserError, match="empty"):
        corpus.read_corpus(path)


def test_quality_gate_words():
    assert "smile" in quality.fault("pose", "A woman stands with a smile.", (), "emotic26")
    assert "sentences" in quality.fault("pose", "One. Two. Three.", (), "emotic26")
    assert quality.fault("pose", "A man stands upright, arms crossed.", (), "emotic26") == ""
    assert "red box" in quality.fault("situation", "The person in the red box is at work.", (), "emotic26")
    assert "5" in quality.fault("rationale", "A. B. C. D. E. F.", ["Fear"], "emotic26")
    assert "Anger" in quality.fault("rationale", "Fear, also Anger.", ["Fear"], "emotic26")
    assert quality.parse_rationale('```json\n[{"question": "q", "answer": "a"}]\n```') == ("q", "a")
    for reply in ("I cannot help", "[]", '[{"question": 1, "answer": "a"}]'):
        with pytest.raises(ValueError, match="rationale"):
            quality.parse_rationale(reply)


def test_answers_are_parsed_or_counted():
    assert templates.parse_answer("fear, Doubt/Confusion and Peace", "emotic26") == ("Doubt/Confusion", "Fear", "Peace")
    assert templates.parse_answer("I do not know", "emotic26") is None
    with pytest.raises(ValueError, match="none of the labels"):
        templates.classification_answer(["Happiness"], ["Fear"])


def test_cli_balance_and_qa(tmp_path, capsys):
    write_jsonl(tmp_path / "r.jsonl", emotic_like(5600)[5000:])
    assert cli.main(["data", "balance", "--records", str(tmp_path / "r.jsonl")]) == 0
    assert "paper: Engagement 24.2 -> 14.49" in capsys.readouterr().out
    arguments = ["data", "qa", "--records", str(tmp_path / "r.jsonl"), "--to", str(tmp_path / "qa.jsonl"), "--json"]
    assert cli.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["rows"]["minor"] > 0
    assert cli.main(arguments[:-1]) == 0
    *rows, last = capsys.readouterr().out.splitlines()
    assert sum(float(row.split()[-1].rstrip("%")) for row in rows) == pytest.approx(100, abs=0.2)
    counts = {row.split()[0]: float(row.split()[-1].rstrip("%")) for row in rows}
    asked = sum(counts.get(name, 0) for name in ("classification", "caption", "minor"))
    assert float(last.split("%")[0].split()[-1]) == pytest.approx(asked, abs=0.2)
    assert "figure 11" in last
