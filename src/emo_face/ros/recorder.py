"""Record the graph: every topic of it as it is, camera images as JPEG, into one MCAP file."""

from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from emo_face_msgs.msg import EmotionScoresArray, FaceExpression
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from emo_face.core.errors import ImageError
from emo_face.recording.bag import BagWriter
from emo_face.ros.images.convert import compressed_message, to_bgr
from emo_face.ros.images.depth import BitDepth

TOPICS: Mapping[str, type] = {
    "emotion/scores": EmotionScoresArray,
    "face/expression": FaceExpression,
    "face/blendshapes": JointState,
    "speech/text": String,
    "diagnostics": DiagnosticArray,
}


def type_name(message_class: type) -> str:
    """``pkg/msg/Name`` of a message class."""
    return f"{message_class.__module__.split('.')[0]}/msg/{message_class.__name__}"


class Recorder:
    """Subscribes to the graph on ``node`` and writes what arrives.

    Args:
        on_message: called with (topic, deserialised message) of everything but images, for a live view.
        image_fps: at most so many images a second are kept; the rest is counted in ``images_seen``.
    """

    def __init__(
        self,
        node: Node,
        bag: BagWriter,
        image_topic: str = "camera/image_raw",
        image_fps: float = 15.0,
        on_message: Callable[[str, Any], None] | None = None,
    ) -> None:
        self._node = node
        self._bag = bag
        self._on_message = on_message
        self._image_topic = node.resolve_topic_name(image_topic)
        self._image_gap = 0.9 / image_fps  # a little under the period, else a 30 Hz camera halves to 10
        self._last_image = float("-inf")
        self.images_seen = 0
        self._depth = BitDepth()
        self.latest_image: CompressedImage | None = None
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._subscriptions = [
            node.create_subscription(Image, image_topic, self._on_image, best_effort, raw=True),
            *(self._subscribe(topic, message_class) for topic, message_class in TOPICS.items()),
        ]

    def _subscribe(self, topic: str, message_class: type) -> Any:
        name = self._node.resolve_topic_name("/diagnostics" if topic == "diagnostics" else topic)
        kind = type_name(message_class)

        def receive(data: bytes) -> None:
            self._bag.write(name, kind, self._now_ns(), data)
            if self._on_message is not None:
                self._on_message(topic, deserialize_message(data, message_class))

        return self._node.create_subscription(message_class, name, receive, QoSProfile(depth=50), raw=True)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _on_image(self, data: bytes) -> None:
        self.images_seen += 1
        now = self._now_ns()
        if (now * 1e-9 - self._last_image) < self._image_gap:
            return
        self._last_image = now * 1e-9
        image = deserialize_message(data, Image)
        try:
            self.latest_image = compressed_message(to_bgr(image, self._depth), image.header, quality=85)
        except ImageError:
            return  # counted by the perception node
        self._bag.write(
            f"{self._image_topic}/compressed", type_name(CompressedImage), now, serialize_message(self.latest_image)
        )
