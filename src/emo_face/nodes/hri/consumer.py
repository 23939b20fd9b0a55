"""Faces that somebody else detects (hri_face_detect): their crops for us, our expressions under their ids."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sensor_msgs.msg import CameraInfo, Image

from emo_face.core.types import Box
from emo_face.nodes.hri import faces
from emo_face.nodes.hri.installed import hri_messages
from emo_face.nodes.hri.tracked import Tracked
from emo_face.ros import qos


@dataclass(frozen=True)
class SeenFace:
    """A crop of somebody's face, as it came. ``box``: in pixels of the camera, where its size is known."""

    face_id: str
    crop: Any
    box: Box | None


class OthersFaces:
    """Subscribes to the faces on ``/humans/faces/tracked`` as libhri does, and publishes their expressions.

    Args:
        received: called on the executor with each crop; store it, do no work.

    Raises:
        ConfigError: hri_msgs is not installed.
    """

    def __init__(self, node: Any, received: Callable[[SeenFace], None]) -> None:
        self._node, self._received, self._msgs = node, received, hri_messages("ros4hri.enabled")
        self._out: dict[str, Any] = {}
        self._rois: dict[str, Any] = {}
        self.size = (0, 0)
        self._tracked = Tracked(node, "faces", self._open, self._close)
        node.subscription(CameraInfo, "camera_info", self._calibrate, qos.sensor())

    @property
    def present(self) -> tuple[str, ...]:
        """Ids of the faces that are there."""
        return self._tracked.ids

    def _calibrate(self, msg: CameraInfo) -> None:
        self.size = (int(msg.width), int(msg.height))

    def _open(self, face_id: str) -> dict[str, tuple[Any, Callable[[Any], None]]]:
        topic = f"/humans/faces/{face_id}/expression"
        self._out[face_id] = self._node.create_publisher(self._msgs.Expression, topic, qos.reliable())
        return {
            "roi": (self._msgs.NormalizedRegionOfInterest2D, lambda msg: self._rois.update({face_id: msg})),
            "cropped": (Image, lambda msg: self._received(SeenFace(face_id, msg, self._box(face_id)))),
        }

    def _close(self, face_id: str) -> None:
        self._node.destroy_publisher(self._out.pop(face_id))
        self._rois.pop(face_id, None)

    def _box(self, face_id: str) -> Box | None:
        roi, (width, height) = self._rois.get(face_id), self.size
        if roi is None or not width or not height:
            return None
        return Box(roi.xmin * width, roi.ymin * height, (roi.xmax - roi.xmin) * width, (roi.ymax - roi.ymin) * height)

    def publish(self, face_id: str, emotion: Any, header: Any) -> None:
        """Publish the expression of a face that is still there; on the executor only."""
        msg = faces.expression(self._msgs, emotion, header)
        if msg is not None and face_id in self._out:
            self._out[face_id].publish(msg)

    def clear(self) -> None:
        """Forget all faces."""
        self._tracked.now(())
