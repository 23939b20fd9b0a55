"""The context window: what is being seen and was lately said, from which one situation is taken at any time."""

import math
from dataclasses import dataclass

from emo_face.core.errors import ConfigError
from emo_face.core.types import Speech
from emo_face.expression.attention import Attention, AttentionRule
from emo_face.expression.model import Context, Scene

MAX_UTTERANCES = 32
"""At most one utterance per speaker is kept; a run of made-up speaker ids cannot fill the memory."""


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """How the window forgets and whom it follows.

    Attributes:
        speech_ttl: seconds an utterance stays part of the situation.
        scene_ttl: seconds a scene stays part of it; then nobody is followed.
        follow: ``nearest``, ``largest``, ``speaking`` or ``id``. follow_id: the person for ``id``.
        switch_margin: another person must look larger by this share to be followed instead,
        switch_time: and do so for this many seconds (see :class:`~emo_face.expression.attention.Attention`).
        min_speech_confidence: utterances below are not heard.
        clock_jump: seconds that the clock may go back before the window starts afresh, and that a stamp may lie ahead.
    """

    speech_ttl: float = 8.0
    scene_ttl: float = 1.0
    follow: str = "nearest"
    follow_id: str = ""
    switch_margin: float = 0.2
    switch_time: float = 0.4
    min_speech_confidence: float = 0.0
    clock_jump: float = 0.5

    def __post_init__(self) -> None:
        self.attention()
        for name in ("speech_ttl", "scene_ttl", "clock_jump"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name}: {value}, expected a number of at least 0")

    def attention(self) -> AttentionRule:
        """Its part on whom to follow."""
        return AttentionRule(self.follow, self.follow_id, self.switch_margin, self.switch_time)


class ContextWindow:
    """Collects scenes and utterances and answers with the situation now. Not thread-safe.

    Attributes:
        dropped: utterances and scenes not taken in (empty, low confidence, stale, unusable stamp).
        resets: times the clock went back and everything was forgotten.
    """

    def __init__(self, settings: WindowSettings | None = None) -> None:
        self._settings = settings or WindowSettings()
        self.dropped = 0
        self.resets = 0
        self._scene: Scene | None = None
        self._speech: dict[str, Speech] = {}
        self._attention = Attention(self._settings.attention())
        self._now = -math.inf

    @property
    def settings(self) -> WindowSettings:
        """May be set at any time; who is followed stays."""
        return self._settings

    @settings.setter
    def settings(self, settings: WindowSettings) -> None:
        self._settings = settings
        self._attention.rule = settings.attention()

    def clear(self) -> None:
        """Forget everything."""
        self._scene, self._speech, self._now = None, {}, -math.inf
        self._attention.clear()

    def see(self, scene: Scene, now: float) -> None:
        """Take in what a frame showed; a scene that is stale, or older than the one held, is dropped."""
        self._tick(now)
        older = self._scene is not None and scene.stamp < self._scene.stamp
        if older or not self._usable(scene.stamp, now, self.settings.scene_ttl):
            self.dropped += 1
            return
        self._scene = scene
        self._attention.choose(scene, self._last(now))

    def hear(self, speech: Speech, now: float) -> None:
        """Take in a final utterance; empty, low-confidence, stale and overtaken ones are dropped."""
        self._tick(now)
        held = self._speech.get(speech.speaker)
        overtaken = held is not None and speech.stamp < held.stamp
        clear = bool(speech.text.strip()) and speech.confidence >= self.settings.min_speech_confidence
        if overtaken or not clear or not self._usable(speech.stamp, now, self.settings.speech_ttl):
            self.dropped += 1
            return
        self._speech[speech.speaker] = speech
        while len(self._speech) > MAX_UTTERANCES:
            del self._speech[min(self._speech, key=lambda speaker: self._speech[speaker].stamp)]

    def context(self, now: float) -> Context:
        """The situation at ``now`` seconds."""
        self._tick(now)
        last = self._last(now)
        scene = self._scene
        if scene is not None and now - scene.stamp > self.settings.scene_ttl:
            scene = None
        if scene is None:
            self._attention.clear()
        followed = self._attention.choose(scene, last) if scene is not None else None
        heard = [s for s in self._speech.values() if s.speaker in ("", followed.person.person_id if followed else "")]
        speech = max(heard, key=lambda s: s.stamp, default=None)
        stamps = [x.stamp for x in (scene, speech) if x is not None]
        return Context(max(stamps, default=now), scene, followed, speech)

    def _last(self, now: float) -> Speech | None:
        """What was said last, after forgetting what is no longer fresh."""
        fresh = [s for s in self._speech.values() if now - s.stamp <= self.settings.speech_ttl]
        self._speech = {s.speaker: s for s in fresh}
        return max(fresh, key=lambda s: s.stamp, default=None)

    def _usable(self, stamp: float, now: float, ttl: float) -> bool:
        return math.isfinite(stamp) and now - ttl <= stamp <= now + self.settings.clock_jump

    def _tick(self, now: float) -> None:
        """Start afresh when the clock has gone back (simulated time, a bag played again)."""
        if now < self._now - self.settings.clock_jump:
            self.clear()
            self.resets += 1
        self._now = max(self._now, now)
