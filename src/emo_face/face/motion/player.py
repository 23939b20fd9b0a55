"""What the face plays: expression targets, a person's hand on the tuning page, neutral and emergency stop. Thread-safe.

One thread ticks, others offer targets and commands. All times are steady seconds; the age of a target is the caller's
to know, so that clocks that jump cannot hold an old face.
"""

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.errors import UserError
from emo_face.core.types import Array, ExpressionTarget
from emo_face.face.expressions.basis import Basis, find_basis
from emo_face.face.expressions.facs import default_facs
from emo_face.face.motion.keyframes import Decoder, Keyframes, stand_in
from emo_face.face.motion.lips import VisemeTrack
from emo_face.face.motion.motion import FaceMotion

HAND_VALID = 1.0
"""Seconds for which a refreshed tuning pose is valid; it is refreshed at every tick."""

LEAD = 0.2
"""Seconds by which keyframes are aimed at early: a full move takes the face half a second, half of one about this."""

WHY = {
    "estop": "emergency stop is on",
    "neutral": "~/neutral was called just now",
    "hand": "the tuning page holds the face; press release there",
    "stale": "it was older than its valid_for when it came",
    "basis": "basis {target.basis!r} is unknown here, and {target.shown.name!r} has no prototype: make the basis by "
    "`emo-face flame import`, then configure again",
    "length": "a field has the wrong length",
    "nonfinite": "a value is not finite",
}
"""Reason that :meth:`FacePlayer.show` gives -> sentence, to be formatted with ``target``."""


STAND_IN = (
    "basis {target.basis!r} is unknown here: the prototype of {target.shown.name} is shown in its place; make the "
    "basis by `emo-face flame import`, then configure again, or train a model of open-ict-1 or arkit-52"
)
"""What to say of a target that is shown so (:attr:`FacePlayer.stand_in`), to be formatted with ``target``."""


class Bases:
    """Finds a basis by name, once: one that is missing is not looked for at every message."""

    def __init__(self) -> None:
        self._known: dict[str, Basis | None] = {}

    def __call__(self, name: str) -> Basis:
        """The basis called ``name``. Raises KeyError if this machine has none, or a damaged one."""
        if name not in self._known:
            try:
                self._known[name] = find_basis(name)
            except UserError:
                self._known[name] = None
        found = self._known[name]
        if found is None:
            raise KeyError(name)
        return found


@dataclass(frozen=True, slots=True)
class _Played:
    """The expression that is played: its faces, and when they start and end (steady seconds)."""

    faces: Keyframes
    start: float
    until: float
    arousal: float
    gaze: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Shown:
    """One tick's face.

    Attributes:
        arkit: (52,) in [0, 1].
        stale: no fresh target: easing to, or at, neutral. estop: stopped; the face stands still.
        by: ``expression``, ``hand`` (the tuning page) or ``neutral``.
    """

    arkit: Array
    stale: bool
    estop: bool
    by: str


@dataclass
class FacePlayer:
    """Feeds a :class:`FaceMotion` from whoever is in charge: emergency stop, neutral, tuning page, expressions.

    Attributes:
        basis: finds the decoder of a basis by name, or raises KeyError.
        timeout: longest time in seconds that a target is shown without a newer one.
        neutral_hold: seconds that :meth:`neutral` keeps expressions away.
        stand_in: whether the last target's basis was unknown, and a prototype stands in for its face.
    """

    motion: FaceMotion
    basis: Callable[[str], Basis]
    timeout: float = 1.0
    neutral_hold: float = 3.0
    stand_in: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _hand: Array | None = None
    _estop: bool = False
    _quiet_until: float = -math.inf
    _played: _Played | None = None
    _shown: Shown = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._shown = Shown(np.zeros(len(ARKIT_52)), True, False, "neutral")
        self._decode = Decoder(self.basis)

    def show(self, target: ExpressionTarget, age: float, now: float) -> str:
        """Offer a target that is ``age`` seconds old; returns why it is not shown, or an empty text.

        The reasons are the keys of :data:`WHY`.
        """
        left = min(target.valid_for - max(age, 0.0), self.timeout + target.keyframes[-1].offset)
        if not left > 0:
            return "stale"
        try:
            faces = self._faces(target)  # before the lock: the tick does not wait for it
            gaze = (float(target.gaze[0]), float(target.gaze[1]))
        except KeyError:
            return "basis"
        except ValueError:
            return "nonfinite"
        start = now - age + (0.0 if target.start is None else target.start - target.stamp)
        with self._lock:
            if reason := self._busy(now):
                return reason
            self._played = _Played(faces, start, now + left, target.shown.arousal, gaze)
            return "" if self._pose(now) else "length"

    def _faces(self, target: ExpressionTarget) -> Keyframes:
        """The target's faces, or prototypes if its basis is unknown. Raises KeyError, ValueError as both do."""
        try:
            found, self.stand_in = self._decode(target), False
        except KeyError:
            found, self.stand_in = stand_in(target), True
        return found

    def _pose(self, now: float) -> bool:
        """Aim at where the expression should be; of several keyframes a little ahead, as far as the face lags."""
        played = self._played
        if played is None:
            return False
        face, flame = played.faces.at(now - played.start + (LEAD if len(played.faces.offsets) > 1 else 0.0))
        left = played.until - now
        return self.motion.set_target(face, now, left, arousal=played.arousal, gaze=played.gaze, flame=flame)

    def play(self, arkit: Array, valid_for: float, now: float) -> bool:
        """Show ARKit values (52,) for ``valid_for`` seconds or until the next target; False when they are not shown."""
        with self._lock:
            if self._busy(now):
                return False
            self._played = None
            return self.motion.set_target(arkit, now, valid_for)

    def look_at(self, yaw: float, pitch: float, now: float, valid_for: float) -> bool:
        """Look somewhere (rad, left and up positive) for ``valid_for`` seconds. False if not finite."""
        with self._lock:
            return self.motion.look_at(yaw, pitch, now, valid_for)

    def viseme(self, name: str, now: float) -> bool:
        """Show a viseme while the robot speaks. False for an unknown name."""
        with self._lock:
            return self.motion.viseme(name, now)

    def say(self, track: VisemeTrack) -> bool:
        """Show timed visemes; an empty track stops the lips. False for an unknown name."""
        with self._lock:
            return self.motion.say(track)

    def envelope(self, level: float, now: float) -> bool:
        """Open the mouth with the loudness in [0, 1] of the robot's voice. False if it is no such number."""
        with self._lock:
            return self.motion.envelope(level, now)

    def _busy(self, now: float) -> str:
        if self._estop:
            return "estop"
        if now < self._quiet_until:
            return "neutral"
        return "hand" if self._hand is not None else ""

    def command(self, command: Mapping[str, Any]) -> str | None:
        """Obey the tuning page (``tune``, ``preset``, ``release``); returns why not, or None."""
        with self._lock:
            if self._estop:
                return "emergency stop: release it first"
            if command["type"] == "release":
                self._hand = None
            elif command["type"] == "preset":
                strength = float(command["intensity"])
                self._hand = np.asarray(default_facs().arkit({command["emotion"]: 1.0}, strength), np.float64)
            else:
                pose = np.zeros(len(ARKIT_52)) if self._hand is None else self._hand.copy()
                for name, value in command["values"].items():
                    pose[ARKIT_INDEX[name]] = value
                self._hand = pose
            return None

    def neutral(self, now: float) -> None:
        """Ease to neutral and keep expressions away for :attr:`neutral_hold` seconds; ends tuning."""
        with self._lock:
            self._hand = self._played = None
            self._quiet_until = now + self.neutral_hold
            self.motion.neutral(now)

    def estop(self, on: bool, now: float) -> None:
        """Stop where the face is, or release the stop and ease to neutral."""
        with self._lock:
            if self._estop and not on:
                self.motion.neutral(now)
                self._hand = self._played = None
            self._estop = on

    @property
    def stopped(self) -> bool:
        """Whether the emergency stop is latched."""
        return self._estop

    @property
    def flame(self) -> Array | None:
        """(100,) FLAME coefficients of the last tick, or None: what rigs with ``flame_...`` channels move by."""
        return self.motion.flame

    @property
    def ahead(self) -> Array:
        """(52,) the last tick's face for an output that lags behind it: its lips are earlier."""
        return self._shown.arkit if self._estop else self.motion.ahead

    @property
    def settled(self) -> bool:
        """Whether the face has come to rest at neutral."""
        with self._lock:
            return self.motion.settled

    @property
    def shown(self) -> Shown:
        """The face of the last tick."""
        return self._shown

    def tick(self, now: float) -> Array:
        """Advance to ``now`` and return (52,) ARKit values in [0, 1]."""
        with self._lock:
            face = self._shown.arkit
            if not self._estop:
                if self._hand is not None:
                    self._played = None
                    self.motion.set_target(self._hand, now, HAND_VALID)
                elif self._played is not None and len(self._played.faces.offsets) > 1 and now < self._played.until:
                    self._pose(now)
                face = self.motion.tick(now)
            by = "hand" if self._hand is not None else "neutral" if self.motion.stale else "expression"
            self._shown = Shown(face, self.motion.stale, self._estop, by)
            return face
