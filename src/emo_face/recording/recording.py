"""What happened during a run, read from its recording: the one source of the video, the page and the figures."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_face.core.arkit import ARKIT_52
from emo_face.core.errors import UserError
from emo_face.core.types import Box, Emotion, Face, Person
from emo_face.recording.read import read_bag, topics

log = logging.getLogger(__name__)

PICTURE, RAW = "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/Image"
OTHER_TRANSPORTS = ("/compressedDepth", "/zstd")
"""Ends of the topics of image_transport's plugins that use the same type for what is no JPEG, PNG or TIFF."""
DISTANCES = re.compile("depth|disparity|infra", re.IGNORECASE)
KINDS = {
    "emo_face_msgs/msg/EmotionScoresArray": "",
    "emo_face_msgs/msg/FaceExpression": "",
    "sensor_msgs/msg/JointState": "blendshapes",
    "std_msgs/msg/String": "speech",
    "diagnostic_msgs/msg/DiagnosticArray": "",
}
"""Types that a report is made of, besides pictures, and what the topic's name must hold: robots have other joints."""


@dataclass(frozen=True)
class Scores:
    """One ``/emotion/scores`` message. ``stamp`` and ``latency`` in seconds."""

    stamp: float
    latency: float
    people: tuple[Person, ...]
    emotions: tuple[Emotion, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """One ``/face/expression`` message: what the person feels, and what the face shows."""

    stamp: float
    latency: float
    person_id: str
    person_emotion: str
    confidence: float
    shown: str
    strength: float
    intensity: float
    source: str
    text: str


@dataclass
class Recording:
    """Everything of one bag, in the order of time; all times in seconds of the recorded clock."""

    frames: list[tuple[float, bytes]] = field(default_factory=list)
    scores: list[Scores] = field(default_factory=list)
    expressions: list[Shown] = field(default_factory=list)
    blendshapes: list[tuple[float, NDArray[np.float32]]] = field(default_factory=list)
    speech: list[tuple[float, str]] = field(default_factory=list)
    diagnostics: dict[str, list[tuple[float, dict[str, str]]]] = field(default_factory=dict)
    model: str = ""

    @property
    def start(self) -> float:
        """Stamp of the first frame or, without frames, of the first score."""
        stamps = [self.frames[0][0]] if self.frames else [s.stamp for s in self.scores[:1]]
        if not stamps:
            raise UserError(
                "the recording holds neither images nor scores: did the camera open? `emo-face doctor` checks it"
            )
        return stamps[0]

    def latest_diagnostics(self, name: str) -> dict[str, str]:
        """Last key-values of the status called ``name`` (a node's name); empty when it never spoke."""
        entries = self.diagnostics.get(name, [])
        return entries[-1][1] if entries else {}


def load(path: Path, encode: Callable[[Any], bytes] | None = None) -> Recording:
    """Read a recording, of all topics only those that a report needs.

    Args:
        encode: makes a JPEG of a raw ``sensor_msgs/Image`` and raises ValueError for one that is no picture; without
            it raw pictures are not read.

    Raises:
        UserError: the file is missing, not a bag, or holds neither pictures nor scores; says what it holds.
    """
    recording = Recording()
    there = topics(path)
    camera = camera_topic(there, encode is not None)
    faults: list[str] = []

    def wanted(topic: str, kind: str) -> bool:
        return topic == camera if kind in (PICTURE, RAW) else kind in KINDS and KINDS[kind] in topic

    for topic, stamp_ns, message in read_bag(path, wanted):
        try:
            _take(recording, topic, stamp_ns * 1e-9, message, encode)
        except ValueError as error:
            faults.append(str(error))
    recording.frames.sort(key=lambda frame: frame[0])
    recording.scores.sort(key=lambda s: s.stamp)
    if faults:
        log.warning("%d messages were left out, the first because of %s", len(faults), faults[0])
    if not recording.frames and not recording.scores:
        raise UserError(f"{path} holds neither pictures nor scores: {_inventory(there)}")
    return recording


def camera_topic(there: Mapping[str, tuple[str, int]], raw: bool = False) -> str:
    """The topic with the most pictures, compressed ones first, ``raw`` ones if asked for; empty without one."""
    for kind in (PICTURE, RAW) if raw else (PICTURE,):
        found = {t: n for t, (k, n) in there.items() if k == kind and n and not t.endswith(OTHER_TRANSPORTS)}
        if found:
            return max(found, key=lambda topic: (not DISTANCES.search(topic), found[topic]))
    return ""


def _inventory(there: Mapping[str, tuple[str, int]]) -> str:
    return f"it has {', '.join(f'{t} ({kind})' for t, (kind, _) in list(there.items())[:6]) or 'no topic'}"


def _take(
    recording: Recording, topic: str, received: float, message: Any, encode: Callable[[Any], bytes] | None
) -> None:
    kind = message.__msgtype__
    if kind in (PICTURE, RAW):
        picture = bytes(message.data) if encode is None or kind == PICTURE else encode(message)
        recording.frames.append((_seconds(message.header.stamp) or received, picture))  # some drivers leave it zero
    elif kind == "emo_face_msgs/msg/EmotionScoresArray":
        recording.scores.append(_scores(message))
        recording.model = message.model or recording.model
    elif kind == "emo_face_msgs/msg/FaceExpression":
        recording.expressions.append(_shown(message))
    elif kind == "sensor_msgs/msg/JointState":
        recording.blendshapes.append((received, _arkit(message.name, message.position)))
    elif kind == "std_msgs/msg/String":
        recording.speech.append((received, message.data))
    elif kind == "diagnostic_msgs/msg/DiagnosticArray":
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            recording.diagnostics.setdefault(status.name.split(":")[0].strip("/ "), []).append((received, values))


def _seconds(stamp: Any) -> float:
    return float(stamp.sec) + float(stamp.nanosec) * 1e-9


def _scores(message: Any) -> Scores:
    return Scores(
        stamp=_seconds(message.header.stamp),
        latency=_seconds(message.latency),
        people=tuple(_person(entry) for entry in message.people),
        emotions=tuple(_emotion(entry) for entry in message.people),
        labels=tuple(message.people[0].labels) if message.people else (),
    )


def _person(entry: Any) -> Person:
    face = _box(entry.face)
    return Person(
        person_id=entry.person_id,
        score=1.0,
        body=_box(entry.body),
        face=None if face is None else Face(box=face, score=1.0),
    )


def _box(roi: Any) -> Box | None:
    return Box(roi.x_offset, roi.y_offset, roi.width, roi.height) if roi.width and roi.height else None


def _emotion(entry: Any) -> Emotion:
    return Emotion(
        label_set=entry.label_set,
        probabilities=np.asarray(entry.probabilities, np.float32),
        active=np.asarray(entry.active, bool),
        valence=float(entry.valence),
        arousal=float(entry.arousal),
        evidence={e.source: float(e.share) for e in entry.evidence},
        quality=float(entry.quality),
    )


def _shown(message: Any) -> Shown:
    return Shown(
        stamp=_seconds(message.header.stamp),
        latency=_seconds(message.latency),
        person_id=message.person_id,
        person_emotion=message.person_emotion,
        confidence=float(message.confidence),
        shown=message.shown,
        strength=float(message.strength),
        intensity=float(message.intensity),
        source=message.source,
        text=message.text,
    )


def _arkit(names: Iterable[str], positions: Iterable[float]) -> NDArray[np.float32]:
    given = dict(zip(names, positions, strict=False))
    return np.array([given.get(name, 0.0) for name in ARKIT_52], np.float32)
