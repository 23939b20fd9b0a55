"""The image topic of a node: raw or compressed, as reliable as its publishers or by reference, read as BGR."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sensor_msgs.msg import CompressedImage, Image

from emo_face.core.types import ImageArray
from emo_face.ros.diagnostics import WARN
from emo_face.ros.images.compressed import decode_compressed
from emo_face.ros.images.convert import to_bgr
from emo_face.ros.images.depth import BitDepth
from emo_face.ros.images.local import LocalImage

if TYPE_CHECKING:
    from emo_face.ros.lifecycle import EmoNode

LOOK = 5.0  # s between two looks at who else publishes


class ImageInput:
    """Subscribes to ``image`` or ``image/compressed``, as ``image_transport`` and ``image_reliability`` say.

    A camera in the same process hands its pictures on by reference (:class:`~emo_face.ros.images.local.LocalPictures`);
    then nothing is subscribed to.

    Args:
        received: called with every message, on the executor or in the camera's thread; store it, do no work.
    """

    def __init__(self, node: EmoNode, received: Callable[[Any], None]) -> None:
        self._node, self._health, self._received = node, node.health, received
        self._depth = BitDepth()
        self._compressed = node.params["image_transport"] == "compressed"
        # resolved first, so that a remap of `image` holds for both
        resolved = node.resolve_topic_name("image")
        self.topic = f"{resolved}/compressed" if self._compressed else "image"
        self._resolved = f"{resolved}/compressed" if self._compressed else resolved
        self._by_reference = node.pictures.listen(self._resolved, self._take)
        node.create_timer(LOOK, self._look_for_others, clock=node.steady)
        if self._by_reference:
            return
        kind = CompressedImage if self._compressed else Image
        node.matched_subscription(kind, self.topic, received, node.params["image_reliability"])

    def _take(self, picture: LocalImage) -> None:
        """A picture of this process; what goes wrong here is ours and not the camera's."""
        try:
            self._received(picture)
        except Exception as error:
            self._node.failed(error)

    def _look_for_others(self) -> None:
        """Say who is not heard because the camera of this process is, or that several are taken for one."""
        found = self._node.get_publishers_info_by_topic(self._resolved)
        # DDS remembers one that was killed for 20 s, beside its successor
        several = len(found if self._by_reference else {(info.node_namespace, info.node_name) for info in found}) > 1
        which = (
            "of which only the camera of this process is read: leave it out (--without camera) or do without --compose"
            if self._by_reference
            else "taken for one camera, so people come and go: remap `image` to one of them, or use --also"
        )
        text = f"{len(found)} publishers on {self._resolved}, {which}"
        self._node.report_while(several, "input others", WARN, text)

    def read(self, msg: Any) -> ImageArray:
        """(height, width, 3) uint8 BGR. Raises ImageError for a message that is no picture.

        Facts ``image_encoding`` and, after a picture of 16 bits, ``image_depth`` go into the diagnostics.
        """
        if isinstance(msg, LocalImage):
            self._health.fact("image_encoding", "bgr8, by reference")
            return msg.frame
        if self._compressed:
            picture, encoding = decode_compressed(msg, self._depth), str(msg.format)
        else:
            picture, encoding = to_bgr(msg, self._depth), str(msg.encoding)
        self._health.fact("image_encoding", encoding)
        if self._depth.seen:
            self._health.fact("image_depth", f"{self._depth.bits} bits of 16, by the largest value seen")
        return picture
