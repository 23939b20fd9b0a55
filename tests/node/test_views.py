"""nodes/views.py: what RViz and Foxglove are given, by their own message types."""

import math
from typing import Any

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
from emo_face_msgs.msg import EmotionScores, EmotionScoresArray, FaceExpression
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from emo_face.core.errors import ConfigError
from emo_face.nodes.views import HEAD, ViewsNode, focal
from emo_face.ros import qos


def scores(*people: EmotionScores) -> EmotionScoresArray:
    header = Header(frame_id="camera_optical_frame")
    header.stamp.sec = 7
    return EmotionScoresArray(header=header, width=640, height=480, people=list(people))


def person(top: str = "Happy", quality: float = 1.0, **boxes: RegionOfInterest) -> EmotionScores:
    told = {"labels": ["Happy", "Sad"], "probabilities": [0.9, 0.1]}
    return EmotionScores(person_id="p00003", top=top, quality=quality, **told, **boxes)


FACE = RegionOfInterest(x_offset=420, y_offset=180, width=90, height=120)
BODY = RegionOfInterest(x_offset=300, y_offset=100, width=200, height=380)


def test_rviz_gets_a_head_its_words_and_the_gaze(graph: Any) -> None:
    """120 pixels at a focal length of 600: 0.9 m ahead; the middle of the box is 145 px right of the axis."""
    visualization = pytest.importorskip("visualization_msgs.msg")
    graph.start(ViewsNode)
    heard = graph.hear(visualization.MarkerArray, "views/markers")
    graph.talk(CameraInfo, "camera/camera_info", qos.sensor()).publish(
        CameraInfo(width=1280, height=960, k=[1200.0, 0.0, 640.0, 0.0, 1200.0, 480.0, 0.0, 0.0, 1.0])
    )
    graph.talk(FaceExpression, "face/expression").publish(FaceExpression(gaze=[0.5, 0.2]))
    out, msg = graph.talk(EmotionScoresArray, "emotion/scores"), scores(person(face=FACE), person("", 0.0, body=BODY))

    def told() -> list[Any]:
        """The newest markers, once calibration and gaze have come too."""
        out.publish(msg)
        newest = heard[-1].markers if heard else []
        known = len(newest) == 5 and abs(newest[0].pose.position.z - 0.9) < 1e-6
        return newest if known else []

    head, words, unknown, unknown_words, gaze = graph.until(told)
    assert (head.ns, head.type, words.type) == ("head", head.SPHERE, head.TEXT_VIEW_FACING)
    assert head.header == msg.header
    at = head.pose.position
    assert (at.x, at.y, at.z) == pytest.approx((145 * 0.9 / 600, 0.0, 600 * HEAD / 120))
    assert words.text == "p00003 Happy 90%"
    assert words.pose.position.y < at.y  # above: y is down
    assert (head.color.a, unknown.color.a) == pytest.approx((1.0, 0.3))  # as solid as the evidence
    assert unknown_words.text == "p00003 unknown"
    assert len({(m.ns, m.id) for m in (head, words, unknown, unknown_words, gaze)}) == 5
    assert all(0 < m.lifetime.sec + m.lifetime.nanosec <= 1 for m in (head, gaze))
    tip = gaze.points[1]
    assert tip.x < 0 < tip.z  # to the robot's left
    assert tip.y < 0  # and up
    assert math.hypot(tip.x, tip.y, tip.z) == pytest.approx(1.0)


def test_foxglove_gets_boxes_and_words_on_the_picture(graph: Any) -> None:
    foxglove = pytest.importorskip("foxglove_msgs.msg", reason="foxglove_msgs is no wheel; build it by colcon")
    graph.start(ViewsNode)
    heard = graph.hear(foxglove.ImageAnnotations, "views/annotations")
    out, msg = graph.talk(EmotionScoresArray, "emotion/scores"), scores(person(face=FACE, body=BODY))
    drawn = graph.until(lambda: out.publish(msg) or heard)[-1]
    body, face = drawn.points
    assert face.type == face.LINE_LOOP
    assert [(p.x, p.y) for p in face.points] == [(420, 180), (510, 180), (510, 300), (420, 300)]
    assert (body.points[2].x, body.points[2].y) == (500, 480)
    assert face.timestamp == body.timestamp == drawn.texts[0].timestamp == msg.header.stamp
    assert drawn.texts[0].text == "p00003 Happy 90%"
    assert (drawn.texts[0].position.x, drawn.texts[0].position.y) == (420, 176)


@pytest.mark.parametrize("fov", [0.0, 180.0])
def test_an_impossible_field_of_view_is_named(graph: Any, fov: float) -> None:
    with pytest.raises(ConfigError, match="fov: expected 0 to 180"):
        graph.start(ViewsNode, fov=fov)


def test_without_calibration_the_field_of_view_counts() -> None:
    assert focal(None, 640, 90.0) == pytest.approx(320.0)
    assert focal(CameraInfo(), 640, 90.0) == pytest.approx(320.0)  # zeros: never calibrated
