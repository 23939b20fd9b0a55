"""Whom to attend to: the nearest, the largest, who speaks or one by id, without switching back and forth."""

import math
from dataclasses import dataclass

from emo_face.core.errors import ConfigError
from emo_face.core.geometry import apparent_area, apparent_size
from emo_face.core.types import Speech
from emo_face.expression.model import Scene, SeenPerson

FOLLOW = ("nearest", "largest", "speaking", "id")
ROUNDING = 1e-6  # s


@dataclass(frozen=True, slots=True)
class AttentionRule:
    """Whom to prefer and when to turn to somebody else.

    Attributes:
        follow: ``nearest`` (tallest head), ``largest`` (area), ``speaking`` (the speaker at once, the nearest while
            that is nobody in view) or ``id`` (``follow_id`` alone).
        switch_margin: share by which somebody else must look larger. switch_time: seconds for which they must.
    """

    follow: str = "nearest"
    follow_id: str = ""
    switch_margin: float = 0.2
    switch_time: float = 0.4

    def __post_init__(self) -> None:
        if self.follow not in FOLLOW:
            raise ConfigError(f"follow: {self.follow!r}, expected one of {', '.join(FOLLOW)}")
        for name in ("switch_margin", "switch_time"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name}: {value}, expected a number of at least 0")


class Attention:
    """Follows one person of the scenes it is shown; ``rule`` may change at any time.

    Somebody followed for their size is given up only after scenes that span ``switch_time`` seconds have all shown
    them smaller than one rival by ``switch_margin``, or not at all: two people side by side, a missed detection or a
    false face of one frame do not make the robot look to and fro. Time is counted by the scenes' stamps, so that a
    single frame of a slow camera counts as little as one of a fast camera.
    """

    def __init__(self, rule: AttentionRule | None = None) -> None:
        self.rule = rule or AttentionRule()
        self.clear()

    def clear(self) -> None:
        """Attend to nobody."""
        self._followed: SeenPerson | None = None
        self._rival = ""
        self._since: float | None = None

    def choose(self, scene: Scene, speech: Speech | None = None) -> SeenPerson | None:
        """The person to attend to; as last seen while they are out of view for less than ``switch_time``.

        Args:
            speech: what was said last, for ``speaking``.
        """
        people = {seen.person.person_id: seen for seen in scene.people}
        if self.rule.follow == "id":
            return self._turn(people.get(self.rule.follow_id))
        if self.rule.follow == "speaking" and speech is not None and speech.speaker in people:
            return self._turn(people[speech.speaker])
        best = max(scene.people, key=lambda seen: (self._size(seen), seen.person.person_id), default=None)
        held = self._followed
        if held is None:
            return self._turn(best)
        held = self._followed = people.get(held.person.person_id, held)
        present = held.person.person_id in people
        if present and best is not None and self._size(best) <= self._size(held) * (1 + self.rule.switch_margin):
            return self._turn(held)
        rival = best.person.person_id if best is not None else ""
        if self._since is None or (present and rival != self._rival) or scene.stamp < self._since:
            self._rival, self._since = rival, scene.stamp
        return self._turn(best) if scene.stamp - self._since >= self.rule.switch_time - ROUNDING else held

    def _turn(self, seen: SeenPerson | None) -> SeenPerson | None:
        self._followed, self._since = seen, None
        return seen

    def _size(self, seen: SeenPerson) -> float:
        return (apparent_area if self.rule.follow == "largest" else apparent_size)(seen.person)
