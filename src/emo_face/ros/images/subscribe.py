"""The image topic of a node: raw or compressed, as reliable as its publishers, read as BGR."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sensor_msgs.msg import CompressedImage, Image

from emo_face.core.types import ImageArray
from emo_face.ros.images.compressed import decode_compressed
from emo_face.ros.images.convert import to_bgr
from emo_face.ros.images.depth import BitDepth

if TYPE_CHECKING:
    from emo_face.ros.lifecycle import EmoNode


class ImageInput:
    """Subscribes to ``image`` or ``image/compressed``, as ``image_transport`` and ``image_reliability`` say.

    Args:
        received: called on the executor with every message; store it, do no work.
    """

    def __init__(self, node: EmoNode, received: Callable[[Any], None]) -> None:
        self._health = node.health
        self._depth = BitDepth()
        self._compressed = node.params["image_transport"] == "compressed"
        # resolved first, so that a remap of `image` holds for both
        self.topic = f"{node.resolve_topic_name('image')}/compressed" if self._compressed else "image"
        kind = CompressedImage if self._compressed else Image
        node.matched_subscription(kind, self.topic, received, node.params["image_reliability"])

    def read(self, msg: Any) -> ImageArray:
        """(height, width, 3) uint8 BGR. Raises ImageError for a message that is no picture.

        Facts ``image_encoding`` and, once a picture of 16 bits came, ``image_depth`` go into the diagnostics.
        """
        if self._compressed:
            picture, encoding = decode_compressed(msg, self._depth), str(msg.format)
        else:
            picture, encoding = to_bgr(msg, self._depth), str(msg.encoding)
        self._health.fact("image_encoding", encoding)
        if self._depth.seen:
            self._health.fact("image_depth", f"{self._depth.bits} bits of 16, by the largest value seen")
        return picture
