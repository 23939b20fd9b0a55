"""A face driver under test, and expressions for it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from emo_face_msgs.msg import FaceExpression
from sensor_msgs.msg import JointState

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.labels import basic7
from emo_face.core.types import Emotion, ExpressionTarget
from emo_face.expression.prototypes import held
from emo_face.expression.shown import shown_of
from emo_face.face.expressions.basis import open_basis
from emo_face.face.expressions.facs import default_facs
from emo_face.nodes.face_driver import FaceDriverNode
from emo_face.ros import qos
from emo_face.ros.messages.convert import expression_message

SMILE = ARKIT_INDEX["mouthSmileLeft"]
STILL = {f"layers__{name}": False for name in ("blink", "saccades", "breathing", "lips")}


def expression(stamp: float, emotion: str = "Happy", valid_for: float = 1.0, **changes: Any) -> FaceExpression:
    msg = expression_message(target_of(stamp, emotion, valid_for), frame_id="camera", latency=0.0)
    for name, value in changes.items():
        setattr(msg, name, value)
    return msg


def target_of(stamp: float, emotion: str = "Happy", valid_for: float = 1.0) -> ExpressionTarget:
    """A full mirrored ``emotion`` of basic7."""
    code = open_basis().encode(default_facs().arkit({emotion: 1.0}))
    p = np.array([float(label == emotion) for label in basic7().labels])
    feels = Emotion("basic7", p, p > 0.5, *basic7().circumplex(p), quality=1.0)
    return ExpressionTarget(
        stamp=stamp,
        person_id="p00001",
        perspective="mirror",
        feels=feels,
        shown=shown_of({emotion: 1.0}),
        keyframes=(held(code),),
        basis="open-ict-1",
        gaze=np.zeros(2),
        confidence=1.0,
        valid_for=valid_for,
        source="test",
    )


class Face:
    """What is seen of the face."""

    def __init__(self, graph: Any, **params: Any) -> None:
        self.graph = graph
        self.states = graph.hear(JointState, "face/blendshapes", qos.reliable(50))
        self.status = graph.hear(DiagnosticArray, "/diagnostics")
        defaults = {"screen__enabled": False, "diagnostics__period": 0.1, "neutral_time": 0.2, **STILL}
        self.node = graph.up(graph.start(FaceDriverNode, **{**defaults, **params}))
        # the end of a test need not be graceful
        graph.at_end.append(lambda: self.node.face and self.node.face.player.estop(True, time.monotonic()))
        self.out = graph.talk(FaceExpression, "face/expression")
        graph.until(lambda: self.states)

    def smile(self) -> float:
        return float(self.states[-1].position[SMILE])

    def show(self, **kwargs: Any) -> None:
        self.out.publish(expression(self.graph.now(), **kwargs))

    def smiling(self) -> bool:
        """Keeps asking for a smile; true once it is there."""
        self.show()
        return self.smile() > 0.5

    def values(self) -> dict[str, str]:
        """What the newest diagnostic says, by key."""
        return {v.key: v.value for v in self.status[-1].status[0].values} if self.status else {}

    def complaint(self, text: str) -> Any:
        def find() -> Any:
            return next((a.status[0] for a in self.status if text in a.status[0].message), None)

        return self.graph.until(find, why=f"no diagnostic with {text!r}")
