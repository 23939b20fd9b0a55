"""Faces that somebody else detects (hri_face_detect): their crops for us, our expressions under their ids."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.qos import qos_profile_system_default
from sensor_msgs.msg import CameraInfo, Image

from emo_face.core.types import Box
from emo_face.nodes.hri import faces
from emo_face.nodes.hri.installed import hri_messages
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
        self._readers: dict[str, list[Any]] = {}
        self._out: dict[str, Any] = {}
        self._rois: dict[str, Any] = {}
        self.size = (0, 0)
        node.create_subscription(self._msgs.IdsList, "/humans/faces/tracked", self._track, qos_profile_system_default)
        node.subscription(CameraInfo, "camera_info", self._calibrate, qos.sensor())

    @property
    def present(self) -> tuple[str, ...]:
        """Ids of the faces that are there."""
        return tuple(self._readers)

    def _calibrate(self, msg: CameraInfo) -> None:
        self.size = (int(msg.width), int(msg.height))

    def _track(self, msg: Any) -> None:
        self._node.health.tick("faces", time.monotonic())
        now = set(msg.ids)
        for gone in set(self._readers) - now:
            for reader in self._readers.pop(gone):
                self._node.destroy_subscription(reader)
            self._node.destroy_publisher(self._out.pop(gone))
            self._rois.pop(gone, None)
        for new in sorted(now - set(self._readers)):
            self._open(new)

    def _open(self, face_id: str) -> None:
        space, profile = f"/humans/faces/{face_id}", qos_profile_system_default
        self._out[face_id] = self._node.create_publisher(self._msgs.Expression, f"{space}/expression", qos.reliable())

        def place(msg: Any) -> None:
            self._rois[face_id] = msg

        def crop(msg: Image) -> None:
            self._received(SeenFace(face_id, msg, self._box(face_id)))

        kind = self._msgs.NormalizedRegionOfInterest2D
        self._readers[face_id] = [
            self._node.create_subscription(kind, f"{space}/roi", place, profile),
            self._node.create_subscription(Image, f"{space}/cropped", crop, profile),
        ]

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
        self._track(self._msgs.IdsList())
