"""``~/ask`` answers about the right person and says why it cannot; the model here only tells its input."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emo_face_msgs", reason="needs the built messages")

from action_msgs.msg import GoalStatus
from emo_face_msgs.action import Ask
from emo_face_msgs.srv import AskEmotion
from rclpy.action import ActionClient
from rclpy.executors import MultiThreadedExecutor

from emo_face.core.errors import UserError
from emo_face.core.types import Box, Person
from emo_face.nodes.asking import PerceivedFrame, serve_questions


class Telling:
    def ask(self, frame, person, question, others=(), max_new_tokens=128):
        if not question.strip():
            raise UserError("question: is empty")
        if question == "fail":
            raise RuntimeError("out of memory")
        yield f"{person.person_id}: "
        yield f"{question} ({len(others)} others)"


@pytest.fixture
def asking(graph):
    """Call the service of a helper node that looks at ``state``."""
    node = graph.helper
    node.drops = []
    node.drop = lambda reason, text: node.drops.append(reason)
    state = {"model": Telling(), "look": None}
    serve_questions(node, lambda: state["model"], lambda: state["look"])
    client = node.create_client(AskEmotion, "~/ask")

    def call(question, person_id=""):
        future = client.call_async(AskEmotion.Request(person_id=person_id, question=question))
        graph.until(future.done)
        return future.result()

    return state, call, node


def test_questions(asking):
    state, call, node = asking
    assert "nobody" in call("Why?").message
    near, far = Person("p2", 1.0, Box(0, 0, 90, 200)), Person("p1", 1.0, Box(0, 0, 20, 40))
    state["look"] = PerceivedFrame(np.zeros((240, 320, 3), np.uint8), (far, near))
    found = call("Why?")
    assert found.success
    assert found.answer == "p2: Why? (1 others)"  # the largest, when nobody is named
    assert found.latency.sec == 0
    assert call("Why?", "p1").answer.startswith("p1")
    assert "p9" in call("Why?", "p9").message
    assert not call("  ").success
    failed = call("fail")
    assert not failed.success
    assert "RuntimeError" in failed.message
    assert node.drops == ["ask_failed"]
    state["model"] = None
    assert "multiview" in call("Why?").message


class Slow:
    """Says one piece, waits until it may go on, says the rest."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def ask(self, frame: Any, person: Person, question: str, others: Any = (), max_new_tokens: int = 128) -> Any:
        yield "The person "
        assert self.go_on.wait(60)
        yield f"feels happy: {question}"


@pytest.fixture
def streaming(graph: Any) -> Iterator[Any]:
    """(model, ``send(question)`` -> goal handle, ``until``, what was fed back) beside a node on threads as ours has."""
    from rclpy import create_node

    node: Any = create_node("speaker", context=graph.context)
    model, person = Slow(), Person("p1", 1.0, Box(0, 0, 20, 40))
    serve_questions(node, lambda: model, lambda: PerceivedFrame(np.zeros((240, 320, 3), np.uint8), (person,)))
    executor = MultiThreadedExecutor(node.threads, context=graph.context)
    executor.add_node(node)
    client = ActionClient(graph.helper, Ask, "/speaker/ask")
    heard: list[str] = []

    def until(done: Any) -> Any:
        return graph.until(lambda: executor.spin_once(0.01) or done())

    until(client.server_is_ready)

    def send(question: str, person_id: str = "") -> Any:
        heard.clear()
        goal = Ask.Goal(question=question, person_id=person_id)
        sent = client.send_goal_async(goal, lambda message: heard.append(message.feedback.piece))
        until(sent.done)
        return sent.result()

    yield model, send, until, heard
    model.go_on.set()
    client.destroy()
    executor.shutdown()
    node.destroy_node()


def test_an_answer_streams_one_goal_at_a_time_and_can_be_cancelled(streaming: Any) -> None:
    model, send, until, heard = streaming
    goal = send("Why?")
    assert goal.accepted
    until(lambda: heard == ["The person "])  # long before the answer is whole
    assert not send("And now?").accepted, "one at a time"
    model.go_on.set()
    ended = goal.get_result_async()
    until(ended.done)
    status, result = ended.result().status, ended.result().result
    assert (status, result.success, result.emotion) == (GoalStatus.STATUS_SUCCEEDED, True, "Happy")
    assert result.answer == "The person feels happy: Why?"

    wrong = send("Why?", "p9").get_result_async()
    until(wrong.done)
    assert wrong.result().status == GoalStatus.STATUS_ABORTED
    assert "'p9' is not in view; there are p1" in wrong.result().result.message

    unasked = send("").get_result_async()
    until(unasked.done)
    assert "Describe the situation" in unasked.result().result.answer

    model.go_on.clear()
    goal = send("Why?")
    until(lambda: heard)
    cancelled = goal.cancel_goal_async()
    until(cancelled.done)
    model.go_on.set()
    ended = goal.get_result_async()
    until(ended.done)
    assert ended.result().status == GoalStatus.STATUS_CANCELED
    assert ended.result().result.answer == ""
