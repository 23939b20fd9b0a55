"""What the robot's face shows, for faces that know ``hri_msgs/Expression``."""

from typing import Any

import numpy as np

from emo_face.core.types import ExpressionTarget
from emo_face.nodes.hri.expressions import EXPRESSIONS
from emo_face.nodes.hri.installed import hri_messages
from emo_face.ros import qos
from emo_face.ros.clock import stamp_message


class RobotFacePublisher:
    """Publishes targets as ``/robot_face/expression``.

    Raises:
        ConfigError: hri_msgs is not installed.
    """

    def __init__(self, node: Any) -> None:
        self._msgs = hri_messages("ros4hri.enabled")
        self._out = node.publisher(self._msgs.Expression, "/robot_face/expression", qos.reliable())

    def publish(self, target: ExpressionTarget) -> None:
        """Send what the face shows: its label if ROS4HRI has one, valence and arousal; at rest it is ``neutral``."""
        shown = target.shown
        msg = self._msgs.Expression(
            expression=EXPRESSIONS.get(shown.name, ""),
            valence=float(shown.valence),
            arousal=float(shown.arousal),
            confidence=float(np.clip(target.confidence, 0, 1)),
        )
        msg.header.stamp = stamp_message(target.stamp)
        self._out.publish(msg)
