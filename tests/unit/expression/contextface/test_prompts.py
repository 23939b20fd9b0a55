"""Templates against golden files, label words, and slots that nothing breaks out of. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_face.core.labels import label_set
from emo_face.expression.contextface import prompts as p

GOLDEN = Path(__file__).parent / "golden" / "prompts.txt"
QUOTE = "I can't believe how therapeutic it is to turn these simple pieces of paper into beautiful little art pieces."
SITUATION = "She's folding colorful origami while enjoying a relaxing afternoon coffee break at home."
CASES = {
    "situation_question": lambda: p.situation_question(QUOTE),
    "situation_answer": lambda: p.situation_answer(SITUATION, "Happy"),
    "expression_from_situation": lambda: p.expression_question(situation=SITUATION),
    "expression_from_quote": lambda: p.expression_question(quote=QUOTE),
    "expression_from_quote_listener": lambda: p.expression_question(quote=QUOTE, perspective="listener"),
    "expression_from_situation_listener": lambda: p.expression_question(situation=SITUATION, perspective="listener"),
    "expression_from_image_and_quote": lambda: p.expression_question(quote=QUOTE, image=True),
    "expression_from_image": lambda: p.expression_question(image=True),
    "expression_from_image_listener": lambda: p.expression_question(image=True, perspective="listener"),
    "expression_from_both": lambda: p.expression_question(quote=QUOTE, situation=SITUATION),
    "answer_situation": lambda: p.expression_answer("situation", "Happy"),
    "answer_quote": lambda: p.expression_answer("quote", "Anger"),
    "vqa_question": lambda: p.vqa_question("<image>\nWhat is on the table?"),
    "chat_question": lambda: p.chat_question("What would he feel?", QUOTE),
    "chat_question_silent": lambda: p.chat_question("What would he feel?"),
    "chat_question_unboxed": lambda: p.chat_question("What would he feel?", QUOTE, boxed=False),
}


def golden() -> dict[str, str]:
    blocks = GOLDEN.read_text(encoding="utf-8").split("== ")[1:]
    return {name: text.rstrip("\n") for name, text in (block.split("\n", 1) for block in blocks)}


@pytest.mark.parametrize("name", CASES)
def test_prompt_is_as_written_down(name):
    assert p.plain(CASES[name]()) == golden()[name]


def test_every_golden_prompt_is_tested():
    assert set(golden()) == set(CASES)


def test_words_cover_the_label_set_both_ways():
    assert {p.label_of(word) for word in p.words()} == set(label_set(p.LABEL_SET).labels)
    assert all(p.word_of(p.label_of(word)) == word for word in p.words())
    assert p.word_of("anger") == "Angry"
    with pytest.raises(ValueError, match=r"Hunger.*Angry, Sad, Surprise, Neutral, Fear, Happy, Disgust"):
        p.word_of("Hunger")


def test_pieces_of_the_branch_are_the_answer():
    for source in ("situation", "quote", "image"):
        assert p.plain(p.expression_answer(source, "Fear")) == "".join(
            p.plain(part) for part in p.branch_parts(source, "Fear")
        )
        assert p.expression_answer(source, "Fear")[-2].kind == "face"


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ("She folds paper. Therefore, the emotion this person is feeling is Happy.", "Happy"),
        ("Considering the quote, the person expresses Angry. The 3D facial mesh is <FACE>.", "Angry"),
        ("He seems happy at first, yet the emotion he is feeling is sadness", "Sad"),
        ("Surprised!", "Surprise"),
        ("Happy or sad, who knows", None),
        ("", None),
        ("I cannot say", None),
    ],
)
def test_parse_emotion(answer, word):
    assert p.parse_emotion(answer) == word


def test_nothing_to_go_by_is_an_error():
    with pytest.raises(ValueError, match="all are empty"):
        p.expression_question(quote=" \u0000\u200b ")
    with pytest.raises(ValueError, match=r"perspective: 'mirror'.*speaker, listener"):
        p.expression_question(quote="hello", perspective="mirror")


@given(st.text(max_size=3000))
@settings(max_examples=100, deadline=None)
def test_a_slot_is_one_bounded_line_without_markers(text):
    clean = p.safe(text)
    assert len(clean) <= p.MAX_SLOT
    assert clean == " ".join(clean.split())
    assert not set(clean) & set('<>[]{}|#"“”`\n\r\t\0')
    assert p.safe(clean) == clean


@given(st.text(max_size=200))
@settings(max_examples=50, deadline=None)
def test_the_template_around_a_slot_does_not_move(text):
    marker = "Ähem, so be it"
    around = [piece for piece in p.situation_question(marker) if piece.kind != "slot"]
    assert [piece for piece in p.situation_question(text) if piece.kind != "slot"] == around
