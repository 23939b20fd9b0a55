"""Readers of conversation, commands, 28 labels, and valence and arousal, on the publishers' structure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emo_face.core.errors import UserError
from emo_face.core.labels import basic7, label_set
from emo_face.datasets.text_conversation import (
    TOPICAL_CHAT_FILES,
    read_commands,
    read_emobank,
    read_goemotions_28,
    read_meld,
    read_topical_chat,
)


def test_topical_chat_gives_its_calm_messages_once(tmp_path: Path) -> None:
    # conversations/*.json of alexa/Topical-Chat: id -> content: [{message, agent, sentiment, ...}]
    turns = [
        {"message": "Hi there ", "agent": "agent_1", "sentiment": "Neutral", "turn_rating": "Good"},
        {"message": "Wow!", "agent": "agent_2", "sentiment": "Surprised"},
        {"message": "Who plays?", "agent": "agent_1", "sentiment": "Curious to dive deeper"},
    ]
    for name in TOPICAL_CHAT_FILES:
        (tmp_path / name).write_text(json.dumps({"t_1": {"config": "A", "content": turns}}))
    rows = read_topical_chat(tmp_path)
    assert [row.text for row in rows] == ["Hi there", "Who plays?"]
    assert all(basic7().labels[row.labels[0]] == "Neutral" for row in rows)
    (tmp_path / TOPICAL_CHAT_FILES[1]).write_text("[1]")
    with pytest.raises(UserError, match=r"valid_rare\.json: not a file of Topical-Chat"):
        read_topical_chat(tmp_path)
    (tmp_path / TOPICAL_CHAT_FILES[0]).unlink()
    with pytest.raises(UserError, match=r"valid_freq\.json not found"):
        read_topical_chat(tmp_path)


def test_commands_leave_out_felt_intents_and_held_out_lines(tmp_path: Path) -> None:
    (tmp_path / "clinc150.tsv").write_text(
        "train\ttimer\tset a timer\ntrain\tthank_you\tthanks a lot\ntest\tdate\tday?\n"
    )
    (tmp_path / "hwu64_home_robot.tsv").write_text("alarm_set\tWake me\nalarm_set\twake me\ngeneral_joke\tha\n")
    assert [row.text for row in read_commands(tmp_path)] == ["set a timer", "Wake me"]
    assert [row.text for row in read_commands(tmp_path, held_out=True)] == ["day?"]


def test_emobank_is_brought_to_minus_one_to_one(tmp_path: Path) -> None:
    path = tmp_path / "emobank.csv"
    path.write_text('id,split,V,A,D,text\na,train,5.0,1.0,3,"Well, ""yes"""\n')
    assert read_emobank(path)[0].text == 'Well, "yes"'
    assert (read_emobank(path)[0].valence, read_emobank(path)[0].arousal) == (1.0, -1.0)
    path.write_text("id,split,V,A,D,text\na,train,high,1.0,3,x\n")
    with pytest.raises(UserError, match=r"emobank\.csv:2: expected columns"):
        read_emobank(path)


def test_meld_rows_and_an_unknown_emotion(tmp_path: Path) -> None:
    path = tmp_path / "test_sent_emo.csv"
    head = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
    path.write_bytes(
        head.encode() + b'1,"Why, it\x92s you!",Mark,surprise,positive,0,0,3,19,"00:14:38,127","00:14:40,378"\n'
    )
    row = read_meld(path)[0]
    assert row.text == "Why, it\N{RIGHT SINGLE QUOTATION MARK}s you!"
    assert basic7().labels[row.labels[0]] == "Surprise"
    path.write_text(head + "1,x,Mark,bored,neutral,0,0,3,19,a,b\n")
    with pytest.raises(UserError, match=r":2: unknown emotion 'bored'"):
        read_meld(path)


def test_goemotions_28_is_multi_hot_in_the_order_of_the_set(tmp_path: Path) -> None:
    names = label_set("goemotions28").labels
    (tmp_path / "labels.txt").write_text("\n".join(names))
    (tmp_path / "dev.tsv").write_text("hi\t17,27\tid\n")
    texts, labels = read_goemotions_28(tmp_path, "dev")
    assert texts == ["hi"]
    assert [names[i] for i in np.flatnonzero(labels[0])] == ["joy", "neutral"]
    (tmp_path / "dev.tsv").write_text("hi\t28\tid\n")
    with pytest.raises(UserError, match=r"dev\.tsv:1: expected label ids 0\.\.27"):
        read_goemotions_28(tmp_path, "dev")
    (tmp_path / "labels.txt").write_text("joy\n")
    with pytest.raises(UserError, match=r"labels\.txt: expected admiration"):
        read_goemotions_28(tmp_path, "dev")
