"""Views node: people as RViz markers and as an overlay for Foxglove's image panel, in a process of its own.

``views/markers`` (``visualization_msgs/MarkerArray``) has a head for everybody in view, in the colour of what they
feel and as solid as the evidence, with the words above it, and an arrow along the robot's gaze. ``views/annotations``
(``foxglove_msgs/ImageAnnotations``) has their boxes and the same words. Each is there if its package is installed.
"""

import importlib
import math
from functools import partial
from typing import Any

from emo_face_msgs.msg import EmotionScores, EmotionScoresArray, FaceExpression
from geometry_msgs.msg import Point, Vector3
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import ColorRGBA

from emo_face.core.errors import ConfigError
from emo_face.core.geometry import BODY_HEADS
from emo_face.core.labels import label_rgb
from emo_face.perception.space.merge import HEAD
from emo_face.ros import qos
from emo_face.ros.clock import duration_message
from emo_face.ros.run import beside

LIFE = 1.0  # s that a marker stays without news
TEXT = 0.1  # m, height of letters
GET = "sudo apt-get install ros-$ROS_DISTRO-{}"


class ViewsNode(Node):
    """Draws what ``emotion/scores`` and ``face/expression`` say.

    Raises:
        ConfigError: neither package is installed, or ``fov`` (degrees, of a camera without calibration) is no angle.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("views", **kwargs)
        self._fov = float(self.declare_parameter("fov", 60.0).value)
        if not 0 < self._fov < 180:
            raise ConfigError(f"fov: expected 0 to 180 degrees, got {self._fov}")
        self._camera: CameraInfo | None = None
        self._gaze: tuple[float, float] | None = None
        kinds: tuple[tuple[str, str, str, Any], ...] = (
            ("views/markers", "visualization_msgs", "MarkerArray", markers),
            ("views/annotations", "foxglove_msgs", "ImageAnnotations", overlay),
        )
        self._outputs: list[tuple[Any, Any, Any]] = []
        for topic, package, name, draw in kinds:
            try:
                messages = importlib.import_module(f"{package}.msg")
            except ImportError:
                self.get_logger().warning(f"no {topic}: {package} is missing: {GET.format(package.replace('_', '-'))}")
                continue
            publisher = self.create_publisher(getattr(messages, name), topic, qos.reliable(5))
            self._outputs.append((publisher, draw, messages))
        if not self._outputs:
            raise ConfigError(f"views needs visualization_msgs or foxglove_msgs: {GET.format('visualization-msgs')}")
        self.create_subscription(EmotionScoresArray, "emotion/scores", self._on_scores, qos.reliable(5))
        self.create_subscription(FaceExpression, "face/expression", self._on_expression, qos.reliable())
        self.create_subscription(CameraInfo, "camera/camera_info", partial(setattr, self, "_camera"), qos.sensor())

    def _on_expression(self, msg: FaceExpression) -> None:
        self._gaze = (float(msg.gaze[0]), float(msg.gaze[1]))

    def _on_scores(self, msg: EmotionScoresArray) -> None:
        for publisher, draw, messages in self._outputs:
            if publisher.get_subscription_count():
                publisher.publish(draw(messages, msg, focal(self._camera, msg.width, self._fov), self._gaze))


def focal(camera: CameraInfo | None, width: int, fov: float) -> float:
    """Pixels, of a picture ``width`` pixels wide: by the calibration, else by the field of view in degrees."""
    if camera is not None and camera.k[0] > 0 and camera.width:
        return float(camera.k[0] * width / camera.width)
    return width / 2 / math.tan(math.radians(fov) / 2)


def told(person: EmotionScores) -> str:
    """What is said of a person, in one line."""
    feels = f"{person.top} {max(person.probabilities):.0%}" if person.top else "unknown"
    return f"{person.person_id} {feels}"


def colour(label: str, alpha: float) -> tuple[float, float, float, float]:
    """Red, green, blue and alpha in [0, 1]."""
    red, green, blue = label_rgb(label)
    return red / 255, green / 255, blue / 255, alpha


def head_at(person: EmotionScores, size: tuple[int, int], focal: float) -> tuple[float, float, float] | None:
    """Metres to the right, down and ahead of the camera, by the size of the head; None without a box."""
    box, body = person.face, person.body
    height = box.height if box.width else body.height / BODY_HEADS
    if not height or not focal:
        return None
    seen = box if box.width else body
    ahead, down = focal * HEAD / height, seen.y_offset + height / 2
    return (
        (seen.x_offset + seen.width / 2 - size[0] / 2) * ahead / focal,
        (down - size[1] / 2) * ahead / focal,
        ahead,
    )


def markers(messages: Any, msg: EmotionScoresArray, focal: float, gaze: tuple[float, float] | None) -> Any:
    """``MarkerArray`` in the frame of the picture (optical: x right, y down, z ahead)."""
    made = []

    def add(space: str, number: int, kind: int, size: tuple[float, float, float], rgba: Any, **fields: Any) -> None:
        red, green, blue, alpha = rgba
        marker = messages.Marker(header=msg.header, ns=space, id=number, type=kind, **fields)
        marker.scale, marker.color = (
            Vector3(x=size[0], y=size[1], z=size[2]),
            ColorRGBA(r=red, g=green, b=blue, a=alpha),
        )
        marker.lifetime = duration_message(LIFE)
        made.append(marker)

    kinds = messages.Marker
    for number, person in enumerate(msg.people):
        at = head_at(person, (msg.width, msg.height), focal)
        if at is None:
            continue
        x, y, z = at
        solid = colour(person.top, 0.3 + 0.7 * min(max(float(person.quality), 0.0), 1.0))
        add("head", number, kinds.SPHERE, (HEAD, HEAD, HEAD), solid)
        made[-1].pose.position = Point(x=x, y=y, z=z)
        add("emotion", number, kinds.TEXT_VIEW_FACING, (0.0, 0.0, TEXT), colour(person.top, 1.0), text=told(person))
        made[-1].pose.position = Point(x=x, y=y - HEAD, z=z)
    if gaze is not None:
        yaw, pitch = gaze  # positive: to the robot's left and up
        ahead = Point(x=-math.sin(yaw) * math.cos(pitch), y=-math.sin(pitch), z=math.cos(yaw) * math.cos(pitch))
        add("gaze", 0, kinds.ARROW, (0.02, 0.05, 0.1), (0.1, 0.6, 0.6, 1.0), points=[Point(), ahead])
    return messages.MarkerArray(markers=made)


def overlay(messages: Any, msg: EmotionScoresArray, *_: Any) -> Any:
    """``ImageAnnotations``: face boxes in the colour of what is felt, bodies thin, words above."""
    stamp, points, texts = msg.header.stamp, [], []

    def paint(rgba: tuple[float, float, float, float]) -> Any:
        return messages.Color(r=rgba[0], g=rgba[1], b=rgba[2], a=rgba[3])

    def outline(box: RegionOfInterest, label: str, thickness: float) -> None:
        left, top = float(box.x_offset), float(box.y_offset)
        right, low = left + box.width, top + box.height
        corners = [messages.Point2(x=x, y=y) for x, y in ((left, top), (right, top), (right, low), (left, low))]
        loop = messages.PointsAnnotation.LINE_LOOP
        shape = messages.PointsAnnotation(timestamp=stamp, type=loop, points=corners, thickness=thickness)
        shape.outline_color = paint(colour(label, 1.0))
        points.append(shape)

    letters = max(msg.width / 40, 8.0)
    for person in msg.people:
        for box, thickness in ((person.body, letters / 16), (person.face, letters / 6)):
            if box.width:
                outline(box, person.top, thickness)
        box = person.face if person.face.width else person.body
        if box.width:
            text = messages.TextAnnotation(timestamp=stamp, text=told(person), font_size=letters)
            text.position = messages.Point2(x=float(box.x_offset), y=max(float(box.y_offset) - 4, letters))
            text.text_color, text.background_color = paint((1.0, 1.0, 1.0, 1.0)), paint(colour(person.top, 0.8))
            texts.append(text)
    drawn = messages.ImageAnnotations(points=points, texts=texts)
    if hasattr(drawn, "timestamp"):  # newer foxglove_msgs
        drawn.timestamp = stamp
    return drawn


def main() -> int:
    """Serve until a signal comes, or until the process that started us is gone."""
    return beside(ViewsNode, "views")


if __name__ == "__main__":
    raise SystemExit(main())
