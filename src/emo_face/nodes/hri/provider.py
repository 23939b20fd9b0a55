"""People as ROS4HRI has them: faces, bodies, persons, voices, their matches, and their frames.

``/humans/{faces,bodies,persons,voices}/tracked`` and what is below them, stamped as the source image. Face, body and
voice of one person have the person's number with ``f``, ``b`` and ``v`` in front: ids as stable as ours. Everybody is
anonymous: nothing here knows who somebody is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Bool, Float32, String

from emo_face.core.types import Emotion, ImageArray, Person, Speech
from emo_face.nodes.hri import faces
from emo_face.nodes.hri.frames import calibration, frames, scaled
from emo_face.nodes.hri.installed import GET, hri_messages, tf_message
from emo_face.nodes.hri.topics import Topics
from emo_face.ros import qos
from emo_face.ros.diagnostics import WARN
from emo_face.ros.images.convert import image_message

HOLD = 0.5
"""Seconds that somebody missed by the detector stays on the lists: a face that leaves them is lost to libhri."""
AGAIN = 1.0
"""Seconds after which a match is published again."""
PATIENCE = 1.0
"""Seconds that words wait for the listeners of a new voice."""
LISTS = ("faces", "bodies", "voices", "persons")


@dataclass(frozen=True)
class Frame:
    """One frame's people. ``now`` in steady seconds; ``pictures``: whether pictures of people may be published."""

    picture: ImageArray
    people: Sequence[Person]
    emotions: Sequence[Emotion]
    header: Any
    now: float
    pictures: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.picture.shape[1], self.picture.shape[0]


class HumansPublisher:
    """Publishes people. Call :meth:`publish`, :meth:`heard` and :meth:`clear` on the executor only.

    Args:
        persons: publish persons too; off if hri_person_manager makes them from the matches.
        voices: publish the voices of those whose words were heard; off if somebody else does.

    Raises:
        ConfigError: hri_msgs is not installed.
    """

    def __init__(self, node: Any, persons: bool = True, voices: bool = True) -> None:
        self._node, self._msgs = node, hri_messages("ros4hri.enabled")
        self._lists = tuple(k for k in LISTS if (k != "persons" or persons) and (k != "voices" or voices))
        self._topics = Topics(node)
        self._seen: dict[str, dict[str, float]] = {kind: {} for kind in self._lists}
        self._matched: dict[tuple[str, int, str, int], float] = {}
        self._unsaid: list[tuple[float, str, Any]] = []
        self._camera: Any = None
        ids = self._msgs.IdsList
        # hri_person_manager's lists are latched; those who ask for that would not hear ones that are not
        self._tracked = {k: node.create_publisher(ids, f"/humans/{k}/tracked", qos.latched()) for k in self._lists}
        self._known = node.create_publisher(ids, "/humans/persons/known", qos.latched()) if persons else None
        self._matches = node.create_publisher(self._msgs.IdsMatch, "/humans/candidate_matches", qos.reliable(20))
        kind = tf_message()
        self._tf = None if kind is None else (kind, node.create_publisher(kind, "/tf", qos.reliable(100)))
        if self._tf is None:
            node.report_problem("tf", WARN, f"no tf of faces: tf2_msgs is missing: {GET.format(package='tf2-msgs')}")
        node.subscription(CameraInfo, "camera_info", self._calibrate, qos.sensor())

    def _calibrate(self, msg: CameraInfo) -> None:
        self._camera = msg

    def publish(self, frame: Frame) -> None:
        """Publish one frame's people."""
        poses: list[Any] = []
        for person, emotion in zip(frame.people, frame.emotions, strict=True):
            poses += self._person(person, emotion, frame)
        if poses and self._tf is not None:
            kind, out = self._tf
            out.publish(kind(transforms=poses))
        self._list(frame.header, frame.now)
        self._say(frame.now)
        self._topics.forget(frame.now)

    def _person(self, person: Person, emotion: Emotion, frame: Frame) -> list[Any]:
        """Publish one person; returns the frames of the face."""
        number, now, poses = person.person_id[1:], frame.now, []
        face_id, body_id = f"f{number}", f"b{number}"
        if person.face is not None:
            self._seen["faces"][face_id] = now
            poses = self._face(person, face_id, emotion, frame)
            self._match(face_id, self._msgs.IdsMatch.FACE, person.person_id, self._msgs.IdsMatch.PERSON, now)
        if person.body is not None:
            self._seen["bodies"][body_id] = now
            roi = faces.roi(self._msgs, person.body, person.score, frame.header, frame.size)
            self._topics.send(f"/humans/bodies/{body_id}/roi", roi, now)
            self._picture(f"/humans/bodies/{body_id}/cropped", lambda: faces.cropped(frame.picture, person.body), frame)
            self._match(body_id, self._msgs.IdsMatch.BODY, person.person_id, self._msgs.IdsMatch.PERSON, now)
        if person.face is not None and person.body is not None:
            self._match(face_id, self._msgs.IdsMatch.FACE, body_id, self._msgs.IdsMatch.BODY, now)
        if "persons" in self._lists:
            self._seen["persons"][person.person_id] = now
            here, space = self._seen, f"/humans/persons/{person.person_id}"
            self._topics.tell(f"{space}/anonymous", Bool(data=True), now)
            self._topics.tell(f"{space}/face_id", String(data=face_id if face_id in here["faces"] else ""), now)
            self._topics.tell(f"{space}/body_id", String(data=body_id if body_id in here["bodies"] else ""), now)
            self._topics.send(f"{space}/location_confidence", Float32(data=float(bool(poses))), now)
        return poses

    def _face(self, person: Person, face_id: str, emotion: Emotion, frame: Frame) -> list[Any]:
        face, space = person.face, f"/humans/faces/{face_id}"
        assert face is not None
        told = {
            "roi": faces.roi(self._msgs, face.box, face.score, frame.header, frame.size),
            "landmarks": faces.landmarks(self._msgs, face, frame.header, frame.size),
            "expression": faces.expression(self._msgs, emotion, frame.header),
        }
        if emotion.arkit is not None:
            told["facs"] = faces.facs(self._msgs, emotion.arkit, emotion.quality, frame.header)
        for name, msg in told.items():
            if msg is not None:
                self._topics.send(f"{space}/{name}", msg, frame.now)
        self._picture(f"{space}/cropped", lambda: faces.cropped(frame.picture, face.box), frame)
        self._picture(f"{space}/aligned", lambda: faces.aligned(frame.picture, face), frame)
        if self._camera is None or self._tf is None:
            return []
        camera = scaled(calibration(self._camera), self._camera, frame.size)
        named = person.person_id if "persons" in self._lists else ""
        return list(frames(face, face_id, named, camera, frame.header))

    def _picture(self, topic: str, cut: Any, frame: Frame) -> None:
        """A picture of somebody, made only for those who look."""
        wanted = self._topics.wanted(topic, Image, frame.now) and frame.pictures
        if wanted and (picture := cut()) is not None:
            self._topics.send(topic, image_message(picture, frame.header), frame.now)

    def heard(self, speech: Speech, person_id: str, header: Any, now: float) -> None:
        """Publish the words of a known person as their voice's, once per utterance."""
        if "voices" not in self._lists:
            return
        voice = f"v{person_id[1:]}"
        self._seen["voices"][voice] = now
        self._list(header, now)
        said = self._msgs.LiveSpeech(header=header, final=speech.text, confidence=float(speech.confidence))
        for name in ("language", "locale"):  # by the release of hri_msgs
            if hasattr(said, name):
                setattr(said, name, speech.locale)
        self._unsaid.append((now + PATIENCE, f"/humans/voices/{voice}/speech", said))
        self._say(now)
        self._match(voice, self._msgs.IdsMatch.VOICE, person_id, self._msgs.IdsMatch.PERSON, now, speech.attribution)
        if "persons" in self._lists:
            self._topics.tell(f"/humans/persons/{person_id}/voice_id", String(data=voice), now)

    def _say(self, now: float) -> None:
        """Publish what was said once the voice has listeners: they come only after it is on the list."""
        for entry in list(self._unsaid):
            until, topic, msg = entry
            if self._topics.wanted(topic, type(msg), now) or now >= until:
                self._topics.send(topic, msg, now)
                self._unsaid.remove(entry)

    def _match(self, id1: str, type1: int, id2: str, type2: int, now: float, sure: float = 1.0) -> None:
        """Publish that two ids belong together: at once, and again every second for who comes later."""
        key = (id1, type1, id2, type2)
        if now - self._matched.get(key, float("-inf")) >= AGAIN:
            self._matched[key] = now
            self._tell_match(key, sure)

    def _tell_match(self, key: tuple[str, int, str, int], confidence: float) -> None:
        id1, type1, id2, type2 = key
        self._matches.publish(
            self._msgs.IdsMatch(id1=id1, id1_type=type1, id2=id2, id2_type=type2, confidence=float(confidence))
        )

    def _list(self, header: Any, now: float) -> None:
        """Publish who is there: all seen within :data:`HOLD` seconds; matches of those who left end."""
        for kind, seen in self._seen.items():
            hold = HOLD if kind != "voices" else 10 * HOLD
            for name in [name for name, at in seen.items() if now - at > hold]:
                del seen[name]
            ids = self._msgs.IdsList(header=header, ids=sorted(seen))
            self._tracked[kind].publish(ids)
            if kind == "persons" and self._known is not None:
                self._known.publish(ids)
        present = {name for seen in self._seen.values() for name in seen}
        for key in [key for key in self._matched if key[0] not in present]:
            self._tell_match(key, 0.0)  # REP-155: they are not associated any more
            del self._matched[key]

    def clear(self) -> None:
        """Say that nobody is there, and destroy the topics of all."""
        self._unsaid.clear()
        for seen in self._seen.values():
            seen.clear()
        header = self._msgs.IdsList().header
        header.stamp = self._node.get_clock().now().to_msg()
        self._list(header, float("inf"))
        self._topics.forget(float("inf"))
