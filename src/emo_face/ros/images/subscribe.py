"""The image topic of a node: raw or compressed, as reliable as its publishers, read as BGR."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sensor_msgs.msg import CompressedImage, Image

from emo_face.core.types import ImageArray
from emo_face.ros.images.convert import decode_compressed, to_bgr

if TYPE_CHECKING:
    from emo_face.ros.lifecycle import EmoNode


class ImageInput:
    """Subscribes to ``image`` or ``image/compressed``, as ``image_transport`` and ``image_reliability`` say.

    Args:
        received: called on the executor with every message; store it, do no work.
    """

    def __init__(self, node: EmoNode, received: Callable[[Any], None]) -> None:
        self._compressed = node.params["image_transport"] == "compressed"
        # resolved first, so that a remap of `image` holds for both
        self.topic = f"{node.resolve_topic_name('image')}/compressed" if self._compressed else "image"
        kind = CompressedImage if self._compressed else Image
        node.matched_subscription(kind, self.topic, received, node.params["image_reliability"])

    def read(self, msg: Any) -> ImageArray:
        """(height, width, 3) uint8 BGR. Raises ImageError for a message that is no picture."""
        return decode_compressed(msg) if self._compressed else to_bgr(msg)
