"""Where to look: points in the face's own frame or, through tf, in any frame that leads to it."""

import math
import time
from typing import Any

import numpy as np
from geometry_msgs.msg import PointStamped
from numpy.typing import NDArray
from rclpy.time import Time

from emo_face.nodes.face.node import FaceNode
from emo_face.nodes.hri.installed import tf_buffer
from emo_face.ros import qos


class LookAt:
    """Subscribes to points to look at.

    Points are in ``look_at.frame``: x out of the face, y to its left, z up (REP-155, sellion_link). For those of
    another frame tf is asked, by tf2_ros, which listens from the first such point on; its newest transforms count.

    Args:
        topics: names of the topics.
    """

    def __init__(self, node: FaceNode, *topics: str) -> None:
        self._node = node
        self._buffer: Any = None
        for topic in topics:
            node.subscription(PointStamped, topic, self._look, qos.reliable())

    def _look(self, msg: PointStamped) -> None:
        node = self._node
        if node.face is None or not node.running:
            return
        wanted, given = node.params["look_at.frame"], msg.header.frame_id
        point = np.array([msg.point.x, msg.point.y, msg.point.z])
        try:
            x, y, z = (point if given in ("", wanted) else self._transformed(point, wanted, given)).tolist()
        except LookupError as error:
            text = f"point in frame {given!r}, expected {wanted!r} (look_at.frame) or one that tf leads there"
            node.drop("look_at", f"look_at not used: {text}: {error}")
            return
        yaw, pitch = math.atan2(y, x), math.atan2(z, math.hypot(x, y))
        hold = node.params["look_at.hold"]
        if not math.hypot(x, y, z) > 0 or not node.face.player.look_at(yaw, pitch, time.monotonic(), hold):
            node.drop("look_at", "look_at not used: expected a finite point away from the origin")

    def _transformed(self, point: NDArray[np.float64], wanted: str, given: str) -> NDArray[np.float64]:
        """The point in the frame ``wanted``. Raises LookupError: no tf2_ros, or no way from frame to frame."""
        if self._buffer is None:
            self._buffer = tf_buffer(self._node)
        try:
            found = self._buffer.lookup_transform(wanted, given, Time())
        except Exception as error:  # tf2's exceptions are classes of a C module
            raise LookupError(str(error)) from None
        t, q = found.transform.translation, found.transform.rotation
        turned = rotated(point, np.array([q.x, q.y, q.z]), q.w)
        return np.asarray(turned + np.array([t.x, t.y, t.z]), np.float64)


def rotated(point: NDArray[np.float64], axis: NDArray[np.float64], w: float) -> NDArray[np.float64]:
    """``point`` (3,) turned by the unit quaternion (``axis`` (3,), ``w``)."""
    turn = 2.0 * np.cross(axis, point)
    return np.asarray(point + w * turn + np.cross(axis, turn), np.float64)
