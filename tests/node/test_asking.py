"""``~/ask`` answers about the right person and says why it cannot; the model here only tells its input."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emo_face_msgs", reason="needs the built messages")

from emo_face_msgs.srv import AskEmotion

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
