"""The expression node with the full tier's backend: a tiny random ContextFace from files, live topics and services."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
pytest.importorskip("torch", reason="needs the full tier beside ROS")
pytest.importorskip("transformers")
pytest.importorskip("peft")


from emo_face_msgs.msg import Consent, EmotionScoresArray, FaceExpression
from emo_face_msgs.srv import AskContext, GenerateExpression
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from emo_face.core.errors import UserError
from emo_face.core.labels import basic7, label_set
from emo_face.core.types import Box, Emotion, Person
from emo_face.expression.contextface import checkpoint
from emo_face.expression.model import Context, Scene, SeenPerson
from emo_face.nodes.expression import ExpressionNode
from emo_face.nodes.generating import picture_of_person
from emo_face.ros import qos
from emo_face.ros.clock import stamp_message
from emo_face.ros.images.convert import image_message
from emo_face.ros.messages.convert import scores_message
from fixtures import tiny_contextface as source


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model whose card names its backbone."""
    from tinyworld import tiny

    root = tmp_path_factory.mktemp("contextface")
    tokenizer = source.tiny_tokenizer("llava")
    source.tiny_base("llava", tokenizer).save_pretrained(root / "backbone")
    tokenizer.save_pretrained(root / "backbone")
    source.tiny_image_processor("llava").save_pretrained(root / "backbone")
    return checkpoint.save_model(root / "model", tiny().model, str(root / "backbone"))


def scores(stamp: float) -> EmotionScoresArray:
    p = np.eye(7)[basic7().index("Happy")] * 0.9 + 0.1 / 7
    emotion = Emotion("basic7", p, p > 0.5, 0.1, 0.2, {"face": 0.7}, 0.9)
    person = Person("p00001", 0.9, Box(300, 100, 200, 380))
    header = Header(stamp=stamp_message(stamp), frame_id="camera")
    return scores_message([person], [emotion], header=header, size=(640, 480), model="test", latency=0.01)


def test_a_question_is_about_the_person_named_else_the_one_followed() -> None:
    one, two = (Person(f"p0000{n}", 0.9, Box(100.0 * n, 10, 50, 80)) for n in (1, 2))
    p = np.full(7, 1 / 7)
    people = tuple(SeenPerson(person, Emotion("basic7", p, p > 0.5, 0, 0, {}, 0.9)) for person in (one, two))
    half = np.zeros((240, 320, 3), np.uint8)
    context = Context(1.0, Scene(1.0, 640, 480, people, half), people[1])
    assert picture_of_person(context, "p00001") == (half, Box(50, 5, 25, 40))  # in pixels of the picture, half as wide
    assert picture_of_person(context, "")[1] == Box(100, 5, 25, 40)
    assert picture_of_person(Context(1.0, Scene(1.0, 640, 480, (), half)), "") == (half, None)
    assert picture_of_person(Context(1.0), "") == (None, None)
    with pytest.raises(UserError, match=r"'p00003' is not in view; there are p00001, p00002"):
        picture_of_person(context, "p00003")
    with pytest.raises(UserError, match="nobody is"):
        picture_of_person(Context(1.0), "p00003")


def test_words_and_a_picture_become_an_expression_and_services_answer(graph: Any, model: Path) -> None:
    heard = graph.hear(FaceExpression, "face/expression", qos.reliable(20))
    node = graph.up(graph.start(ExpressionNode, backend="contextface", contextface__model=str(model)))
    out, said = graph.talk(EmotionScoresArray, "emotion/scores"), graph.talk(String, "speech")
    image = graph.talk(Image, "image")
    shown: list[float] = []

    def seen() -> bool:
        if not shown or graph.now() - shown[-1] > 0.5:  # a loop without rest would keep the interpreter from torch
            shown.append(graph.now())
            now = scores(shown[-1])
            image.publish(image_message(np.full((480, 640, 3), 90, np.uint8), now.header))
            out.publish(now)
        graph.executor.spin_once(timeout_sec=0.05)
        return node._model.look.held is not None

    graph.until(seen, seconds=60)  # before the words, or they are answered as words from nowhere
    said.publish(String(data="We won the match <FACE>!"))
    graph.until(lambda: seen() and heard and "quote" in heard[-1].text, seconds=60)
    got = heard[-1]
    assert (got.source, got.basis, got.label_set) == ("contextface", "flame2020", "basic7")  # as the scores said
    assert got.shown in label_set("expressions").labels
    assert sum(got.probabilities) == pytest.approx(1.0, abs=1e-4)
    assert np.abs(np.array(got.keyframes[0].coefficients)).max() > 0
    assert got.text.startswith("Considering the quote, the person expresses ")
    assert got.latency.sec < 5

    forced = graph.call(
        GenerateExpression, "/expression/generate", quote="oh no", emotion="Fear", intensity=0.5, perspective="mirror"
    )
    assert forced.success, forced.message
    assert (forced.expression.shown, forced.expression.perspective) == ("Fear", "mirror")
    wrong = graph.call(GenerateExpression, "/expression/generate", quote="oh no", emotion="Hunger")
    assert not wrong.success
    assert "expected one of Angry" in wrong.message
    words = graph.call(AskContext, "/expression/ask", quote="oh no")
    assert words.success, words.message
    asked, answer = [], node._model.engine.ask
    node._model.engine.ask = lambda *given: asked.append(given) or answer(*given)

    def in_view() -> bool:
        seen()
        scene = node._current_context().scene
        return scene is not None and bool(scene.people)

    shown.clear()
    graph.until(in_view, seconds=60)
    assert graph.call(AskContext, "/expression/ask", quote="oh no", person_id="p00001").success
    _, _, picture, box, _ = asked[-1]
    assert picture.shape == (480, 640, 3)
    assert box == Box(300, 100, 200, 380)
    graph.until(in_view, seconds=60)  # the answer took its time
    nobody = graph.call(AskContext, "/expression/ask", quote="oh no", person_id="p00009")
    assert not nobody.success
    assert "person_id: 'p00009' is not in view; there are p00001" in nobody.message
    empty = graph.call(AskContext, "/expression/ask")
    assert not empty.success
    gate = graph.talk(Consent, "perception/consent", qos.latched())
    assert node._look() is not None
    gate.publish(Consent(mode="ask", granted=False))
    graph.until(lambda: not node._may_read)
    shown.clear()
    seen()
    assert node._look() is None  # no picture without a yes
