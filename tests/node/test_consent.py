"""The consent gate, seen by a listener: nothing about anybody before a yes, nothing after a no."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
from emo_face_msgs.msg import Consent, EmotionScoresArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from emo_face.nodes.perception import PerceptionNode
from emo_face.ros import qos
from emo_face.ros.clock import stamp_message
from emo_face.ros.images.convert import image_message
from emo_face.runtime.samples import portrait


@pytest.fixture(autouse=True)
def models(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMO_FACE_MODELS", str(assets))


class Gate:
    """A perception node that is shown a portrait, and what it says."""

    def __init__(self, graph, mode):
        self.graph = graph
        self.scores = graph.hear(EmotionScoresArray, "emotion/scores")
        self.debug = graph.hear(Image, "perception/debug_image", qos.sensor())
        self.told = graph.hear(Consent, "perception/consent", qos.latched())
        self.node = graph.up(graph.start(PerceptionNode, consent=mode, image_reliability="best_effort"))
        self.images, self.word = graph.talk(Image, "image"), graph.talk(Consent, "consent", qos.latched())
        self.picture = cv2.resize(cv2.imread(str(portrait())), (320, 320))

    def show(self, times=3):
        count = self.node.health.counts
        for _ in range(times):
            before = count().get("frames_processed", 0) + count().get("frames_dropped", 0)
            header = Header(stamp=stamp_message(self.graph.now()), frame_id="camera")
            self.images.publish(image_message(np.ascontiguousarray(self.picture), header))
            self.graph.until(lambda b=before: count().get("frames_processed", 0) + count().get("frames_dropped", 0) > b)

    def say(self, **fields):
        n = len(self.told)
        self.word.publish(Consent(**{"pictures": True, "words": True, **fields}))
        self.graph.until(lambda: len(self.told) > n)


def test_nobody_is_read_before_a_yes_and_after_a_no(graph):
    gate = Gate(graph, "ask")
    gate.show()
    assert gate.scores == []
    assert gate.node.health.counts()["dropped.no_consent"] >= 3
    gate.say(granted=True, by="test")
    gate.show()
    graph.until(lambda: any(msg.people for msg in gate.scores))
    gate.say(granted=False, by="test")
    heard = len(gate.scores)
    gate.show()
    assert len(gate.scores) == heard
    assert [(msg.mode, msg.granted) for msg in gate.told] == [("ask", False), ("ask", True), ("ask", False)]


def test_without_pictures_scores_go_on_alone(graph):
    gate = Gate(graph, "off")
    gate.show()
    graph.until(lambda: gate.debug)
    gate.say(pictures=False)
    gate.show(1)
    shown, heard = len(gate.debug), len(gate.scores)
    gate.show()
    graph.until(lambda: len(gate.scores) >= heard + 3)
    assert len(gate.debug) == shown


def test_a_latecomer_knows_what_is_in_force(graph):
    Gate(graph, "notice")
    later = graph.hear(Consent, "perception/consent", qos.latched())
    graph.until(lambda: later)
    assert (later[0].mode, later[0].pictures, later[0].words) == ("notice", True, True)


def test_an_unknown_mode_is_counted_and_changes_nothing(graph):
    gate = Gate(graph, "ask")
    gate.word.publish(Consent(mode="maybe", granted=True))
    graph.until(lambda: gate.node.health.counts().get("dropped.consent", 0) == 1)
    gate.show()
    assert gate.scores == []
