"""Our data <-> our messages: emotion scores and expression targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from emo_face_msgs.msg import EmotionScores, EmotionScoresArray, Evidence, FaceExpression
from sensor_msgs.msg import RegionOfInterest

from emo_face.core.arkit import ARKIT_52
from emo_face.core.labels import label_set
from emo_face.core.types import Box, Emotion, ExpressionTarget, Face, Person
from emo_face.ros.clock import duration_message, duration_seconds, seconds, stamp_message


class MessageError(ValueError):
    """A message that cannot be used: names the field, expected and got."""


def region(box: Box | None, width: int, height: int) -> RegionOfInterest:
    """Box in pixels, cut to the image; width = height = 0 where there is none."""
    if box is None:
        return RegionOfInterest()
    left, top = (min(max(round(v), 0), limit) for v, limit in ((box.x, width), (box.y, height)))
    right, bottom = (min(max(round(v), 0), limit) for v, limit in ((box.right, width), (box.bottom, height)))
    return RegionOfInterest(x_offset=left, y_offset=top, width=max(right - left, 0), height=max(bottom - top, 0))


def box_of(roi: RegionOfInterest) -> Box | None:
    """Box of a region; None where it is empty."""
    if not roi.width or not roi.height:
        return None
    return Box(float(roi.x_offset), float(roi.y_offset), float(roi.width), float(roi.height))


def scores_message(
    people: Sequence[Person],
    emotions: Sequence[Emotion],
    *,
    header: Any,
    size: tuple[int, int],
    model: str,
    latency: float,
) -> EmotionScoresArray:
    """Scores of everybody in a frame.

    Args:
        header: of the source image, copied as it is. size: (width, height) of it, pixels.
        latency: seconds from ``header.stamp`` to now.
    """
    width, height = size
    entries = [_scores(person, emotion, width, height) for person, emotion in zip(people, emotions, strict=True)]
    return EmotionScoresArray(
        header=header, width=width, height=height, people=entries, model=model, latency=duration_message(latency)
    )


def _scores(person: Person, emotion: Emotion, width: int, height: int) -> EmotionScores:
    labels = label_set(emotion.label_set).labels
    return EmotionScores(
        person_id=person.person_id,
        body=region(person.body, width, height),
        face=region(person.face.box if person.face else None, width, height),
        label_set=emotion.label_set,
        labels=list(labels),
        probabilities=_floats(emotion.probabilities),
        active=[bool(a) for a in emotion.active],
        top=labels[int(np.argmax(emotion.probabilities))],
        valence=float(emotion.valence),
        arousal=float(emotion.arousal),
        evidence=[Evidence(source=name, share=float(share)) for name, share in sorted(emotion.evidence.items())],
        arkit=_floats([] if emotion.arkit is None else emotion.arkit),
        quality=float(emotion.quality),
    )


def _floats(values: Any) -> Any:
    return np.asarray(values, np.float32)


def read_scores(msg: EmotionScores) -> tuple[Person, Emotion]:
    """Person and emotion of one entry.

    Raises:
        MessageError: an unknown label set, a wrong number of probabilities, or one that is no probability.
    """
    try:
        labels = label_set(msg.label_set)
    except KeyError as error:
        raise MessageError(f"label_set: {error.args[0]}") from None
    probabilities = np.asarray(msg.probabilities, np.float64)
    if probabilities.shape != (len(labels),):
        raise MessageError(f"probabilities: expected {len(labels)} for {labels.name}, got {probabilities.size}")
    if not np.isfinite(probabilities).all() or (probabilities < -1e-6).any() or (probabilities > 1 + 1e-6).any():
        raise MessageError(f"probabilities: expected values in [0, 1], got {probabilities.tolist()}")
    face = box_of(msg.face)
    person = Person(msg.person_id, 1.0, box_of(msg.body), Face(face, 1.0) if face else None)
    active = np.array([*msg.active, *[False] * len(labels)][: len(labels)], dtype=bool)
    evidence: Mapping[str, float] = {e.source: float(e.share) for e in msg.evidence}
    valence, arousal, quality = (v if math.isfinite(v) else 0.0 for v in (msg.valence, msg.arousal, msg.quality))
    own = np.asarray(msg.arkit, np.float64)
    arkit = own if own.shape == (len(ARKIT_52),) and np.isfinite(own).all() else None
    return person, Emotion(labels.name, probabilities, active, valence, arousal, evidence, quality, arkit)


def expression_message(target: ExpressionTarget, *, frame_id: str, latency: float) -> FaceExpression:
    """The message of a target; ``latency`` in seconds from its stamp to now."""
    msg = FaceExpression(
        person_id=target.person_id,
        perspective=target.perspective,
        emotion=target.emotion,
        label_set=target.label_set,
        probabilities=_floats(target.probabilities),
        flame_expression=_floats(target.coefficients),
        basis=target.basis,
        jaw_pose=_floats(target.jaw_pose),
        eyelids=_floats(target.eyelids),
        gaze=_floats(target.gaze),
        intensity=float(target.intensity),
        confidence=float(target.confidence),
        valid_for=duration_message(target.valid_for),
        source=target.source,
        text=target.text,
        latency=duration_message(max(latency, 0.0)),
    )
    msg.header.stamp = stamp_message(target.stamp)
    msg.header.frame_id = frame_id
    return msg


def read_expression(msg: FaceExpression) -> ExpressionTarget:
    """The target of a message.

    Raises:
        MessageError: a stamp, duration, coefficient, angle or share that is not finite or negative where it may not be.
    """
    arrays = {
        name: np.asarray(getattr(msg, name), np.float64)
        for name in ("probabilities", "flame_expression", "jaw_pose", "eyelids", "gaze")
    }
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise MessageError(f"{name}: expected finite numbers")
    stamp, valid_for = seconds(msg.header.stamp), duration_seconds(msg.valid_for)
    if not math.isfinite(stamp) or stamp <= 0:
        raise MessageError("header.stamp: expected a time, got zero or an invalid one")
    if valid_for <= 0:
        raise MessageError(f"valid_for: expected more than 0 s, got {valid_for}")
    for name in ("intensity", "confidence"):
        if not 0 <= getattr(msg, name) <= 1 + 1e-6:
            raise MessageError(f"{name}: expected a value in [0, 1], got {getattr(msg, name)}")
    return ExpressionTarget(
        stamp=stamp, person_id=msg.person_id, perspective=msg.perspective, emotion=msg.emotion,
        label_set=msg.label_set, probabilities=arrays["probabilities"], coefficients=arrays["flame_expression"],
        basis=msg.basis, jaw_pose=arrays["jaw_pose"], eyelids=arrays["eyelids"], gaze=arrays["gaze"],
        intensity=float(msg.intensity), confidence=float(msg.confidence), valid_for=valid_for,
        source=msg.source, text=msg.text,
    )  # fmt: skip
