"""nodes/expression.py: scores and speech in, an expression out, with the real prototype backend."""

from __future__ import annotations

import array
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
from diagnostic_msgs.msg import DiagnosticArray
from emo_face_msgs.msg import Consent, EmotionScoresArray, FaceExpression
from emo_face_msgs.srv import GenerateExpression
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header, String
from std_srvs.srv import SetBool

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.install import how_to_install
from emo_face.core.labels import basic7
from emo_face.core.types import Box, Emotion, Face, Person
from emo_face.face.expressions.basis import FaceCode, open_basis
from emo_face.nodes.expression import ExpressionNode
from emo_face.ros import qos
from emo_face.ros.clock import seconds, stamp_message
from emo_face.ros.messages.convert import read_expression, scores_message


def scores(stamp: float, top: str | None, number: int = 1, height: float = 100.0) -> EmotionScoresArray:
    """One person (or nobody) with a clear emotion, right of the middle of a 640x480 image."""
    people, emotions = [], []
    if top is not None:
        labels = basic7()
        p = np.full(7, 0.02)
        p[labels.index(top)] = 0.88
        people = [Person(f"p{number:05d}", 0.9, Box(300, 100, 200, 380), Face(Box(400, 120, height, height), 0.9))]
        emotions = [Emotion("basic7", p, p > 0.5, 0.1, 0.2, {"face": 0.7}, 0.9)]
    header = Header(stamp=stamp_message(stamp), frame_id="camera")
    return scores_message(people, emotions, header=header, size=(640, 480), model="test", latency=0.01)


@pytest.fixture
def talking(graph: Any) -> Any:
    """(node, scores publisher, speech publisher, expressions heard)."""
    heard = graph.hear(FaceExpression, "face/expression", qos.reliable(20))
    node = graph.up(graph.start(ExpressionNode, diagnostics__period=0.1))
    return node, graph.talk(EmotionScoresArray, "emotion/scores"), graph.talk(String, "speech"), heard


def test_a_face_is_answered_with_its_stamp_and_a_deadline(graph: Any, talking: Any) -> None:
    _, out, _, heard = talking
    now = graph.now()
    out.publish(scores(now, "Happy"))
    got = graph.until(lambda: heard)[0]
    assert seconds(got.header.stamp) == pytest.approx(now, abs=1e-6)
    assert (got.header.frame_id, got.person_id, got.source) == ("camera", "p00001", "prototypes")
    assert (got.person_emotion, got.shown) == ("Happy", "Happy")
    target = read_expression(got)
    assert np.abs(target.keyframes[0].coefficients).max() > 0.1
    assert target.gaze[0] < 0  # the person is right of the middle, left is positive
    assert 0 < got.latency.nanosec < 500_000_000
    assert (got.valid_for.sec, got.valid_for.nanosec) == (1, 0)


def test_nobody_in_view_is_a_face_at_rest(graph: Any, talking: Any) -> None:
    _, out, _, heard = talking
    out.publish(scores(graph.now(), None))
    got = graph.until(lambda: heard)[0]
    assert (got.person_id, got.person_emotion, got.shown, got.intensity) == ("", "", "Neutral", 0.0)


def test_speech_changes_the_answer_of_a_listener(graph: Any, talking: Any) -> None:
    node, out, said, heard = talking
    out.publish(scores(graph.now(), "Sad"))
    silent = np.array(graph.until(lambda: heard)[0].keyframes[0].coefficients)
    said.publish(String(data="I miss my dog."))
    graph.until(lambda: node.health.counts().get("speech_in"))
    heard.clear()
    out.publish(scores(graph.now(), "Sad"))
    spoken = np.array(graph.until(lambda: heard)[0].keyframes[0].coefficients)
    assert np.abs(spoken - silent).max() > 0.01


def test_words_wait_for_consent(graph: Any, talking: Any) -> None:
    node, _, said, _ = talking
    gate = graph.talk(Consent, "perception/consent", qos.latched())
    gate.publish(Consent(mode="ask", granted=False))
    graph.until(lambda: not node._may_read)
    said.publish(String(data="I hate this!"))
    graph.until(lambda: node.health.counts().get("dropped.no_consent"))
    assert "speech_in" not in node.health.counts()
    gate.publish(Consent(mode="ask", granted=True))
    graph.until(lambda: node._may_read)
    said.publish(String(data="I hate this!"))
    graph.until(lambda: node.health.counts().get("speech_in"))


def test_perspective_changes_live_and_a_wrong_one_is_refused(graph: Any, talking: Any) -> None:
    _, out, _, heard = talking
    out.publish(scores(graph.now(), "Anger"))
    listener = np.array(graph.until(lambda: heard)[0].keyframes[0].coefficients)

    def set_perspective(value: str) -> Any:
        request = [Parameter("perspective", value=value).to_parameter_msg()]
        return graph.call(SetParameters, "/expression/set_parameters", parameters=request).results[0]

    refused = set_perspective("judge")
    assert not refused.successful
    assert "listener" in refused.reason
    assert set_perspective("mirror").successful
    heard.clear()
    out.publish(scores(graph.now(), "Anger"))
    mirror = graph.until(lambda: heard)[0]
    assert mirror.perspective == "mirror"
    assert np.abs(np.array(mirror.keyframes[0].coefficients) - listener).max() > 0.1


def test_a_mirror_copies_the_persons_own_face_where_it_is_measured(graph: Any) -> None:
    heard = graph.hear(FaceExpression, "face/expression", qos.reliable(20))
    graph.up(graph.start(ExpressionNode, perspective="mirror", intensity=1.0))
    out = graph.talk(EmotionScoresArray, "emotion/scores")
    msg = scores(graph.now(), "Happy")
    own = np.zeros(52, np.float32)
    own[ARKIT_INDEX["cheekPuff"]] = 1.0  # no prototype of happiness does this
    msg.people[0].arkit = array.array("f", own)
    out.publish(msg)
    got = read_expression(graph.until(lambda: heard)[0])
    face = open_basis().decode(FaceCode.of(got))
    assert face[ARKIT_INDEX["cheekPuff"]] > 0.7
    assert face[ARKIT_INDEX["mouthSmileLeft"]] < 0.2


def bad(field: str, value: Any) -> EmotionScoresArray:
    msg = scores(1.0, "Happy")
    setattr(msg.people[0], field, value)
    return msg


@pytest.mark.parametrize(
    ("msg", "says"),
    [
        (bad("label_set", "unknown7"), "unknown7"),
        (bad("probabilities", [0.5, 0.5]), "expected 7"),
        (bad("probabilities", [float("nan")] * 7), "expected values in"),
        (bad("probabilities", [9.0] * 7), "expected values in"),
    ],
)
def test_bad_scores_are_counted_and_named(graph: Any, talking: Any, msg: EmotionScoresArray, says: str) -> None:
    node, out, _, heard = talking
    status = graph.hear(DiagnosticArray, "/diagnostics")
    msg.header.stamp = stamp_message(graph.now())
    out.publish(msg)
    graph.until(lambda: node.health.counts().get("dropped.bad_scores"))
    graph.until(lambda: any(says in a.status[0].message for a in status))
    out.publish(scores(graph.now(), "Happy"))  # and it goes on
    graph.until(lambda: heard)


def test_stale_and_future_scores_are_not_answered(graph: Any, talking: Any) -> None:
    node, out, _, heard = talking
    out.publish(scores(graph.now() - 30, "Happy"))
    out.publish(scores(graph.now() + 30, "Happy"))
    graph.until(lambda: node._window.dropped >= 1)
    out.publish(scores(graph.now(), "Sad"))
    assert graph.until(lambda: heard)[0].person_emotion == "Sad"


def test_a_thousand_scores_a_second_never_queue(graph: Any, talking: Any) -> None:
    node, out, _, heard = talking
    for _ in range(1000):
        last = scores(graph.now(), "Happy")
        out.publish(last)
        graph.executor.spin_once(timeout_sec=0)
    graph.until(lambda: heard and heard[-1].header.stamp == last.header.stamp)
    assert "errors" not in node.health.counts()


def test_utterances_that_nobody_had_time_for_are_counted(graph: Any, talking: Any) -> None:
    node, _, speech, _ = talking
    assert node._worker.stop()  # as if an answer took for ever
    for number in range(40):
        speech.publish(String(data=f"line {number}"))
        graph.until(lambda n=number: node.health.counts().get("speech_in") == n + 1)
    assert node.health.counts()["speech_dropped"] == 40 - 32
    assert node._utterances[-1].text == "line 39"


def test_disabled_and_deactivated_it_is_silent(graph: Any, talking: Any) -> None:
    node, out, _, heard = talking
    assert graph.call(SetBool, "/expression/enable", data=False).success
    out.publish(scores(graph.now(), "Happy"))
    assert graph.call(SetBool, "/expression/enable", data=True).success
    out.publish(scores(graph.now(), "Sad"))
    graph.until(lambda: heard)
    assert [m.person_emotion for m in heard] == ["Sad"]
    assert node.trigger_deactivate().name == "SUCCESS"
    assert node.trigger_cleanup().name == "SUCCESS"
    graph.up(node)
    heard.clear()
    out.publish(scores(graph.now(), "Fear"))
    assert graph.until(lambda: heard)[0].person_emotion == "Fear"


def test_simulated_time_that_jumps_back_clears_the_window(graph: Any) -> None:
    heard = graph.hear(FaceExpression, "face/expression", qos.reliable(20))
    clock = graph.talk(Clock, "/clock", readers=0)
    node = graph.up(graph.start(ExpressionNode, use_sim_time=True))
    out = graph.talk(EmotionScoresArray, "emotion/scores")

    def at(time: float) -> None:
        def ticked() -> bool:
            clock.publish(Clock(clock=stamp_message(time)))
            return abs(node.clock.now() - time) < 1e-3

        graph.until(ticked)

    at(500.0)
    out.publish(scores(500.0, "Happy"))
    graph.until(lambda: heard)
    graph.helper.create_publisher(Clock, "/clock", 10)
    graph.until(lambda: node.count_publishers("/clock") == 2)
    at(20.0)
    heard.clear()
    out.publish(scores(20.0, "Sad"))
    got = graph.until(lambda: heard)[0]
    assert (got.person_emotion, got.header.stamp.sec) == ("Sad", 20)
    assert node.health.counts()["resets"] >= 1
    assert "publish /clock" in node.health.report("active", time.monotonic()).message, "the usual cause"


def generate(graph: Any, **fields: Any) -> Any:
    return graph.call(GenerateExpression, "/expression/generate", **fields)


def test_an_expression_on_request(graph: Any) -> None:
    node = graph.start(ExpressionNode)
    assert "not configured" in generate(graph, emotion="Happy").message
    graph.up(node)
    strong, weak = generate(graph, emotion="Happy", intensity=1.0), generate(graph, emotion="Happy", intensity=0.3)
    assert strong.success
    assert (strong.expression.shown, strong.expression.source) == ("Happy", "prototypes")
    assert seconds(strong.expression.header.stamp) == pytest.approx(graph.now(), abs=5)

    def smile(answer: Any) -> float:
        got = read_expression(answer.expression)
        face = open_basis().decode(FaceCode.of(got))
        return float(face[ARKIT_INDEX["mouthSmileLeft"]])

    assert smile(strong) > 0.5
    assert 0.05 < smile(weak) < 0.5 * smile(strong)
    assert generate(graph, emotion="Sad").expression.perspective == "listener"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "emotion, quote and situation are empty"),
        ({"emotion": "Hangry"}, "Hangry"),
        ({"emotion": "Happy", "perspective": "judge"}, "perspective: 'judge'"),
        ({"emotion": "Happy", "intensity": 2.0}, "intensity: 2.0"),
        ({"emotion": "Happy", "intensity": float("nan")}, "intensity: nan"),
    ],
)
def test_a_request_that_cannot_be_met_names_the_field(graph: Any, fields: dict[str, Any], says: str) -> None:
    graph.up(graph.start(ExpressionNode))
    answer = generate(graph, **fields)
    assert not answer.success
    assert says in answer.message


def test_words_are_answered_with_a_timed_face_by_the_default_tier(graph: Any) -> None:
    graph.up(graph.start(ExpressionNode))
    mine = generate(graph, quote="I am so furious with you!", perspective="mirror").expression
    assert mine.shown == "Anger"
    assert mine.words.text == "I am so furious with you!"
    assert len(mine.keyframes) == 4
    assert generate(graph, quote="I am so furious with you!", perspective="listener").expression.shown == "Concern"
    assert generate(graph, quote="The bus leaves at nine.", perspective="mirror").expression.shown == "Neutral"


@pytest.mark.parametrize(("model", "says"), [("", "contextface.model: is empty"), ("/nowhere", "/nowhere")])
def test_contextface_without_its_model_or_libraries_says_what_is_missing(graph: Any, model: str, says: str) -> None:
    node = graph.start(ExpressionNode, backend="contextface", contextface__model=model)
    assert node.trigger_configure().name == "FAILURE"
    report = node.health.report("", time.monotonic()).message
    assert says in report or how_to_install("full") in report
