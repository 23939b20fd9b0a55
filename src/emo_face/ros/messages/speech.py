"""What was said, as data: std_msgs/String and hri_msgs/LiveSpeech become clean, bounded utterances or counted drops."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from emo_face.core import transcript
from emo_face.core.types import Speech
from emo_face.ros.clock import seconds


@dataclass(frozen=True, slots=True)
class SpeechLimits:
    """What is let through.

    Attributes:
        ttl: seconds; older text is stale. min_confidence: [0, 1], below is not heard.
        max_bytes: longer text is cut (UTF-8).
    """

    ttl: float = 8.0
    min_confidence: float = 0.3
    max_bytes: int = 4096


SpeechRefused = transcript.NotSpeech
"""Text that is not used; ``reason`` is the name of its counter."""


def read_speech(msg: Any, now: float, limits: SpeechLimits) -> Speech:
    """Make an utterance of a ``String`` or ``LiveSpeech`` message.

    A ``String`` has no stamp: it was said when it came, ``now`` (seconds). ``LiveSpeech`` has final text, confidence,
    a stamp (zero counts as now) and, by the release of hri_msgs, ``locale`` or ``language``. Text and confidence are
    read by the conventions of recognisers (core/transcript.py); without a confidence it is taken for sure.

    Raises:
        SpeechRefused: not final or empty, low confidence, or stale.
    """
    live = hasattr(msg, "final")
    if live and msg.incremental and not msg.final:
        raise SpeechRefused("speech_partial", "a partial result; the final one follows")
    said = transcript.read(msg.final if live else msg.data, limits.max_bytes)
    told = transcript.confidence(float(msg.confidence)) if live else None
    confidence = next((value for value in (told, said.confidence) if value is not None), 1.0)
    if not confidence >= limits.min_confidence:
        raise SpeechRefused("speech_unsure", f"confidence below speech.min_confidence = {limits.min_confidence:g}")
    stamp = now
    if live and (msg.header.stamp.sec or msg.header.stamp.nanosec):
        stamp = seconds(msg.header.stamp)
        if not math.isfinite(stamp) or not now - limits.ttl <= stamp <= now + 1.0:
            raise SpeechRefused("speech_stale", f"stamp not within the last {limits.ttl:g} s; check the clocks")
    locale = str(getattr(msg, "locale", "") or getattr(msg, "language", "") or said.language)[:32]
    return Speech(said.text, min(stamp, now), min(confidence, 1.0), "", locale)


ALONE, BY_MOUTH = 0.9, 0.8
"""How sure it is that the only person in view said it, and the one whose mouth moved: somebody may speak unseen."""


class Heard:
    """The last utterance, given to the person who said it or to nobody. Thread-safe by replacement."""

    def __init__(self) -> None:
        self._last: Speech | None = None
        self._given: Speech | None = None

    def hear(self, speech: Speech) -> None:
        """Take in an utterance."""
        self._last = speech

    def clear(self) -> None:
        """Forget it."""
        self._last = self._given = None

    def assign(
        self, ids: Sequence[str], now: float, ttl: float, moving: Callable[[Sequence[str], float], str]
    ) -> tuple[Mapping[str, Speech], Speech | None]:
        """Person id -> speech, and what was said by nobody in view. At most one of the two is there.

        The named speaker said it; else the only person in view; else the one whose mouth clearly moves, who is the
        answer of ``moving`` for the ids and the time, "" if it is nobody. Who said it is decided once, at the first
        frame after it: later on mouths move for other reasons.
        """
        speech = self._last
        if speech is None or not 0 <= now - speech.stamp <= ttl:
            return {}, None
        given = self._given
        if given is None or (given.text, given.stamp) != (speech.text, speech.stamp):
            given = self._given = speech if speech.speaker else _attributed(speech, ids, moving(ids, now))
        return ({given.speaker: given}, None) if given.speaker and given.speaker in ids else ({}, given)


def _attributed(speech: Speech, ids: Sequence[str], moving: str) -> Speech:
    if len(ids) == 1:
        return replace(speech, speaker=ids[0], attribution=ALONE)
    return replace(speech, speaker=moving, attribution=BY_MOUTH) if moving else speech
