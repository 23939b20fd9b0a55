"""Dashboard: a page with what the graph sees, hears, thinks and shows, in a process of its own.

It only listens, but for the emergency stop and people's consent. No camera picture and no word goes to a page unless
``perception/consent`` allows it, and nothing is read from the camera's topic while nobody looks.
"""

import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from emo_face_msgs.msg import Consent, EmotionScoresArray, FaceExpression
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool

from emo_face.core.arkit import ARKIT_52
from emo_face.core.errors import ImageError
from emo_face.core.labels import label_set
from emo_face.perception.debug import draw
from emo_face.ros import qos
from emo_face.ros.clock import duration_seconds, seconds
from emo_face.ros.images.convert import to_bgr
from emo_face.ros.images.depth import BitDepth
from emo_face.ros.messages.convert import MessageError, read_scores
from emo_face.ros.run import beside
from emo_face.web.board import Allowed, Board, Status, parse, person_row
from emo_face.web.server import FaceServer

PERIOD = 0.2  # s between two reports
ANSWER = 3.0  # s that the driver may take for a stop
OLD = 2.0  # s after which a picture is no longer what the camera sees
MATCH = 0.5  # s between a picture and the scores drawn into it
QUALITY = 75  # of the JPEG
NOT_SENT = "the face driver does not answer: the stop was NOT sent. Cut the power."


@dataclass(frozen=True)
class DashboardSettings:
    """Where the page is, and what it may show; see :class:`emo_face.web.server.FaceServer`.

    Attributes:
        image: topic of the camera. pictures: False shows none, whatever people allow.
    """

    host: str = "127.0.0.1"
    port: int = 8766
    token: str = ""
    theme: str = "robot"
    origins: Sequence[str] = ()
    image: str = "camera/image_raw"
    pictures: bool = True


class DashboardNode(Node):
    """Subscribes to the graph and serves the page.

    Raises:
        UserError: the address cannot be opened, or needs a token.
    """

    def __init__(self, settings: DashboardSettings, **kwargs: Any) -> None:
        super().__init__("dashboard", **kwargs)
        self.board = Board(f"{self.get_namespace()}/face_driver".strip("/"))
        self._settings, self._depth, self._lock = settings, BitDepth(), threading.Lock()
        self._image: tuple[bytes, float] | None = None  # as it came, and when
        self._jpeg: tuple[bytes, bytes | None] = (b"", None)  # of which image, and the picture
        self._scores: EmotionScoresArray | None = None
        self.server = FaceServer(
            settings.host,
            settings.port,
            settings.token,
            settings.theme,
            on_command=self._obey,
            origins=settings.origins,
            home="dashboard.html",
            pictures={"/camera.jpg": self._picture},
            parse=parse,
            options="--",
        )
        self.server.start()
        self._consent = self.create_publisher(Consent, "consent", qos.latched())
        self._stopper: Any = self.create_client(SetBool, "face_driver/estop")
        self._listen()
        # steady: the page lives on while simulated time stands still
        self.create_timer(PERIOD, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _listen(self) -> None:
        self.create_subscription(EmotionScoresArray, "emotion/scores", self._on_scores, qos.reliable(5))
        self.create_subscription(FaceExpression, "face/expression", self._on_expression, qos.reliable())
        self.create_subscription(JointState, "face/blendshapes", self._on_face, qos.sensor())
        self.create_subscription(String, "speech/text", self._on_speech, qos.reliable(10))
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self.create_subscription(Consent, "perception/consent", self._on_consent, qos.latched())
        if self._settings.pictures:
            self.create_subscription(Image, self._settings.image, self._on_image, qos.sensor(), raw=True)

    def destroy_node(self) -> None:
        """Close the page first."""
        self.server.stop()
        super().destroy_node()

    # ---- what comes ----------------------------------------------------------------------------------------------

    def _on_scores(self, msg: EmotionScoresArray) -> None:
        self._scores = msg
        people = []
        for one in msg.people:
            shares = dict(zip(one.labels, one.probabilities, strict=False))
            evidence = {e.source: e.share for e in one.evidence}
            people.append(person_row(one.person_id, one.top, shares, one.quality, evidence))
        self.board.scores(people, duration_seconds(msg.latency), time.monotonic())

    def _on_expression(self, msg: FaceExpression) -> None:
        words = self.board.allowed.words and self.board.allowed.reading
        shown = {
            "name": msg.shown,
            "strength": round(float(msg.strength), 2),
            "person": msg.person_id,
            "feels": msg.person_emotion,
            "confidence": round(float(msg.confidence), 2),
            "perspective": msg.perspective,
            "source": msg.source,
            "text": msg.text[:200] if words else "",
        }
        self.board.expression(shown, duration_seconds(msg.latency), time.monotonic())

    def _on_face(self, msg: JointState) -> None:
        given = dict(zip(msg.name, msg.position, strict=False))
        stop = {"estop": bool(self.board.stop), "stop": self.board.stop}
        self.server.publish([given.get(name, 0.0) for name in ARKIT_52], stop)

    def _on_speech(self, msg: String) -> None:
        self.board.hear(msg.data, time.monotonic())

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            level = status.level if isinstance(status.level, int) else status.level[0]
            values = {pair.key: pair.value for pair in status.values}
            name = status.name.split(":")[0].strip("/ ")
            self.board.status(name, Status(level, status.message, values, time.monotonic()))

    def _on_consent(self, msg: Consent) -> None:
        self.board.allow(Allowed(True, msg.mode, msg.granted, msg.pictures, msg.words))

    def _on_image(self, data: bytes) -> None:
        self._image = (data, time.monotonic()) if self.server.clients else None

    # ---- what goes out -------------------------------------------------------------------------------------------

    def _report(self) -> None:
        self.server.hub.report(json.dumps(self.board.report(time.monotonic())))

    def _picture(self) -> bytes | None:
        """The newest picture as JPEG, with the people drawn; made once for all pages, in the server's thread."""
        taken, allowed = self._image, self.board.allowed
        if taken is None or not (allowed.pictures and allowed.reading) or time.monotonic() - taken[1] > OLD:
            return None
        with self._lock:
            if self._jpeg[0] is not taken[0]:
                self._jpeg = (taken[0], self._draw(taken[0]))
            return self._jpeg[1]

    def _draw(self, data: bytes) -> bytes | None:
        image, scores = deserialize_message(data, Image), self._scores
        try:
            frame = np.ascontiguousarray(to_bgr(image, self._depth))
            apart = 0.0 if scores is None else abs(seconds(scores.header.stamp) - seconds(image.header.stamp))
            if scores is not None and scores.people and apart < MATCH:
                read = [read_scores(entry) for entry in scores.people]
                labels = label_set(scores.people[0].label_set)
                frame = draw(frame, [person for person, _ in read], [emotion for _, emotion in read], labels)
        except (ImageError, MessageError) as error:
            self.get_logger().warning(f"picture not shown: {error}", throttle_duration_sec=10.0)
            return None
        done, jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return jpeg.tobytes() if done else None

    def _obey(self, command: dict[str, Any]) -> str | dict[str, Any] | None:
        """A command of a page, in a thread of the server."""
        if command["type"] == "consent":
            # who does not agree must be asked first, in whatever mode the graph was started
            mode = "" if command["granted"] else Consent.MODE_ASK
            said = {name: command[name] for name in ("granted", "pictures", "words")}
            msg = Consent(mode=mode, by="dashboard", **said)
            msg.header.stamp = self.get_clock().now().to_msg()
            self._consent.publish(msg)
            return None
        stop = command["type"] == "estop"
        answered = threading.Event()
        if not self._stopper.service_is_ready():
            return {"type": "stop", "success": False, "message": NOT_SENT}
        future = self._stopper.call_async(SetBool.Request(data=stop))
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(ANSWER):
            return {"type": "stop", "success": False, "message": NOT_SENT}
        reply: Any = future.result()
        if stop or reply.success:
            self.board.stop = str(reply.message) if stop else ""
        return {"type": "stop", "success": bool(reply.success), "message": str(reply.message)}


def main() -> int:
    """Serve until a signal comes, or until the process that started us is gone.

    ``EMO_FACE_DASHBOARD`` holds :class:`DashboardSettings` as JSON, all of it optional.
    """
    settings = DashboardSettings(**json.loads(os.environ.pop("EMO_FACE_DASHBOARD", "{}")))

    def create() -> DashboardNode:
        node = DashboardNode(settings)
        print(f"dashboard: {node.server.url}", flush=True)
        return node

    return beside(create, "dashboard")


if __name__ == "__main__":
    raise SystemExit(main())
