"""A program that listens as libhri 2.3 does (hri/src/hri/*.cpp: topics, QoS), and prints what it sees as JSON lines.

Faces, bodies, voices and persons are opened when they come onto their list and closed when they leave it.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from typing import Any

import numpy as np
import rclpy
from hri_msgs.msg import (
    EngagementLevel,
    Expression,
    FacialActionUnits,
    FacialLandmarks,
    IdsList,
    IdsMatch,
    LiveSpeech,
    NormalizedRegionOfInterest2D,
    Skeleton2D,
    SoftBiometrics,
)
from rclpy.executors import ExternalShutdownException
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_system_default
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, Float32, String
from tf2_msgs.msg import TFMessage

DEFAULT = qos_profile_system_default
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# what libhri opens (face.cpp, body.cpp, voice.cpp, person.cpp, each constructor), and below faces the expression, which
# it does not; persons are opened from the tracked list alone, libhri opens those of the known one beside
BELOW: dict[str, dict[str, tuple[Any, Any]]] = {
    "faces": {
        "roi": (NormalizedRegionOfInterest2D, DEFAULT),
        "cropped": (Image, DEFAULT),
        "aligned": (Image, DEFAULT),
        "landmarks": (FacialLandmarks, DEFAULT),
        "softbiometrics": (SoftBiometrics, DEFAULT),
        "facs": (FacialActionUnits, DEFAULT),
        "expression": (Expression, DEFAULT),
    },
    "bodies": {
        "roi": (NormalizedRegionOfInterest2D, DEFAULT),
        "cropped": (Image, DEFAULT),
        "skeleton2d": (Skeleton2D, DEFAULT),
    },
    "voices": {"is_speaking": (Bool, DEFAULT), "speech": (LiveSpeech, DEFAULT)},
    "persons": {
        "face_id": (String, LATCHED),
        "body_id": (String, LATCHED),
        "voice_id": (String, LATCHED),
        "anonymous": (Bool, LATCHED),
        "alias": (String, LATCHED),
        "engagement_status": (EngagementLevel, DEFAULT),
        "location_confidence": (Float32, DEFAULT),
    },
}


class Client:
    def __init__(self, node: Any) -> None:
        self.node, self.open = node, {kind: {} for kind in BELOW}
        self.state: dict[str, Any] = {kind: {} for kind in BELOW} | {"tf": {}, "matches": [], "known": []}
        self.lost: Counter[str] = Counter()
        self.robot: list[str] = []
        for kind in BELOW:
            node.create_subscription(IdsList, f"/humans/{kind}/tracked", lambda m, k=kind: self.track(k, m), DEFAULT)
        # latched, as hri_person_manager offers it and who reads its list once asks for; libhri takes either
        node.create_subscription(IdsList, "/humans/persons/known", self.know, LATCHED)
        node.create_subscription(TFMessage, "/tf", self.tf, QoSProfile(depth=100))
        # hri_person_manager, onCandidateMatch: a queue of ten
        node.create_subscription(IdsMatch, "/humans/candidate_matches", self.match, QoSProfile(depth=10))
        node.create_subscription(Expression, "/robot_face/expression", lambda m: self.robot.append(m.expression), 100)
        node.create_timer(0.2, self.tell)

    def know(self, msg: IdsList) -> None:
        self.state["known"] = list(msg.ids)

    def track(self, kind: str, msg: IdsList) -> None:
        # rclcpp throws at an id that makes no topic
        now, before = {name for name in msg.ids if name.isidentifier()}, set(self.open[kind])
        self.lost[kind] += len(before - now)
        for gone in before - now:
            for reader in self.open[kind].pop(gone):
                self.node.destroy_subscription(reader)
            self.state[kind].pop(gone, None)
        for new in now - before:
            seen: dict[str, Any] = self.state[kind].setdefault(new, {})
            self.open[kind][new] = [
                self.node.create_subscription(
                    message, f"/humans/{kind}/{new}/{name}", lambda m, n=name, s=seen: s.update({n: plain(m)}), profile
                )
                for name, (message, profile) in BELOW[kind].items()
            ]

    def tf(self, msg: TFMessage) -> None:
        for t in msg.transforms:
            move, turn = t.transform.translation, t.transform.rotation
            values = [move.x, move.y, move.z, turn.x, turn.y, turn.z, turn.w]
            self.state["tf"][t.child_frame_id] = {"parent": t.header.frame_id, "values": values}

    def match(self, msg: IdsMatch) -> None:
        # what hri_person_manager refuses: empty or equal ids, types that it does not know
        assert msg.id1 not in ("", msg.id2)
        assert msg.id2
        assert {msg.id1_type, msg.id2_type} <= {IdsMatch.PERSON, IdsMatch.FACE, IdsMatch.BODY, IdsMatch.VOICE}
        self.state["matches"].append([msg.id1, msg.id1_type, msg.id2, msg.id2_type, round(msg.confidence, 3)])

    def tell(self) -> None:
        print(json.dumps({**self.state, "lost": dict(self.lost), "robot": self.robot}), flush=True)


def plain(msg: Any) -> Any:
    """What a test needs to know of a message."""
    if isinstance(msg, Image):
        picture = np.frombuffer(msg.data, np.uint8)
        return {"size": [msg.width, msg.height], "encoding": msg.encoding, "mean": float(picture.mean())}
    if isinstance(msg, NormalizedRegionOfInterest2D):
        return [msg.xmin, msg.ymin, msg.xmax, msg.ymax, msg.c]
    if isinstance(msg, FacialLandmarks):
        found = {i: [p.x, p.y] for i, p in enumerate(msg.landmarks) if p.c > 0}
        return {"all": len(msg.landmarks), "found": found, "size": [msg.width, msg.height]}
    if isinstance(msg, FacialActionUnits):
        return {"intensity": msg.intensity.tolist(), "confidence": msg.confidence.tolist()}
    if isinstance(msg, Expression):
        return {"expression": msg.expression, "valence": msg.valence, "confidence": msg.confidence}
    if isinstance(msg, LiveSpeech):
        return msg.final
    return msg.data


def main() -> None:
    rclpy.init(domain_id=int(sys.argv[1]))
    client = Client(rclpy.create_node("libhri_client"))
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(client.node)


if __name__ == "__main__":
    main()
