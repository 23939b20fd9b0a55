"""``~/debug_image``: the frame with boxes and scores, drawn only while somebody looks."""

import time
from typing import Any

from sensor_msgs.msg import Image

from emo_face.core.labels import label_set
from emo_face.core.types import ImageArray
from emo_face.perception.debug import draw
from emo_face.perception.pipeline import FrameResult
from emo_face.ros import qos
from emo_face.ros.images.convert import image_message
from emo_face.ros.lifecycle import EmoNode


class DebugImage:
    """The topic of ``node``; at most ``debug_image.rate`` pictures per second."""

    def __init__(self, node: EmoNode) -> None:
        self._node, self._due = node, 0.0
        self._publisher = node.publisher(Image, "~/debug_image", qos.sensor())

    def show(self, result: FrameResult, header: Any, frame: ImageArray, stamp: float, labels: str) -> None:
        """Draw and publish what was seen in ``frame`` of ``stamp``; ``labels``: name of the label set."""
        now = time.monotonic()
        if now < self._due or not self._publisher.get_subscription_count():
            return
        self._due = now + 1.0 / self._node.params["debug_image.rate"]
        title = f"{result.detector} {max(self._node.clock.now() - stamp, 0.0) * 1e3:.0f} ms"
        picture = draw(frame, result.people, result.emotions, label_set(labels), title)
        self._publisher.publish(image_message(picture, header))
