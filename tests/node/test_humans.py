"""ROS4HRI topics and LiveSpeech, where hri_msgs is installed; without it, what the user is told."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import cv2
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
from emo_face_msgs.msg import EmotionScoresArray
from std_msgs.msg import Header

from emo_face.core.errors import ConfigError
from emo_face.nodes.expression import ExpressionNode
from emo_face.nodes.perception import PerceptionNode
from emo_face.ros.clock import stamp_message
from emo_face.ros.images.convert import image_message

INSTALLED = importlib.util.find_spec("hri_msgs") is not None
needs_hri = pytest.mark.skipif(not INSTALLED, reason="hri_msgs is not installed (apt: ros-DISTRO-hri-msgs)")


@pytest.mark.skipif(INSTALLED, reason="hri_msgs is installed")
@pytest.mark.parametrize("create", [PerceptionNode, ExpressionNode])
@pytest.mark.parametrize("params", [{"ros4hri__enabled": True}, {"speech__type": "live_speech"}])
def test_without_hri_msgs_the_package_is_named(graph: Any, create: Any, params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="needs hri_msgs: sudo apt-get install"):
        graph.start(create, **params)


@needs_hri
def test_people_appear_on_the_topics_of_rep_155(graph: Any, assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hri_msgs.msg import Expression, IdsList, NormalizedRegionOfInterest2D
    from sensor_msgs.msg import Image

    monkeypatch.setenv("EMO_FACE_MODELS", str(assets))
    picture = cv2.resize(cv2.imread(str(assets / "images" / "people" / "apollo11_pilots.jpg")), (640, 480))
    faces, bodies = graph.hear(IdsList, "/humans/faces/tracked"), graph.hear(IdsList, "/humans/bodies/tracked")
    node = graph.up(graph.start(PerceptionNode, ros4hri__enabled=True, image_reliability="best_effort"))
    out = graph.talk(Image, "image", 1)

    def show() -> bool:
        out.publish(image_message(picture, Header(stamp=stamp_message(graph.now()), frame_id="camera")))
        return bool(faces) and len(faces[-1].ids) == 3 and len(bodies[-1].ids) == 3

    graph.until(show)
    face = faces[-1].ids[0]
    assert face.startswith("f")
    assert bodies[-1].ids[0] == "b" + face[1:]
    assert faces[-1].header.frame_id == "camera"
    rois = graph.hear(NormalizedRegionOfInterest2D, f"/humans/faces/{face}/roi")
    moods = graph.hear(Expression, f"/humans/faces/{face}/expression")
    graph.until(lambda: show() and rois and moods)
    assert 0 <= rois[0].xmin < rois[0].xmax <= 1
    assert 0 <= rois[0].ymin < rois[0].ymax <= 1
    assert moods[0].expression in ("angry", "disgusted", "scared", "happy", "sad", "surprised", "neutral")
    assert -1 <= moods[0].valence <= 1
    assert node.trigger_deactivate().name == "SUCCESS"
    assert "errors" not in node.health.counts()


@needs_hri
def test_live_speech_and_the_robots_own_expression(graph: Any) -> None:
    from hri_msgs.msg import Expression, LiveSpeech

    shown = graph.hear(Expression, "/robot_face/expression")
    node = graph.up(graph.start(ExpressionNode, ros4hri__enabled=True, speech__type="live_speech"))
    said = graph.talk(LiveSpeech, "speech")
    said.publish(LiveSpeech(incremental="I a", confidence=0.9))
    said.publish(LiveSpeech(final="I am sad", confidence=0.1))
    said.publish(LiveSpeech(final="I am sad", confidence=0.9))
    graph.until(lambda: sum(v for k, v in node.health.counts().items() if "speech" in k) == 3)
    counts = node.health.counts()
    assert (counts["speech_in"], counts["dropped.speech_empty"], counts["dropped.speech_unsure"]) == (1, 1, 1)
    graph.talk(EmotionScoresArray, "emotion/scores")
    assert graph.until(lambda: shown)[0].expression == "neutral"
