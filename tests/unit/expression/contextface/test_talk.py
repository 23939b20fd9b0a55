"""Several turns about one picture: what was said comes before what is asked, and faces use the situation as told."""

import io
import json
import types

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from tinyworld import PICTURE, tiny

from emo_face.cli import _chat
from emo_face.core.errors import UserError
from emo_face.core.types import Box
from emo_face.expression.contextface import prompts
from emo_face.expression.contextface.engine import Engine
from emo_face.expression.contextface.talk import Conversation

BOX = Box(10, 10, 40, 60)


@pytest.fixture(scope="module")
def engine():
    made = tiny()
    return Engine(made.model.eval(), made.builder, made.eyes)


def test_a_later_question_sees_the_turns_before_it(engine):
    scene = Conversation(engine, PICTURE, BOX)
    text = "".join(scene.tell("It's over.", 8))
    assert scene.turns[0].question == prompts.situation_question("It's over.")
    "".join(scene.ask("Who else is there?", 4))
    assert [len(scene.turns), scene.quote] == [2, "It's over."]
    builder = engine.builder
    asked = prompts.Turn(prompts.vqa_question("And now?", False), ())
    ids = builder.dialogue((*scene.turns, asked), answered=False).ids
    whole = builder.dialogue((*scene.turns, prompts.Turn(asked.question, prompts.vqa_answer("Yes")))).ids
    assert whole[: len(ids)] == ids, "a prompt is the whole dialogue up to its last answer"
    assert ids.count(builder.image_id) == engine.eyes.tokens, "one picture, in the first turn"
    first = builder.prompt(scene.turns[0].question)
    assert ids[: len(first)] == first
    assert text == "".join(engine.ask("", "It's over.", PICTURE, BOX, 8)), "the first turn is the service's question"


def test_a_face_is_asked_with_the_situation_as_told(engine, monkeypatch):
    scene = Conversation(engine, PICTURE, BOX, quote="It's over.", situation="They part at the station.")
    seen = []
    real = engine.onepass.answer
    monkeypatch.setattr(engine.onepass, "answer", lambda *given: seen.append(given) or real(*given))
    answer = scene.face("listener")
    assert [seen[0][0], seen[0][1], seen[0][3]] == ["It's over.", "They part at the station.", "listener"]
    assert answer.probabilities.sum() == pytest.approx(1)
    with pytest.raises(UserError, match="nothing was said"):
        list(scene.tell("  "))
    with pytest.raises(UserError, match="empty"):
        Conversation(engine).face("speaker")


def test_the_command_reads_a_line_a_turn(engine, monkeypatch, capsys, tmp_path):
    lines = [
        "It's over.",
        f"/listener {tmp_path / 'face.json'}",
        "/ask Why?",
        "/smell",
        f"/image {tmp_path}/none.png",
        "/quit",
        "no",
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    args = types.SimpleNamespace(json=True, max_tokens=4, decision=None, theme="human")
    assert _chat.talk(args, engine, PICTURE, BOX, "") == 0
    out = capsys.readouterr()
    rows = [json.loads(line) for line in out.out.splitlines()]
    assert [row["turn"] for row in rows] == lines[:5]
    assert {"text", "situation", "emotion"} <= set(rows[0])
    assert sum(rows[1]["probabilities"].values()) == pytest.approx(1)
    assert (tmp_path / "face.json").is_file()
    assert "no such turn" in rows[3]["error"]
    assert "error" in rows[4], "a turn that cannot be done costs no other"
    with pytest.raises(UserError, match="exported"):
        _chat.talk(args, object(), None, None, "")
