"""ROS4HRI (REP-155) outputs, where hri_msgs is installed and ``ros4hri.enabled`` is set.

``/humans/{faces,bodies}/tracked``, ``.../<id>/roi`` and ``/humans/faces/<id>/expression``, stamped as the source image.
Face and body of one person have the person's number with ``f`` and ``b`` in front: ids as stable as ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emo_face.core.errors import ConfigError
from emo_face.core.labels import top_of
from emo_face.core.types import Box, Emotion, ExpressionTarget, Person
from emo_face.ros import qos
from emo_face.ros.clock import stamp_message

# hri_msgs/Expression has no constant for contempt or the other labels: they are left empty, valence and arousal speak
EXPRESSIONS = {
    "Anger": "angry",
    "Disgust": "disgusted",
    "Fear": "scared",
    "Happy": "happy",
    "Sad": "sad",
    "Surprise": "surprised",
    "Neutral": "neutral",
    "Doubt": "skeptical",
    "Embarrassment": "embarrassed",
    "Fatigue": "tired",
}

GRACE = 5.0
"""Seconds that the topics of somebody who left are kept: someone who comes back finds readers still connected."""


class HumansPublisher:
    """Publishes people as ROS4HRI does. Call :meth:`publish` and :meth:`clear` on the executor only.

    Topics of one person are made and destroyed while the executor runs, which rclpy allows from its own thread alone.

    Raises:
        ConfigError: hri_msgs is not installed.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        self._msgs = _messages()
        self._profile = qos.reliable()
        self._topics: dict[str, Any] = {}
        self._seen: dict[str, float] = {}
        self._tracked = {
            kind: node.create_publisher(self._msgs.IdsList, f"/humans/{kind}/tracked", self._profile)
            for kind in ("faces", "bodies")
        }

    def publish(
        self, people: Sequence[Person], emotions: Sequence[Emotion], header: Any, size: tuple[int, int], now: float
    ) -> None:
        """Publish one frame's people; ``size`` = (width, height) in pixels, ``now`` in steady seconds."""
        ids: dict[str, list[str]] = {"faces": [], "bodies": []}
        for person, emotion in zip(people, emotions, strict=True):
            number = person.person_id[1:]
            if person.face is not None:
                ids["faces"].append(f"f{number}")
                self._roi("faces", f"f{number}", person.face.box, person.face.score, header, size, now)
                if top_of(emotion):  # no evidence, no expression
                    self._send("faces", f"f{number}", "expression", self._expression(emotion, header), now)
            if person.body is not None:
                ids["bodies"].append(f"b{number}")
                self._roi("bodies", f"b{number}", person.body, person.score, header, size, now)
        for kind, names in ids.items():
            self._tracked[kind].publish(self._msgs.IdsList(header=header, ids=names))
        self._forget(now)

    def _roi(
        self, kind: str, name: str, box: Box, score: float, header: Any, size: tuple[int, int], now: float
    ) -> None:
        low, high = (
            np.clip([box.x / size[0], box.y / size[1]], 0, 1),
            np.clip([box.right / size[0], box.bottom / size[1]], 0, 1),
        )
        roi = self._msgs.NormalizedRegionOfInterest2D(
            header=header,
            xmin=float(low[0]),
            ymin=float(low[1]),
            xmax=float(high[0]),
            ymax=float(high[1]),
            c=float(np.clip(score, 0, 1)),
        )
        self._send(kind, name, "roi", roi, now)

    def _expression(self, emotion: Emotion, header: Any) -> Any:
        top = top_of(emotion)
        return self._msgs.Expression(
            header=header,
            expression=EXPRESSIONS.get(top, ""),
            valence=float(emotion.valence),
            arousal=float(emotion.arousal),
            confidence=float(np.clip(np.max(emotion.probabilities), 0, 1)),
        )

    def _send(self, kind: str, name: str, what: str, msg: Any, now: float) -> None:
        topic = f"/humans/{kind}/{name}/{what}"
        if topic not in self._topics:
            self._topics[topic] = self._node.create_publisher(type(msg), topic, self._profile)
        self._seen[topic] = now
        self._topics[topic].publish(msg)

    def _forget(self, now: float) -> None:
        for topic in [t for t, seen in self._seen.items() if now - seen > GRACE]:
            self._node.destroy_publisher(self._topics.pop(topic))
            del self._seen[topic]

    def clear(self) -> None:
        """Destroy the topics of all people."""
        self._forget(float("inf"))


class RobotFacePublisher:
    """Publishes targets as ``/robot_face/expression`` for faces that know ``hri_msgs/Expression``.

    Raises:
        ConfigError: hri_msgs is not installed.
    """

    def __init__(self, node: Any) -> None:
        self._msgs = _messages()
        self._out = node.publisher(self._msgs.Expression, "/robot_face/expression", qos.reliable())

    def publish(self, target: ExpressionTarget) -> None:
        """Send what the face shows: label, valence, arousal, and how strongly as the confidence."""
        shown = target.shown
        msg = self._msgs.Expression(
            expression=EXPRESSIONS.get(shown.name, ""),
            valence=float(shown.valence),
            arousal=float(shown.arousal),
            confidence=float(np.clip(target.confidence, 0, 1)),
        )
        msg.header.stamp = stamp_message(target.stamp)
        self._out.publish(msg)


def _messages() -> Any:
    try:
        import hri_msgs.msg
    except ImportError:
        raise ConfigError(
            "ros4hri.enabled needs hri_msgs: sudo apt-get install ros-$ROS_DISTRO-hri-msgs, or set it to false"
        ) from None
    return hri_msgs.msg
