"""Our data <-> our messages: emotion scores and expression targets."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from emo_face_msgs.msg import EmotionScores, EmotionScoresArray, Evidence, FaceExpression, Keyframe, Words
from sensor_msgs.msg import RegionOfInterest

from emo_face.core import types
from emo_face.core.arkit import ARKIT_52
from emo_face.core.labels import fine_top_of, label_set, top_of
from emo_face.core.types import Box, Emotion, ExpressionTarget, Face, Person, Shown, Speech
from emo_face.ros.clock import duration_message, duration_seconds, seconds, stamp_message

MOST_KEYFRAMES = 8


class MessageError(ValueError):
    """A message that cannot be used: names the field, expected and got."""


def region(box: Box | None, width: int, height: int) -> RegionOfInterest:
    """Box in pixels, cut to the image; width = height = 0 if there is none."""
    if box is None:
        return RegionOfInterest()
    left, top = (min(max(round(v), 0), limit) for v, limit in ((box.x, width), (box.y, height)))
    right, bottom = (min(max(round(v), 0), limit) for v, limit in ((box.right, width), (box.bottom, height)))
    return RegionOfInterest(x_offset=left, y_offset=top, width=max(right - left, 0), height=max(bottom - top, 0))


def box_of(roi: RegionOfInterest) -> Box | None:
    """Box of a region; None if it is empty."""
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
    room: Emotion | None = None,
) -> EmotionScoresArray:
    """Scores of everybody in a frame.

    Args:
        header: of the source image, copied as it is. size: (width, height) of it, pixels.
        latency: seconds from ``header.stamp`` to now. room: read from words that nobody in view said.
    """
    width, height = size
    return EmotionScoresArray(
        header=header,
        width=width,
        height=height,
        people=[_scores(person, emotion, width, height) for person, emotion in zip(people, emotions, strict=True)],
        room=[] if room is None else [_scores(Person("", 0.0), room, width, height)],
        model=model,
        latency=duration_message(latency),
    )


def _scores(person: Person, emotion: Emotion, width: int, height: int) -> EmotionScores:
    known = emotion.quality > 0  # NaN is not: no evidence, no label
    fine = label_set(emotion.fine_label_set).labels if known and emotion.fine_probabilities is not None else ()
    evidence = sorted(emotion.evidence.items()) if known else ()
    return EmotionScores(
        person_id=person.person_id,
        body=region(person.body, width, height),
        face=region(person.face.box if person.face else None, width, height),
        label_set=emotion.label_set,
        labels=list(label_set(emotion.label_set).labels),
        probabilities=_probabilities(emotion),
        active=[bool(a) and known for a in emotion.active],
        top=top_of(emotion),
        valence=float(emotion.valence) if known else 0.0,
        arousal=float(emotion.arousal) if known else 0.0,
        fine_label_set=emotion.fine_label_set if fine else "",
        fine_labels=list(fine),
        fine_probabilities=_floats(emotion.fine_probabilities if fine else []),
        fine_top=fine_top_of(emotion),
        evidence=[Evidence(source=name, share=float(share)) for name, share in evidence],
        words=words_message(emotion.words),
        arkit=_floats([] if emotion.arkit is None else emotion.arkit),
        quality=float(emotion.quality) if known else 0.0,
    )


def _probabilities(emotion: Emotion) -> Any:
    """Flat at quality 0, whatever a model says: no evidence, no distribution."""
    given = _floats(emotion.probabilities)
    return given if emotion.quality > 0 else np.full_like(given, given.mean())


def words_message(speech: Speech | None) -> Words:
    """What was said, as a message; an empty one for None."""
    if speech is None:
        return Words()
    return Words(
        stamp=stamp_message(speech.stamp),
        text=speech.text,
        language=speech.locale,
        confidence=float(speech.confidence),
        attribution=float(speech.attribution),
    )


def read_words(msg: Words, speaker: str) -> Speech | None:
    """What was said, or None if nothing was."""
    if not msg.text:
        return None
    trust, sure = (min(max(v, 0.0), 1.0) if math.isfinite(v) else 0.0 for v in (msg.confidence, msg.attribution))
    return Speech(msg.text, seconds(msg.stamp), trust, speaker, msg.language, sure)


def _floats(values: Any) -> Any:
    return np.asarray(values, np.float32)


def read_scores(msg: EmotionScores) -> tuple[Person, Emotion]:
    """Person and emotion of one entry.

    Raises:
        MessageError: an unknown label set, a wrong number of probabilities, or one that is no probability.
    """
    probabilities = _distribution(msg.label_set, msg.probabilities, "")
    size = len(probabilities)
    face = box_of(msg.face)
    person = Person(msg.person_id, 1.0, box_of(msg.body), Face(face, 1.0) if face else None)
    active = np.array([*msg.active, *[False] * size][:size], dtype=bool)
    evidence: Mapping[str, float] = {e.source: float(e.share) for e in msg.evidence}
    valence, arousal, quality = (v if math.isfinite(v) else 0.0 for v in (msg.valence, msg.arousal, msg.quality))
    own = np.asarray(msg.arkit, np.float64)
    arkit = own if own.shape == (len(ARKIT_52),) and np.isfinite(own).all() else None
    fine = _distribution(msg.fine_label_set, msg.fine_probabilities, "fine_") if msg.fine_label_set else None
    words = read_words(msg.words, msg.person_id)
    emotion = Emotion(msg.label_set, probabilities, active, valence, arousal, evidence, quality, arkit)
    return person, replace(emotion, fine_label_set=msg.fine_label_set, fine_probabilities=fine, words=words)


def _distribution(name: str, values: Any, prefix: str) -> Any:
    """Probabilities of a known label set. Raises MessageError naming the field."""
    try:
        labels = label_set(name)
    except KeyError as error:
        raise MessageError(f"{prefix}label_set: {error.args[0]}") from None
    found = np.asarray(values, np.float64)
    if found.shape != (len(labels),):
        raise MessageError(f"{prefix}probabilities: expected {len(labels)} for {labels.name}, got {found.size}")
    if not np.isfinite(found).all() or (found < -1e-6).any() or (found > 1 + 1e-6).any():
        raise MessageError(f"{prefix}probabilities: expected values in [0, 1], got {found.tolist()}")
    return found


def expression_message(target: ExpressionTarget, *, frame_id: str, latency: float) -> FaceExpression:
    """The message of a target; ``latency`` in seconds from its stamp to now."""
    shown, feels = target.shown, target.feels
    msg = FaceExpression(
        perspective=target.perspective,
        person_id=target.person_id,
        confidence=float(target.confidence),
        words=words_message(target.words),
        shown=shown.name,
        strength=float(shown.strength),
        intensity=float(shown.intensity),
        valence=float(shown.valence),
        arousal=float(shown.arousal),
        basis=target.basis,
        start=Time() if target.start is None else stamp_message(target.start),
        keyframes=[_keyframe(pose) for pose in target.keyframes],
        gaze=_floats(target.gaze),
        valid_for=duration_message(target.valid_for),
        source=target.source,
        text=target.text,
        latency=duration_message(max(latency, 0.0)),
    )
    if feels is not None:
        _tell_feelings(msg, feels)
    msg.header.stamp = stamp_message(target.stamp)
    msg.header.frame_id = frame_id
    return msg


def _tell_feelings(msg: FaceExpression, feels: Emotion) -> None:
    msg.person_emotion, msg.label_set = top_of(feels), feels.label_set
    msg.labels, msg.probabilities = list(label_set(feels.label_set).labels), _probabilities(feels)
    if not feels.quality > 0:
        return
    msg.person_valence, msg.person_arousal = float(feels.valence), float(feels.arousal)
    if feels.fine_probabilities is not None:
        msg.fine_emotion, msg.fine_label_set = fine_top_of(feels), feels.fine_label_set
        msg.fine_labels = list(label_set(feels.fine_label_set).labels)
        msg.fine_probabilities = _floats(feels.fine_probabilities)


def _keyframe(pose: types.Keyframe) -> Keyframe:
    return Keyframe(
        offset=duration_message(pose.offset),
        coefficients=_floats(pose.coefficients),
        jaw_pose=_floats(pose.jaw_pose),
        eyelids=_floats(pose.eyelids),
    )


def read_expression(msg: FaceExpression) -> ExpressionTarget:
    """The target of a message.

    Raises:
        MessageError: a stamp, duration, coefficient, angle or share that is not finite or negative where it may not be;
            no keyframe, more than eight, or offsets that fall.
    """
    gaze = np.asarray(msg.gaze, np.float64)
    if not np.isfinite(gaze).all():
        raise MessageError("gaze: expected finite numbers")
    stamp, valid_for = seconds(msg.header.stamp), duration_seconds(msg.valid_for)
    if not math.isfinite(stamp) or stamp <= 0:
        raise MessageError("header.stamp: expected a time, got zero or an invalid one")
    if valid_for <= 0:
        raise MessageError(f"valid_for: expected more than 0 s, got {valid_for}")
    for name in ("confidence", "strength", "intensity"):
        if not 0 <= getattr(msg, name) <= 1 + 1e-6:
            raise MessageError(f"{name}: expected a value in [0, 1], got {getattr(msg, name)}")
    for name in ("valence", "arousal", "person_valence", "person_arousal"):
        if not -1 - 1e-6 <= getattr(msg, name) <= 1 + 1e-6:
            raise MessageError(f"{name}: expected a value in [-1, 1], got {getattr(msg, name)}")
    start = seconds(msg.start)
    return ExpressionTarget(
        stamp=stamp,
        person_id=msg.person_id,
        perspective=msg.perspective,
        feels=_read_feelings(msg),
        shown=Shown(msg.shown, msg.strength, msg.intensity, msg.valence, msg.arousal),
        keyframes=_read_keyframes(msg),
        basis=msg.basis,
        gaze=gaze,
        confidence=float(msg.confidence),
        valid_for=valid_for,
        source=msg.source,
        text=msg.text,
        words=read_words(msg.words, msg.person_id),
        start=start if start > 0 else None,
    )


def _read_feelings(msg: FaceExpression) -> Emotion | None:
    if not msg.label_set:
        return None
    found = _distribution(msg.label_set, msg.probabilities, "")
    fine = _distribution(msg.fine_label_set, msg.fine_probabilities, "fine_") if msg.fine_label_set else None
    active = np.zeros(len(found), dtype=bool)
    quality = float(msg.confidence > 0)
    emotion = Emotion(msg.label_set, found, active, float(msg.person_valence), float(msg.person_arousal), {}, quality)
    return replace(emotion, fine_label_set=msg.fine_label_set, fine_probabilities=fine)


def _read_keyframes(msg: FaceExpression) -> tuple[types.Keyframe, ...]:
    if not 1 <= len(msg.keyframes) <= MOST_KEYFRAMES:
        raise MessageError(f"keyframes: expected 1 to {MOST_KEYFRAMES}, got {len(msg.keyframes)}")
    poses: list[types.Keyframe] = []
    for number, key in enumerate(msg.keyframes):
        arrays = [np.asarray(getattr(key, name), np.float64) for name in ("coefficients", "jaw_pose", "eyelids")]
        if not all(np.isfinite(values).all() for values in arrays):
            raise MessageError(f"keyframes[{number}]: expected finite numbers")
        offset = duration_seconds(key.offset)
        if not (offset >= 0 and (not poses or offset > poses[-1].offset)):
            raise MessageError(f"keyframes[{number}].offset: expected rising from 0 s, got {offset}")
        poses.append(types.Keyframe(offset, *arrays))
    return tuple(poses)
