"""The forms of the question: their product, what a model is asked instead; no backend asks what no task trains."""

from __future__ import annotations

import pytest

from emo_face.core.errors import ConfigError, UserError
from emo_face.expression.contextface import conditions as c
from emo_face.expression.contextface import prompts
from emo_face.expression.contextface.config import ContextFaceConfig


def test_the_product_and_its_names():
    assert len(c.CONDITIONS) == 2 * (2 * 3 + 1)
    assert c.Condition("listener", "quote", True) == c.SERVED
    assert c.select(["speaker"], ["quote", "situation"], ["text"]) == ("quote", "situation")
    assert c.select(["listener"], c.WORDS, ["picture"]) == (
        "listener/image+quote",
        "listener/image+situation",
        "listener/image+situation+quote",
        "listener/image",
    )
    with pytest.raises(ValueError, match=r"words: 'smell', expected some of quote, situation, both, none"):
        c.select(["speaker"], ["smell"], ["text"])
    with pytest.raises(ValueError, match="a picture"):
        c.Condition("speaker", "none", False)
    with pytest.raises(ConfigError, match="conditions: condition 'smell': expected one of quote"):
        ContextFaceConfig(conditions=("smell",))


@pytest.mark.parametrize("name", c.CONDITIONS)
def test_every_form_has_a_question_of_its_own(name):
    form = c.CONDITIONS[name]
    question = form.question("Oh dear.", "She waits.")
    assert (question[0].kind == "image") == form.picture
    said = [piece.text for piece in question if piece.kind == "slot"]
    assert (
        said
        == {"quote": ["Oh dear."], "situation": ["She waits."], "both": ["Oh dear.", "She waits."], "none": []}[
            form.words
        ]
    )
    others = [f.question("Oh dear.", "She waits.") for f in c.CONDITIONS.values() if f is not form]
    assert question not in others


@pytest.mark.parametrize(
    ("wanted", "trained", "asked"),
    [
        ("listener/image+quote", ("listener/image+quote", "quote"), "listener/image+quote"),
        ("listener/image+quote", ("listener/quote", "listener/image"), "listener/quote"),
        ("image+situation+quote", ("image+situation", "quote"), "image+situation"),
        ("situation+quote", ("image+situation", "quote"), "quote"),
        ("image+quote", ("image",), "image"),
        ("listener/quote", ("quote", "listener/situation"), None),
        ("image", ("quote",), None),
    ],
)
def test_a_model_is_asked_what_it_learned(wanted, trained, asked):
    found = c.nearest(c.CONDITIONS[wanted], trained)
    assert (found.name if found else None) == asked


def test_what_cannot_be_asked_is_refused():
    every = tuple(c.CONDITIONS)
    with pytest.raises(UserError, match="all are empty"):
        c.asked_of(every, " ", "", False, False, "speaker")
    with pytest.raises(UserError, match="red box, and the picture has none"):
        c.asked_of(every, "", "", True, False, "speaker")
    with pytest.raises(UserError, match=r"'listener/quote', only quote.*--perspectives"):
        c.asked_of(("quote",), "oh", "", False, False, "listener")


def form(question):
    """A question without what was put into its slots."""
    return tuple((piece.kind, "" if piece.kind == "slot" else piece.text) for piece in question)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Forms of all questions of all tasks, made by the training's own readers from one record and one VQA row."""
    import json

    import numpy as np

    from emo_face.core.types import Box
    from emo_face.datasets.contexts import llava_instruct, tasks
    from emo_face.datasets.contexts.face_targets import FaceTargets
    from emo_face.datasets.records import Record

    root = tmp_path_factory.mktemp("vqa")
    words = {"situation": "S.", "quote": "Q.", "listener_situation": "L.", "reaction": "Sad"}
    record = Record("a", "a.png", "caers7", ("Sad",), bbox_body=Box(1, 1, 5, 5), **words)
    targets = FaceTargets(
        "flame2020", "test", ("a",), np.zeros((1, 100), np.float32), np.zeros((1, 3)), np.zeros((1, 2))
    )
    made = tasks.build([record], root, targets)
    talk = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cup."}]
    silent = [{**talk[0], "value": "What?"}, talk[1]]
    rows = [{"id": 1, "image": "a.png", "conversations": talk}, {"id": 2, "conversations": silent}]
    (root / "vqa.json").write_text(json.dumps(rows))
    vqa, _ = llava_instruct.read(root / "vqa.json", root)
    examples = [*made.of("situation"), *made.of("expression"), *vqa]
    return {form(turn.question) for example in examples for turn in example.turns}


def test_no_backend_asks_what_no_task_trains(trained, of_family, monkeypatch):
    """Everything that the node, its services and ``emo-face say`` can ask, by the tokens' builder."""
    import itertools

    import numpy as np
    from tinyworld import PICTURE

    from emo_face.core.types import Box, Emotion, Person, Speech
    from emo_face.expression.contextface.backend import ContextFaceExpression, ContextFaceSettings
    from emo_face.expression.contextface.engine import Engine
    from emo_face.expression.contextface.talk import Conversation
    from emo_face.expression.model import Context, Scene, SeenPerson

    flat = np.full(7, 1 / 7)
    seen = SeenPerson(Person("p00001", 0.9, Box(9, 9, 40, 60)), Emotion("basic7", flat, flat > 1, 0.0, 0.0))
    world = of_family("llava")
    engine, asked = Engine(world.model.eval(), world.builder, world.eyes), []
    real = type(world.builder).prompt
    monkeypatch.setattr(type(world.builder), "prompt", lambda self, q, lead=(): asked.append(q) or real(self, q, lead))
    for perspective, words, image in itertools.product(("mirror", "listener"), ("", "oh dear"), (None, PICTURE)):
        speech = Speech(words, 10.0) if words else None
        context = Context(10.0, Scene(10.0, 120, 90, (seen,), image), seen, speech)
        ContextFaceExpression(engine, ContextFaceSettings(perspective)).express(context, 10.0)
    for perspective, quote, told, image in itertools.product(
        prompts.PERSPECTIVES, ("", "oh"), ("", "she waits"), (None, PICTURE)
    ):
        if quote or told or image is not None:
            engine.answer(quote, told, image, Box(1, 2, 30, 40), perspective)
    for question, quote, image, box in itertools.product(
        ("", "Why?"), ("", "oh"), (None, PICTURE), (None, Box(1, 2, 30, 40))
    ):
        if question or quote:
            list(engine.ask(question, quote, image, box, max_new_tokens=1))
    for image, box in ((None, None), (PICTURE, Box(1, 2, 30, 40))):
        scene = Conversation(engine, image, box)
        list(scene.tell("oh", max_new_tokens=1))
        list(map(scene.face, prompts.PERSPECTIVES))
        list(scene.ask("Why?", max_new_tokens=1))
    asked += (turn.question for turn in scene.turns)
    unknown = {prompts.plain(question) for question in asked if form(question) not in trained}
    assert not unknown
    assert {form(q) for q in asked} == trained, "and everything that is trained is asked by somebody"
