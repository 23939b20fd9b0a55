"""The perception node with a tiny real multi-view model: true architecture, random weights, questions over ROS."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emo_face_msgs", reason="needs the built messages")
torch = pytest.importorskip("torch", reason="needs the extra full")
pytest.importorskip("transformers", reason="needs the extra full")

from emo_face_msgs.msg import EmotionScoresArray
from emo_face_msgs.srv import AskEmotion
from rclpy.executors import MultiThreadedExecutor
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from emo_face.core.errors import ModelError
from emo_face.nodes.backends import asker
from emo_face.nodes.perception import PerceptionNode
from emo_face.perception.multiview import ask, checkpoint, head_file
from emo_face.perception.multiview.config import EncoderConfig, FusionConfig
from emo_face.perception.multiview.encoders.instructblip import MultiViewEncoder
from emo_face.perception.multiview.encoders.tiny import tiny_base
from emo_face.perception.multiview.fingerprint import fingerprint
from emo_face.perception.multiview.fusion_head import FusionHead
from emo_face.ros.clock import stamp_message
from emo_face.ros.images.convert import image_message
from emo_face.runtime.engines.select import Engines
from fixtures.tiny_encoders import word_tokenizer

QUESTION = "why does the person feel so"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``base``, ``stage1`` and ``model`` as training leaves them; Stage 1 changed the projections."""
    root = tmp_path_factory.mktemp("multiview")
    tokenizer = word_tokenizer([*QUESTION.split(), *(f"word{i}" for i in range(48))])
    base = tiny_base(vocabulary=len(tokenizer) + 1)
    base.save_pretrained(root / "base")
    tokenizer.save_pretrained(root / "base")
    encoder = MultiViewEncoder(base, EncoderConfig(image_size=28, instruction_ids=(4, 5))).eval()
    with torch.no_grad():
        for projection in encoder.projections.parameters():
            projection.add_(torch.randn(projection.shape, generator=torch.Generator().manual_seed(5)))
    for name in ("stage1", "model"):
        checkpoint.save_encoder(root / name, encoder)
    torch.manual_seed(1)
    fusion = FusionConfig("emotic26", in_features=encoder.feature_size, width=16, vad=True)
    known = fingerprint(root / "model", root / "base")
    card = head_file.HeadCard(fusion, np.full(26, 0.5), np.ones(26), np.zeros(26), known)
    head_file.save(root / "model", FusionHead(fusion), card)
    return root


class Asked:
    """A perception node on the executor that its process would use, spun in a thread."""

    def __init__(self, graph: Any, folders: Path, **more: Any) -> None:
        self.graph = graph
        self.scores = graph.hear(EmotionScoresArray, "emotion/scores")
        given = {"multiview__folder": str(folders / "model"), "multiview__base": str(folders / "base")}
        self.node = graph.start(
            PerceptionNode,
            tier="full",
            image_reliability="best_effort",
            multiview__ask=True,
            multiview__max_tokens=12,
            **{**given, **more},
        )
        graph.executor.remove_node(self.node)
        graph.up(self.node)
        executor = MultiThreadedExecutor(self.node.threads, context=graph.context)
        executor.add_node(self.node)
        thread = threading.Thread(target=executor.spin, daemon=True)
        thread.start()
        graph.at_end.extend([executor.shutdown, thread.join])
        self.out = graph.talk(Image, "image", 1)
        self.client = graph.helper.create_client(AskEmotion, "/perception/ask")
        graph.until(self.client.service_is_ready, why="no ~/ask")

    def show(self, picture: np.ndarray) -> None:
        before = len(self.scores)
        self.out.publish(image_message(picture, Header(stamp=stamp_message(self.graph.now()), frame_id="camera")))
        self.graph.until(lambda: len(self.scores) > before, 30, why="no scores")

    def ask(self, **fields: Any) -> Any:
        return self.client.call_async(AskEmotion.Request(**{"question": QUESTION, **fields}))

    def answer(self, **fields: Any) -> Any:
        future = self.ask(**fields)
        self.graph.until(future.done, 30, why="no answer")
        return future.result()


@pytest.fixture
def pilots(assets: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Three people."""
    monkeypatch.setenv("EMO_FACE_MODELS", str(assets))
    return cv2.resize(cv2.imread(str(assets / "images" / "people" / "apollo11_pilots.jpg")), (640, 480))


def test_answers_are_the_models_own_and_hold_nothing_up(
    graph: Any, folders: Path, pilots: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(graph, folders, multiview__stage1=str(folders / "stage1"))
    assert "nobody" in asked.answer().message
    for _ in range(3):
        asked.show(pilots)
    last = asked.scores[-1]
    assert (last.model, last.people[0].label_set, len(last.people)) == ("multiview", "emotic26", 3)
    assert (
        asked.node._asker.vlm.encoder is asked.node._pipeline.emotion._encoder._engine._module.encoder
    )  # in memory once
    look = asked.node._look
    chosen = look.people[1]
    found = asked.answer(person_id=chosen.person_id)
    assert found.success, found.message
    others = [person for person in look.people if person is not chosen]
    tuned = ask.load(folders / "base", folders / "stage1")
    expected = "".join(tuned.ask(look.frame, chosen, QUESTION, others, 12)).strip()
    assert found.answer == expected
    assert 0 < len(found.answer.split()) <= 12
    plain = "".join(ask.load(folders / "base").ask(look.frame, chosen, QUESTION, others, 12)).strip()
    assert plain != expected

    # the real model, held back after its first words: pictures go on, and a clean-up does not wait for the rest
    first, go_on = threading.Event(), threading.Event()
    original = asked.node._asker.ask

    def slow(*args: Any) -> Any:
        for piece in original(*args):
            yield piece
            first.set()
            go_on.wait(30)

    monkeypatch.setattr(asked.node._asker, "ask", slow)
    future = asked.ask()
    graph.until(first.is_set, 30, why="no first word")
    for _ in range(3):
        asked.show(pilots)
    assert not future.done()
    asked.node.trigger_deactivate()
    asked.node.trigger_cleanup()
    go_on.set()
    graph.until(future.done, 30, why="no answer")
    assert not future.result().success
    assert "cleaned up" in future.result().message


def test_published_valence_is_the_heads(graph: Any, folders: Path, pilots: np.ndarray) -> None:
    """A still picture: the filter has settled, so what is published is what the head says."""
    asked = Asked(graph, folders)
    for _ in range(4):
        asked.show(pilots)
    look = asked.node._look
    own = {
        person.person_id: emotion
        for person, emotion in zip(
            look.people, asked.node._pipeline.emotion.estimate(look.frame, look.people, {}, 0.0), strict=True
        )
    }
    for score in asked.scores[-1].people:
        emotion = own[score.person_id]
        assert (score.valence, score.arousal) == pytest.approx((emotion.valence, emotion.arousal), abs=5e-3)
        np.testing.assert_allclose(score.probabilities, emotion.probabilities, atol=5e-3)


def test_folders_that_do_not_fit_are_named(folders: Path, tmp_path: Path) -> None:
    values = {"multiview.base": str(folders / "base")}
    with pytest.raises(ModelError, match=r"encoder\.json"):
        asker({**values, "multiview.stage1": str(tmp_path)}, Engines("cpu"))
