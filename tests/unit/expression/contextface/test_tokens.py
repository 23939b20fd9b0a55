"""Tokens: the same in training and in use, natural across pieces, one picture one run."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from emo_face.core.errors import ConfigError, ModelError
from emo_face.expression.contextface import checkpoint
from emo_face.expression.contextface import prompts as p
from emo_face.expression.contextface.model import add_face_token
from emo_face.expression.contextface.tokens import TokenBuilder
from emo_face.runtime.weights import kept_backbone
from fixtures import tiny_contextface as source


def builder(family="llava", chat="auto", system="", template=True):
    tokenizer = source.tiny_tokenizer(family)
    base = source.tiny_base(family, tokenizer)
    add_face_token(base, tokenizer)
    if not template:
        tokenizer.chat_template = None
    if family == "llama":
        return TokenBuilder(tokenizer, family, -1, 0, chat, system)
    name = "<image>" if family in ("llava", "smolvlm") else "<|image_pad|>"
    return TokenBuilder(tokenizer, family, tokenizer.convert_tokens_to_ids(name), 9, chat, system)


TURN = p.Turn(p.expression_question(quote="oh dear", image=True), p.expression_answer("quote", "Sad"))


@pytest.mark.parametrize("family", source.FAMILIES)
@pytest.mark.parametrize("chat", ["auto", "vicuna", "llama2"])
def test_training_and_use_see_the_same_tokens(family, chat):
    build = builder(family, chat)
    whole = build.dialogue([TURN])
    lead, word, tail = p.branch_parts("quote", "Sad")
    used = [*build.prompt(TURN.question, lead), *build.body(word), *build.body(tail)]
    assert list(whole.ids[: len(used)]) == used
    first = whole.learned.index(True)
    assert whole.ids[:first] == build.prompt(TURN.question)
    learned = [i for i, on in zip(whole.ids, whole.learned, strict=True) if on]
    assert learned.count(build.face_id) == 1
    assert learned[-1] == build.tokenizer.eos_token_id
    assert build.tokenizer.decode(learned[:-1]).strip() == p.plain(TURN.answer)


@pytest.mark.parametrize("family", source.FAMILIES)
def test_a_picture_is_one_run_of_its_tokens(family):
    ids = builder(family).prompt(TURN.question)
    image = builder(family).image_id
    first = ids.index(image)
    assert ids[first : first + 9] == (image,) * 9
    assert ids.count(image) == 9
    assert builder(family).prompt(p.expression_question(quote="oh")).count(image) == 0


def test_the_text_reads_as_the_template_says():
    build = builder()
    ids = [i for i in build.dialogue([TURN]).ids if i != build.image_id]
    assert build.tokenizer.decode(ids) == (
        "<s>USER: \n“oh dear” Please analyze the speaker's emotional state from this quote and generate a "
        "corresponding 3D facial mesh. ASSISTANT: Considering the quote, the person expresses Sad. The 3D facial "
        "mesh is <FACE>.</s>"
    )


def test_both_tasks_say_an_emotion_in_the_token_that_a_model_would_write():
    build = builder()
    told = build.body(p.situation_answer("It is late.", "Sad"))
    said = build.body(p.expression_answer("quote", "Sad"))
    (sad,) = build.continuation(" Sad")
    assert told[-2] == sad
    assert sad in said
    for ids in (told, said[: said.index(build.face_id)]):  # cut into pieces, yet the tokens of the whole text
        assert ids == build.continuation(build.tokenizer.decode(ids))
    question = build.prompt(p.expression_question(situation="It is late."))
    assert set(build.continuation(" It is late.")) <= set(build.prompt(p.situation_question("It is late.", False)))
    assert build.tokenizer.decode(question).startswith("<s>USER: It is late. From the described situation")


def test_two_turns_learn_both_answers_and_both_ends():
    turns = [
        p.Turn(p.vqa_question("What?"), p.vqa_answer("A cup.")),
        p.Turn(p.vqa_question("Why?", False), p.vqa_answer("So.")),
    ]
    build = builder("qwen2_5_vl")
    tokens = build.dialogue(turns)
    text = build.tokenizer.decode([i for i, on in zip(tokens.ids, tokens.learned, strict=True) if on])
    assert text == "A cup.<|im_end|>So.<|im_end|>"


def test_words_keep_their_blank_with_a_sentencepiece_tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["▁:", "▁a", "▁expresses", "▁Happy", "▁", "Happy", ".", "▁the", ":"]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["<unk>", *words])}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token="</s>")
    build = TokenBuilder.__new__(TokenBuilder)
    build.tokenizer = tokenizer
    got = tokenizer.convert_ids_to_tokens(list(build._continuation(" Happy")))
    assert got == ["▁Happy"]  # not a lone mark before it, as the start of a text has


def test_system_prompt_and_formats():
    system = builder(system="You are a robot.")
    assert "You are a robot." in system.tokenizer.decode(system.prompt(TURN.question))


LLAMA_2 = (
    "<s>[INST] <<SYS>>\nYou are a robot.\n<</SYS>>\n\n<image>\nWhat? [/INST] A cup.</s><s>[INST] Why? [/INST] So.</s>"
)
"""conv_llava_llama_2 of LLaVA's conversation.py, but for a blank before each end."""
VICUNA = "<s>You are a robot. USER: <image>\nWhat? ASSISTANT: A cup.</s>USER: Why? ASSISTANT: So.</s>"
"""conv_llava_v1 of the same file."""


@pytest.mark.parametrize(("chat", "official"), [("llama2", LLAMA_2), ("vicuna", VICUNA)])
def test_the_first_llavas_forms_are_their_own(chat, official):
    build = builder(chat=chat, system="You are a robot.")
    turns = [
        p.Turn(p.vqa_question("What?"), p.vqa_answer("A cup.")),
        p.Turn(p.vqa_question("Why?", image=False), p.vqa_answer("So.")),
    ]
    tokens = build.dialogue(turns)
    assert (
        list(tokens.ids)
        == build.tokenizer(official.replace("<image>", 9 * "<image>"), add_special_tokens=False)["input_ids"]
    )
    learned = [i for i, on in zip(tokens.ids, tokens.learned, strict=True) if on]
    assert build.tokenizer.decode(learned) == " A cup.</s> So.</s>"


@pytest.mark.skipif(not (kept_backbone("smollm2") / "config.json").is_file(), reason="scripts/setup.sh contextface")
@pytest.mark.parametrize("chat", ["auto", "chatml", "plain"])
def test_a_real_tokenizer_makes_the_same_ids_of_the_whole_text(chat):
    tokenizer, _ = checkpoint.load_tools("smollm2")
    tokenizer.add_tokens([p.FACE], special_tokens=True)
    build = TokenBuilder(tokenizer, "llama", -1, 0, chat, "You are a robot.")
    two = p.Turn(p.vqa_question("Why?", image=False), p.vqa_answer("So."))
    for quote in ("I lost my job today", "Não acredito", "It's 9:30, isn't it"):
        for question, answer in (
            (p.expression_question(quote), p.expression_answer("quote", "Sad")),
            (p.expression_question(situation=quote), p.expression_answer("situation", "Fear")),
        ):
            ids = build.dialogue([p.Turn(question, answer), two]).ids
            text = tokenizer.decode(ids, skip_special_tokens=False)
            assert list(ids) == tokenizer(text, add_special_tokens=False)["input_ids"], text
            assert ids.count(tokenizer.eos_token_id) >= 2, "each answer has its end"


CHATML = "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\nA cup.<|im_end|>\n<|im_start|>user\nWhy?"


def test_chatml_by_hand_ends_each_answer():
    build = builder("llama", chat="chatml")
    turns = [p.Turn(p.vqa_question(q, image=False), p.vqa_answer(a)) for q, a in (("What?", "A cup."), ("Why?", "So."))]
    assert build.tokenizer.decode(build.dialogue(turns).ids).startswith(CHATML)


def test_the_processors_template_is_used(tmp_path):
    """llava-hf's checkpoints keep it in chat_template.json, which a tokenizer does not read."""
    tokenizer = source.tiny_tokenizer("llava")
    template, tokenizer.chat_template = tokenizer.chat_template, None
    source.tiny_base("llava", tokenizer).save_pretrained(tmp_path)
    source.tiny_image_processor("llava").save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert checkpoint.load_tools(tmp_path)[0].chat_template is None
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    assert checkpoint.load_tools(tmp_path)[0].chat_template == template


def test_a_checkpoint_without_template_asks_for_a_format():
    with pytest.raises(ConfigError, match="set chat to one of llama2, vicuna, plain, chatml"):
        builder(template=False)
    with pytest.raises(ConfigError, match="expected auto or one of llama2, vicuna, plain, chatml, got 'gpt'"):
        builder(chat="gpt")
    assert builder(chat="vicuna", template=False).prompt(TURN.question)


@pytest.mark.parametrize("family", [*source.FAMILIES, "llama"])
@pytest.mark.parametrize("chat", ["auto", "vicuna", "llama2"])
def test_ids_are_those_of_the_whole_text(family, chat):
    """A tokenizer given the whole text at once makes the same ids: no blank is a token of its own anywhere."""
    tokenizer = source.tiny_tokenizer(family)
    add_face_token(source.tiny_base(family, tokenizer), tokenizer)
    marks = {"llava": "<image>", "smolvlm": "<image>", "llama": ""}
    mark = marks.get(family, "<|image_pad|>")
    build = TokenBuilder(tokenizer, family, tokenizer.convert_tokens_to_ids(mark) if mark else -1, 9, chat)
    two = p.Turn(p.vqa_question("Why?", image=False), p.vqa_answer("So."))
    for turn in (
        p.Turn(p.expression_question(quote="oh dear"), p.expression_answer("quote", "Sad")),
        p.Turn(p.expression_question(situation="She waits."), p.expression_answer("situation", "Fear")),
        p.Turn(p.situation_question("oh dear", image=False), p.situation_answer("She waits.", "Sad")),
    ):
        for ids in (build.prompt(turn.question), build.dialogue([turn]).ids, build.dialogue([turn, two]).ids):
            text = tokenizer.decode(ids, skip_special_tokens=False)
            assert list(ids) == tokenizer(text, add_special_tokens=False)["input_ids"], text


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        (
            "{% for m in messages if m.role == 'system' %}{{ raise_exception('no system') }}{% endfor %}",
            "no system; set chat by name",
        ),
        ("{% for m in messages %}{{ m.content ", "unexpected end of template"),
        ("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", "not once in its output"),
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", "not once in its output"),
    ],
)
def test_a_template_that_cannot_be_used_is_one_line(template, complaint):
    tokenizer = source.tiny_tokenizer("llama")
    tokenizer.add_tokens([p.FACE], special_tokens=True)
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match=f"chat template: .*{complaint}"):
        TokenBuilder(tokenizer, "llama", -1, 0, system="Be kind.").prompt(p.expression_question("oh"))


def test_a_template_that_hides_the_picture_is_refused():
    """As a family might that writes another token than the config's: its picture would be silently absent."""
    tokenizer = source.tiny_tokenizer("llava")
    add_face_token(source.tiny_base("llava", tokenizer), tokenizer)
    tokenizer.chat_template = tokenizer.chat_template.replace("<image>", "<start_of_image>")
    build = TokenBuilder(tokenizer, "other", tokenizer.convert_tokens_to_ids("<image>"), 9)
    with pytest.raises(ModelError, match=r"0 x '<image>', expected 1: the model would not see it"):
        build.prompt(TURN.question)
    assert build.prompt(p.expression_question(quote="oh"))
