"""People node: the scores of several cameras in, one list of people out; started only with more than one camera.

Each camera has a perception node of its own. The list comes at the pace of the first camera, the robot's own, or of
the next one that still gives scores if the first does not; what the others saw last is in it while it is fresh.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from emo_face_msgs.msg import EmotionScoresArray
from rclpy.time import Time
from std_msgs.msg import Header

from emo_face.core.errors import ConfigError
from emo_face.core.types import Emotion
from emo_face.nodes.face.look_at import rotated
from emo_face.nodes.hri.installed import tf_buffer
from emo_face.perception.space.merge import CameraPlace, CameraView, PeopleMerger, Scored, as_seen_by_first
from emo_face.ros import qos
from emo_face.ros.clock import seconds
from emo_face.ros.diagnostics import WARN
from emo_face.ros.lifecycle import EmoNode
from emo_face.ros.messages.convert import MessageError, read_scores, scores_message
from emo_face.ros.parameters.schema import Value
from emo_face.ros.run import run

PLACE = "`x y z yaw pitch fov` (m and degrees), `tf fov`, or nothing"


@dataclass(frozen=True)
class Given:
    """The newest scores of one camera, read."""

    stamp: float
    header: Header
    size: tuple[int, int]
    people: tuple[Scored, ...]
    room: Emotion | None
    model: str


class PeopleNode(EmoNode):
    """Wires :class:`emo_face.perception.space.merge.PeopleMerger` to ROS."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("people", **kwargs)
        self._topics: list[str] = list(self.params["inputs"])
        self._given: list[Given | None] = [None] * len(self._topics)
        self._merger = PeopleMerger(self.params["apart"])
        self._places: list[list[float] | float | None] = []
        self._tf: Any = None
        self._out = self.publisher(EmotionScoresArray, "emotion/scores", qos.reliable(5))
        for number, topic in enumerate(self._topics):
            self.subscription(EmotionScoresArray, topic, partial(self._on_scores, number), qos.reliable())
            self.watch_input(topic, topic, self.params["input_timeout"])

    def configure(self) -> None:
        """Read where the cameras stand. Raises ConfigError naming the one that is wrong, or that tf2_ros is missing."""
        texts = [text for text in self.params["places"] if text] and list(self.params["places"])
        texts = texts or [""] * len(self._topics)
        if len(texts) != len(self._topics):
            raise ConfigError(f"places: expected {len(self._topics)}, one for each of inputs, got {len(texts)}")
        self._places = [place_of(text) for text in texts]
        if self._tf is None and any(isinstance(place, float) for place in self._places):
            try:
                self._tf = tf_buffer(self)
            except LookupError as error:
                raise ConfigError(f"places: {error}") from None

    def activate(self) -> None:
        """Start with nobody known."""
        self._merger.clear()
        self._given = [None] * len(self._topics)

    def clock_jumped(self) -> None:
        """Forget what was seen."""
        self.activate()

    def apply_parameters(self, values: Mapping[str, Value], changed: frozenset[str]) -> None:
        """Take over how closely lines of sight pass each other."""
        self._merger.apart = float(values["apart"])  # type: ignore[arg-type]

    def _on_scores(self, number: int, msg: EmotionScoresArray) -> None:
        if not self.running:
            return
        self.health.tick(self._topics[number], time.monotonic())
        try:
            people = tuple(read_scores(entry) for entry in msg.people)
            room = read_scores(msg.room[0])[1] if msg.room else None
        except MessageError as error:
            self.drop("bad_scores", f"scores of {self._topics[number]} not used: {error}")
            return
        size = (int(msg.width), int(msg.height))
        self._given[number] = Given(seconds(msg.header.stamp), msg.header, size, people, room, msg.model)
        now, patience = self.clock.now(), float(self.params["max_age"])
        fresh = [k for k, given in enumerate(self._given) if given is not None and abs(now - given.stamp) <= patience]
        if number not in fresh:
            self.drop("stale", f"scores of {self._topics[number]} are over max_age ({patience:g} s) from now: raise it")
        elif number == fresh[0]:
            self._publish(fresh, now)

    def _publish(self, fresh: list[int], now: float) -> None:
        """The list of what the cameras ``fresh`` show; the first sets the time."""
        views = [self._view(number, number in fresh) for number in range(len(self._topics))]
        merged = [as_seen_by_first(someone, views) for someone in self._merger.merge(views)]
        lead = self._given[fresh[0]]
        assert lead is not None
        latency, own = max(now - lead.stamp, 0.0), self._given[0]
        frame = own.header.frame_id if own is not None else lead.header.frame_id  # whose picture the boxes are in
        self._out.publish(
            scores_message(
                [person for person, _ in merged],
                [emotion for _, emotion in merged],
                header=Header(stamp=lead.header.stamp, frame_id=frame),
                size=views[0].size,
                model=lead.model,
                latency=latency,
                room=self._room(fresh, merged),
            )
        )
        self.health.tick("scores", time.monotonic())
        self.health.latency("latency", latency)
        cameras = ", ".join(self._topics[number] for number in fresh)
        self.health.facts({"persons": len(merged), "cameras": cameras})

    def _room(self, fresh: list[int], merged: list[Scored]) -> Emotion | None:
        """Words of nobody in view: of the first camera that has them, unless another saw who said them."""
        said = {emotion.words.text for _, emotion in merged if emotion.words is not None}
        for number in fresh:
            given = self._given[number]
            if given is not None and given.room is not None:
                words = given.room.words
                return None if words is not None and words.text in said else given.room
        return None

    def _view(self, number: int, fresh: bool) -> CameraView:
        given, name = self._given[number], self._topics[number].strip("/").split("/")[0]
        if given is None:
            return CameraView(name, (), (0, 0))
        return CameraView(name, given.people if fresh else (), given.size, self._place(number, given.header.frame_id))

    def _place(self, number: int, frame: str) -> CameraPlace | None:
        place = self._places[number]
        if not isinstance(place, float):
            return None if place is None else CameraPlace.looking(*place)
        try:
            found = self._tf.lookup_transform(self.params["frame"], frame, Time()).transform
        except Exception as error:  # tf2's exceptions are classes of a C module
            self.report_problem(f"tf {frame}", WARN, f"{self._topics[number]} is not placed: {error}", hold=5.0)
            return None
        t, q = found.translation, found.rotation
        turn = np.stack([rotated(axis, np.array([q.x, q.y, q.z]), q.w) for axis in np.eye(3)], axis=1)
        return replace(CameraPlace.looking(0, 0, 0, 0, 0, place), position=np.array([t.x, t.y, t.z]), rotation=turn)


def place_of(text: str) -> list[float] | float | None:
    """Six numbers, the field of view for tf, or None. Raises ConfigError."""
    words = text.split()
    if not words:
        return None
    try:
        numbers = [float(word) for word in words[words[0] == "tf" :]]
    except ValueError:
        numbers = []
    if len(numbers) != (1 if words[0] == "tf" else 6) or not 0 < numbers[-1] < 180 or not np.isfinite(numbers).all():
        raise ConfigError(f"places: expected {PLACE}, got {text!r}")
    return numbers[0] if words[0] == "tf" else numbers


def main() -> int:
    """Run the node as a process."""
    return run(PeopleNode)


if __name__ == "__main__":
    raise SystemExit(main())
