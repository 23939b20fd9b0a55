"""What else moves the face: where to look, lip motion while the robot speaks, and ROS4HRI's own expression topic."""

import math
import time
from functools import cache
from typing import Any

import numpy as np
from emo_face_msgs.msg import Consent, Visemes
from numpy.typing import NDArray
from std_msgs.msg import Float32, String

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.labels import basic7
from emo_face.core.paths import data_file
from emo_face.face.expressions.facs import default_facs, read_table
from emo_face.face.motion.data import motion_data
from emo_face.face.motion.lips import track_of
from emo_face.face.motion.player import FacePlayer
from emo_face.nodes.face.look_at import LookAt
from emo_face.nodes.face.node import FaceNode
from emo_face.nodes.hri.installed import hri_messages
from emo_face.ros import qos
from emo_face.ros.clock import seconds

MOST_WAIT = 60.0
"""Seconds ahead of its sound that a track may come."""
READ, ASKED = "I read faces and words here", "I read nobody until you agree"
"""Notices on the screen (Regulation (EU) 2024/1689, Article 50(3): people exposed to it are told)."""
VISEMES = " ".join(motion_data().visemes)


@cache
def hri_faces() -> dict[str, NDArray[np.float64]]:
    """Label of ROS4HRI -> (52,) ARKit face, from ``data/hri_expressions.yaml``."""
    facs, faces = default_facs(), {}
    table: dict[str, Any] = read_table(data_file("hri_expressions.yaml"))
    for label, (intensity, mixture) in table.items():
        face = facs.arkit({name: share for name, share in mixture.items() if name in facs.expressions}, intensity)
        for channel in mixture.keys() - set(facs.expressions):
            for side in ("Left", "Right"):
                face[ARKIT_INDEX[channel + side]] = mixture[channel]
        faces[label] = np.asarray(face, np.float64)
    return faces


class FaceInputs:
    """Subscribes to the driver's further inputs."""

    def __init__(self, node: FaceNode) -> None:
        self._node = node
        node.subscription(String, "face/viseme", self._viseme, qos.reliable(10))
        node.subscription(Visemes, "face/visemes", self._say, qos.reliable(10))
        node.subscription(Float32, "face/voice_level", self._level, qos.sensor())
        node.subscription(Consent, "perception/consent", self._consent, qos.latched())
        shown = node.params["robot_face.enabled"]
        LookAt(node, "look_at", *(["/robot_face/look_at"] if shown else []))
        if shown:
            # the names that ROS4HRI's faces have; absolute, as there
            node.subscription(
                hri_messages("robot_face.enabled").Expression, "/robot_face/expression", self._express, qos.reliable()
            )
            node.subscription(Visemes, "/tts/visemes", self._say, qos.reliable(10))

    def _consent(self, msg: Consent) -> None:
        """What the screen tells people about being read; mode ``off`` tells nothing."""
        asks = msg.mode == Consent.MODE_ASK
        reads = msg.mode == Consent.MODE_NOTICE or (asks and msg.granted)
        self._node.notice = READ if reads else ASKED if asks else ""

    def _ready(self) -> FacePlayer | None:
        face = self._node.face
        return face.player if face is not None and self._node.running else None

    def _viseme(self, msg: String) -> None:
        player = self._ready()
        if player is not None and not player.viseme(msg.data, time.monotonic()):
            self._node.drop("viseme", f"viseme not used: expected one of {VISEMES}")

    def _say(self, msg: Visemes) -> None:
        """Timed mouth shapes: their start is in the ROS clock, the lips move by the steady one."""
        player = self._ready()
        if player is None:
            return
        now, start = self._node.clock.now(), seconds(msg.start)
        wait = start - now if start > 0 else 0.0
        if not -msg.duration <= wait <= MOST_WAIT:
            text = f"starts {wait:.1f} s from now and lasts {msg.duration:.1f} s; check the clocks of voice and face"
            self._node.drop("visemes_late", f"visemes not used: {text}")
            return
        try:
            track = track_of(time.monotonic() + wait, msg.names, msg.offsets, msg.weights, msg.duration)
        except ValueError as error:
            self._node.drop("visemes", f"visemes not used: {error}")
            return
        if not player.say(track):
            self._node.drop("visemes", f"visemes not used: names: expected some of {VISEMES}")

    def _level(self, msg: Float32) -> None:
        player = self._ready()
        if player is not None and not player.envelope(float(msg.data), time.monotonic()):
            self._node.drop("voice_level", "voice level not used: expected a number from 0 to 1")

    def _express(self, msg: Any) -> None:
        player = self._ready()
        if player is None:
            return
        face = face_of(msg.expression, msg.valence, msg.arousal)
        if face is None:
            text = "expected one of " + ", ".join(hri_faces()) + ", or valence and arousal in [-1, 1]"
            self._node.drop("robot_face", f"/robot_face/expression not used: {text}")
            return
        if not player.play(face, self._node.params["robot_face.hold"] or math.inf, time.monotonic()):
            why = "emergency stop, ~/neutral or the tuning page has the face"
            self._node.drop("robot_face", f"/robot_face/expression not shown: {why}")


def face_of(label: str, valence: float, arousal: float) -> NDArray[np.float64] | None:
    """(52,) ARKit face of an ``hri_msgs/Expression``: its label or, where that is empty or unknown, the circumplex.

    The expression nearest in direction of (valence, arousal) is shown as strongly as the vector is long against the
    expression's own. None if neither says anything.
    """
    if label.lower() in hri_faces():
        return hri_faces()[label.lower()].copy()
    if not (math.isfinite(valence) and math.isfinite(arousal)) or max(abs(valence), abs(arousal)) > 1:
        return None
    length = math.hypot(valence, arousal)
    if length == 0:
        return None if label else np.zeros(52)
    labels = basic7()
    points = {
        n: (v, a) for n, v, a in zip(labels.labels, labels.valence, labels.arousal, strict=True) if (v, a) != (0, 0)
    }
    near = max(points, key=lambda n: (valence * points[n][0] + arousal * points[n][1]) / math.hypot(*points[n]))
    return np.asarray(default_facs().arkit({near: 1.0}, min(1.0, length / math.hypot(*points[near]))), np.float64)
