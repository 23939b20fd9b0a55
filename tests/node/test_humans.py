"""ROS4HRI, seen by a client in another process that listens as libhri does; without hri_msgs, what is told."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
from emo_face_msgs.msg import EmotionScoresArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String

from emo_face.core.errors import ConfigError
from emo_face.core.types import Box, Emotion, Face, Person
from emo_face.nodes.expression import ExpressionNode
from emo_face.nodes.hri import provider
from emo_face.nodes.perception import PerceptionNode
from emo_face.ros.clock import stamp_message
from emo_face.ros.images.convert import image_message
from emo_face.ros.messages.convert import scores_message

INSTALLED = all(importlib.util.find_spec(name) is not None for name in ("hri_msgs", "tf2_msgs"))
needs_hri = pytest.mark.skipif(not INSTALLED, reason="needs hri_msgs and tf2_msgs: scripts/setup.sh ros4hri")
LABELS = {"angry", "disgusted", "scared", "happy", "sad", "surprised", "neutral"}
SIZE = (640, 480)


@pytest.fixture
def client(domain: int) -> Iterator[Callable[[], dict[str, Any]]]:
    """Starts the client; gives what it saw last."""
    script = str(Path(__file__).with_name("libhri_client.py"))
    process = subprocess.Popen([sys.executable, script, str(domain)], stdout=subprocess.PIPE, text=True)
    last: list[dict[str, Any]] = [{}]

    def read() -> None:
        for line in process.stdout or ():
            last[0] = json.loads(line)

    threading.Thread(target=read, daemon=True).start()
    yield lambda: last[0]
    process.kill()
    process.wait()


def head(graph: Any) -> Header:
    return Header(stamp=stamp_message(graph.now()), frame_id="camera_optical_frame")


@pytest.mark.skipif(importlib.util.find_spec("hri_msgs") is not None, reason="hri_msgs is installed")
@pytest.mark.parametrize("create", [PerceptionNode, ExpressionNode])
@pytest.mark.parametrize(
    "params", [{"ros4hri__enabled": True}, {"speech__type": "live_speech"}, {"speech__type": "voices"}]
)
def test_without_hri_msgs_the_package_is_named(graph: Any, create: Any, params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="needs hri_msgs: sudo apt-get install"):
        graph.start(create, **params)


class Scene:
    """A perception node and a camera that shows a picture ten times per second."""

    def __init__(self, graph: Any, picture: np.ndarray, **params: Any) -> None:
        self.graph, self.picture, self.blank = graph, picture, np.zeros_like(picture)
        self.node = graph.up(graph.start(PerceptionNode, ros4hri__enabled=True, image_reliability="reliable", **params))
        self.out, self.info = graph.talk(Image, "image", 1), graph.talk(CameraInfo, "camera_info")
        self.shown, self.due = 0, 0.0

    def show(self, picture: np.ndarray | None = None) -> None:
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + 0.1
        self.shown += 1
        header = head(self.graph)
        focal = 554.0  # 60 degrees on 640 px
        k = [focal, 0.0, 320.0, 0.0, focal, 240.0, 0.0, 0.0, 1.0]
        self.info.publish(CameraInfo(header=header, width=SIZE[0], height=SIZE[1], k=k, d=[0.0] * 5))
        self.out.publish(image_message(self.picture if picture is None else picture, header))


def whole(seen: dict[str, Any]) -> bool:
    """Whether the client has everything of three people that does not change; topics come in any order."""
    faces, persons = seen.get("faces", {}), seen.get("persons", {})
    return (
        len(faces) == len(persons) == 3
        and all({"roi", "cropped", "aligned", "landmarks", "expression"} <= set(face) for face in faces.values())
        and all({f"face_{name}", f"gaze_{name}"} <= set(seen["tf"]) for name in faces)
        and sorted(seen["known"]) == sorted(persons)
        and all(_whole_person(name, person, seen) for name, person in persons.items())
    )


def _whole_person(name: str, person: dict[str, Any], seen: dict[str, Any]) -> bool:
    face, body = f"f{name[1:]}", f"b{name[1:]}"
    return (
        (person.get("face_id"), person.get("body_id")) == (face, body)
        and face in seen["faces"]
        and body in seen["bodies"]
        and person.get("anonymous") is True
        and person.get("location_confidence") == 1
        and f"person_{name}" in seen["tf"]
        and [face, 2, name, 1, 1.0] in seen["matches"]
        and [face, 2, body, 3, 1.0] in seen["matches"]
    )


@needs_hri
def test_a_client_like_libhri_sees_people_and_keeps_them(
    graph: Any, client: Callable[[], dict[str, Any]], assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMO_FACE_MODELS", str(assets))
    picture = cv2.resize(cv2.imread(str(assets / "images" / "people" / "apollo11_pilots.jpg")), SIZE)
    scene = Scene(graph, picture, track__memory=3.0)
    graph.until(lambda: scene.show() or whole(client()), seconds=90)
    seen = client()
    for face_id, face in seen["faces"].items():
        left, top, right, bottom, _ = face["roi"]
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
        for name in ("cropped", "aligned"):
            assert (face[name]["size"], face[name]["encoding"]) == ([128, 128], "bgr8")
            assert face[name]["mean"] > 30
        assert face["landmarks"]["all"] == 70
        assert set(face["landmarks"]["found"]) == {"68", "69", "30", "48", "54"}
        right_eye, left_eye, nose = (face["landmarks"]["found"][i] for i in ("68", "69", "30"))
        assert left < right_eye[0] < left_eye[0] < right
        assert top < right_eye[1] < nose[1] < bottom
        assert face["expression"]["expression"] in LABELS
        if "facs" in face:  # MediaPipe is installed
            assert all(-1e-6 <= unit <= 1 + 1e-6 for unit in face["facs"]["intensity"])
            assert set(face["facs"]["confidence"]) > {0.0}
        pose, gaze = seen["tf"][f"face_{face_id}"], seen["tf"][f"gaze_{face_id}"]
        assert pose["parent"] == "camera_optical_frame"
        x, _, z = pose["values"][:3]
        middle = (right_eye[0] + left_eye[0]) / 2 * SIZE[0]
        assert x / z == pytest.approx((middle - 320) / 554, abs=0.03)
        assert 0.3 < z < 5
        # as hri_face_detect: quaternion_from_euler(-pi / 2, 0, -pi / 2); a face towards the camera is the inverse
        assert gaze["parent"] == f"face_{face_id}"
        assert gaze["values"] == pytest.approx([0, 0, 0, -0.5, 0.5, -0.5, 0.5])
        assert abs(np.dot(pose["values"][3:], [0.5, 0.5, -0.5, 0.5])) > 0.9  # within 52 degrees
    units = [face["facs"]["intensity"] for face in seen["faces"].values() if "facs" in face]
    assert not units or max(unit[12] for unit in units) > 0.1  # lip corner puller: they smile

    # a detector that misses everybody in two of five frames; how long they are held is a unit test's
    monkeypatch.setattr(provider, "HOLD", 3.0)
    start = scene.shown
    graph.until(
        lambda: scene.show(scene.blank if scene.shown % 5 < 2 else None) or scene.shown - start > 25, seconds=60
    )
    assert client()["lost"].get("faces", 0) == 0
    assert client()["lost"].get("persons", 0) == 0

    monkeypatch.setattr(provider, "HOLD", 0.5)
    said, heard, scores = graph.talk(String, "speech"), [0.0], graph.hear(EmotionScoresArray, "emotion/scores")
    face = next(iter(client()["faces"].values()))["roi"]
    alone = np.zeros_like(picture)  # words belong to somebody who is alone, or whose mouth moves
    left, right = (round(SIZE[0] * side) for side in (1.5 * face[0] - 0.5 * face[2], 1.5 * face[2] - 0.5 * face[0]))
    alone[:, max(0, left) : right] = picture[:, max(0, left) : right]
    graph.until(lambda: scene.show(alone) or (scores and len(scores[-1].people) == 1), seconds=30)

    def voiced() -> bool:
        if graph.now() - heard[-1] > 3.0:  # a busy client hears only the next time: words wait a second for listeners
            heard.append(graph.now())
            said.publish(String(data="What a wonderful day!"))
        scene.show(alone)
        speakers = [person["voice_id"] for person in client()["persons"].values() if person.get("voice_id")]
        return speakers == [v for v, voice in client()["voices"].items() if voice.get("speech")] != []

    graph.until(voiced, seconds=30)
    assert [voice["speech"] for voice in client()["voices"].values()] == ["What a wonderful day!"]

    def gone() -> bool:
        scene.show(scene.blank)
        ended = any(match[-1] == 0 for match in client()["matches"])  # REP-155: no longer associated
        return ended and not client()["faces"] and not client()["persons"]

    graph.until(gone, seconds=30)
    assert scene.node.trigger_deactivate().name == "SUCCESS"
    assert "errors" not in scene.node.health.counts()


@needs_hri
def test_faces_of_another_detector_are_answered_under_its_ids(
    graph: Any, client: Callable[[], dict[str, Any]], assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As hri_face_detect publishes: ids of five letters, 128 x 128 bgr8 in a black square, depth 1."""
    from hri_msgs.msg import IdsList, IdsMatch, LiveSpeech, NormalizedRegionOfInterest2D

    monkeypatch.setenv("EMO_FACE_MODELS", str(assets))
    heard = graph.hear(EmotionScoresArray, "emotion/scores")
    params = {"ros4hri__enabled": True, "ros4hri__faces": "consume", "speech__type": "voices"}
    node = graph.up(graph.start(PerceptionNode, **params))
    picture = cv2.imread(str(assets / "images" / "people" / "apollo11_pilots.jpg"))
    width = picture.shape[1] // 3
    square = np.zeros((128, 128, 3), np.uint8)
    square[:, 14:114] = cv2.resize(picture[:, :width], (100, 128))
    out = {
        name: graph.helper.create_publisher(kind, f"/humans/faces/{name}", 1)
        for name, kind in (
            ("tracked", IdsList),
            ("qwert/cropped", Image),
            ("qwert/roi", NormalizedRegionOfInterest2D),
            ("asdfg/cropped", Image),
        )
    }
    info = graph.talk(CameraInfo, "camera_info")
    due = [0.0]

    def show() -> bool:
        if time.monotonic() > due[0]:
            due[0] = time.monotonic() + 0.1
            header = head(graph)
            info.publish(CameraInfo(header=header, width=1000, height=500))
            # the last as in hri_engagement's recordings, which is no topic of ROS 2
            out["tracked"].publish(IdsList(header=header, ids=["qwert", "asdfg", "61564"]))
            roi = NormalizedRegionOfInterest2D(header=header, xmin=0.1, ymin=0.2, xmax=0.2, ymax=0.4, c=0.9)
            out["qwert/roi"].publish(roi)
            out["qwert/cropped"].publish(image_message(square, header))
            out["asdfg/cropped"].publish(image_message(np.zeros_like(square), header))
        faces = client().get("faces", {})
        done = heard and len(heard[-1].people) == 2 and heard[-1].people[1].face.width
        return bool(done and "expression" in faces.get("qwert", {}))

    graph.until(show, seconds=60)
    dark, known = heard[-1].people
    assert (dark.person_id, known.person_id) == ("asdfg", "qwert")
    assert (dark.top, dark.quality) == ("", 0.0)
    assert known.quality > 0
    assert (known.face.x_offset, known.face.y_offset, known.face.width, known.face.height) == (100, 100, 100, 100)
    assert client()["faces"]["qwert"]["expression"]["expression"] in LABELS | {""}
    assert "expression" not in client()["faces"]["asdfg"]  # no evidence, no expression
    publishers = graph.helper.get_publisher_names_and_types_by_node("perception", "/")
    assert "/humans/faces/tracked" not in {name for name, _ in publishers}

    # a voice that a recogniser of voices takes for Alice, whose face a recogniser of faces takes qwert for
    voices, words = graph.talk(IdsList, "/humans/voices/tracked"), "/humans/voices/vwxyz/speech"
    matches, last = graph.talk(IdsMatch, "/humans/candidate_matches"), [0.0]
    voices.publish(IdsList(ids=["vwxyz"]))
    said = graph.talk(LiveSpeech, words)

    def told() -> bool:
        show()
        if graph.now() - last[0] > 1.0:
            last[0] = graph.now()
            voice, face = IdsMatch.VOICE, IdsMatch.FACE
            for one, kind, sure in (("vwxyz", voice, 0.9), ("qwert", face, 0.8), ("asdfg", face, 0.3)):
                matches.publish(IdsMatch(id1=one, id1_type=kind, id2="alice", id2_type=1, confidence=sure))
            said.publish(LiveSpeech(header=head(graph), final="What a wonderful day!", confidence=0.9))
        return [one.words.text for one in heard[-1].people] == ["", "What a wonderful day!"]

    graph.until(told, seconds=30)
    assert heard[-1].people[1].words.attribution == pytest.approx(0.8)
    out["tracked"].publish(IdsList(header=head(graph), ids=[]))
    graph.until(lambda: not client()["faces"])
    assert node.health.counts()["dropped.bad_id"] > 0
    assert "errors" not in node.health.counts()


@needs_hri
def test_the_robots_face_is_never_angry_at_people_who_cannot_be_read(
    graph: Any, client: Callable[[], dict[str, Any]]
) -> None:
    node = graph.up(graph.start(ExpressionNode, ros4hri__enabled=True))
    out = graph.talk(EmotionScoresArray, "emotion/scores")
    flat = Emotion("basic7", np.full(7, 1 / 7), np.zeros(7, bool), -0.17, 0.35, {"face": 0.1}, 0.0)
    person = Person("p00001", 0.9, Box(100, 100, 80, 80), Face(Box(100, 100, 80, 80), 0.9))

    def show() -> bool:
        msg = scores_message([person], [flat], header=head(graph), size=SIZE, model="test", latency=0.0)
        assert (msg.people[0].top, msg.people[0].valence, msg.people[0].arousal) == ("", 0.0, 0.0)
        assert not msg.people[0].evidence
        out.publish(msg)
        return len(client().get("robot", [])) > 10

    graph.until(show, seconds=30)
    assert set(client()["robot"]) == {"neutral"}
    assert "errors" not in node.health.counts()


@needs_hri
def test_live_speech_is_heard(graph: Any) -> None:
    from hri_msgs.msg import LiveSpeech

    node = graph.up(graph.start(ExpressionNode, ros4hri__enabled=True, speech__type="live_speech"))
    said = graph.talk(LiveSpeech, "speech")
    said.publish(LiveSpeech(incremental="I a", confidence=0.9))
    said.publish(LiveSpeech(final="I am sad", confidence=0.1))
    said.publish(LiveSpeech(final="I am sad", confidence=0.9))
    graph.until(lambda: sum(v for k, v in node.health.counts().items() if "speech" in k) == 3)
    counts = node.health.counts()
    assert (counts["speech_in"], counts["dropped.speech_partial"], counts["dropped.speech_unsure"]) == (1, 1, 1)
