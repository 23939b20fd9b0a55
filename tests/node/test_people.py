"""Two real perception nodes with a camera each, and the people node that makes one list of what they see."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
from emo_face_msgs.msg import EmotionScoresArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from emo_face.nodes.people import PeopleNode
from emo_face.nodes.perception import PerceptionNode
from emo_face.ros.clock import stamp_message
from emo_face.ros.images.convert import image_message

INPUTS = ["perception/scores", "door/emotion/scores"]
NARROW = 0.7
"""Share of the picture that the second camera sees: it stands where the first does and has a narrower lens."""


@pytest.fixture(scope="module")
def pilots(assets: Path) -> np.ndarray:
    """Three people."""
    return cv2.resize(cv2.imread(str(assets / "images" / "people" / "apollo11_pilots.jpg")), (640, 480))


def middle(picture: np.ndarray) -> np.ndarray:
    """What a camera of the narrower lens sees."""
    height, width = picture.shape[:2]
    high, wide = round(height * NARROW), round(width * NARROW)
    top, left = (height - high) // 2, (width - wide) // 2
    return cv2.resize(picture[top : top + high, left : left + wide], (width, height))


class Cameras:
    """Shows pictures to both perception nodes and hears the one list."""

    def __init__(self, graph: Any, monkeypatch: pytest.MonkeyPatch, assets: Path, **people: Any) -> None:
        monkeypatch.setenv("EMO_FACE_MODELS", str(assets))
        self.graph = graph
        self.lists = graph.hear(EmotionScoresArray, "emotion/scores")
        self.people = graph.up(graph.start(PeopleNode, inputs=INPUTS, **people))
        settings = {"image_reliability": "best_effort", "max_age": 5.0, "track__min_hits": 1}
        own, door = {"emotion/scores": INPUTS[0]}, {"__ns": "/door", "image": "/door/image", "speech": "/speech"}
        for rules in (own, door):
            graph.up(graph.start(PerceptionNode, remap=rules, **settings))
        self.own, self.door = graph.talk(Image, "image"), graph.talk(Image, "door/image")
        self.first, self.second = (graph.hear(EmotionScoresArray, topic) for topic in INPUTS)
        self.shown = 0.0

    def both(self) -> bool:
        """Whether the last list knows three people of each camera."""
        return sorted(camera for camera, _ in self.people._merger._names) == [0, 0, 0, 1, 1, 1]

    def show(self, own: np.ndarray, door: np.ndarray, wanted: Callable[[Any], Any]) -> EmotionScoresArray:
        """Both pictures again and again, until a list is as it is ``wanted``."""

        def came() -> bool:
            now = time.monotonic()
            if now - self.shown > 0.3:
                self.shown = now
                for out, picture in ((self.door, door), (self.own, own)):
                    out.publish(
                        image_message(picture, Header(stamp=stamp_message(self.graph.now()), frame_id="camera"))
                    )
            return bool(self.lists and wanted(self.lists[-1]))

        self.graph.until(came, 60.0, why=f"{[p.person_id for p in self.lists[-1].people] if self.lists else 'no list'}")
        return self.lists[-1]


def test_people_in_both_views_are_one_list(graph: Any, monkeypatch: Any, assets: Path, pilots: np.ndarray) -> None:
    narrow = math.degrees(2 * math.atan(NARROW * math.tan(math.radians(30.0))))
    places = ["0 0 1.2 0 0 60", f"0 0 1.2 0 0 {narrow}"]
    cameras = Cameras(graph, monkeypatch, assets, places=places, max_age=10.0)
    cameras.show(pilots, np.zeros_like(pilots), lambda msg: len(msg.people) == 3)  # who sees them first gives the name
    seen = cameras.show(pilots, middle(pilots), lambda msg: len(msg.people) == 3 and cameras.both())
    assert all(person.person_id.startswith("p") for person in seen.people)
    assert (seen.width, seen.height) == (640, 480)
    # the first camera goes blind: nobody gets another name, and what the second one sees is on the first one's picture
    faces = {person.person_id: person.face for person in seen.people if person.face.width}
    blind = cameras.show(
        np.zeros_like(pilots),
        middle(pilots),
        lambda msg: msg.people and not cameras.first[-1].people and msg.header.stamp == cameras.first[-1].header.stamp,
    )
    assert {person.person_id for person in blind.people} <= set(faces)
    for person in blind.people:
        assert abs(person.face.x_offset - faces[person.person_id].x_offset) < 40


def test_without_places_everybody_counts_once_a_camera_and_words_once(
    graph: Any, monkeypatch: Any, assets: Path, pilots: np.ndarray
) -> None:
    cameras = Cameras(graph, monkeypatch, assets, max_age=10.0)
    speech = graph.talk(String, "speech", readers=2)
    seen = cameras.show(pilots, pilots, lambda msg: len(msg.people) == 6)
    own, door = ([p for p in seen.people if p.person_id.startswith("door_") is far] for far in (False, True))
    assert len(own) == len(door) == 3
    assert all(person.face.width or person.body.width for person in own)
    assert not any(person.face.width or person.body.width for person in door), "no box of another picture"
    speech.publish(String(data="Help! I am so scared, there is somebody at the door!"))
    empty = np.zeros_like(pilots)
    told = cameras.show(empty, empty, lambda msg: bool(msg.room))
    assert told.room[0].top == "Fear"


@pytest.mark.parametrize(
    ("places", "text"),
    [
        (["0 0 1 0 0"], "one for each of inputs"),
        (["0 0 1 0 0", ""], "expected `x y z yaw pitch fov`"),
        (["tf", ""], "expected `x y z yaw pitch fov`"),
    ],
)
def test_a_wrong_place_is_named(graph: Any, places: list[str], text: str) -> None:
    node = graph.start(PeopleNode, inputs=INPUTS, places=places)
    assert node.trigger_configure().name != "SUCCESS"
    assert text in node.health.report("", 0.0).message
