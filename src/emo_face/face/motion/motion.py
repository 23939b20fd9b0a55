"""Lifelike motion: sparse expression targets in, 52 smooth ARKit values out at the loop rate.

    motion = FaceMotion(period=0.01, seed=7)
    motion.set_target(arkit, now, valid_for=1.0, intensity=0.8, arousal=0.3, gaze=(0.1, 0.0))   # 1 to 30 Hz
    face = motion.tick(now)                                                                    # at the loop rate

The primary expression is followed time-optimally under jerk limits (no overshoot, :mod:`emo_face.face.safety.limiter`);
blinks, micro-saccades, gaze, breathing and speech are layers over it, each with its own switch and generator.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.types import Array
from emo_face.face.expressions.easing import minimum_jerk, relax
from emo_face.face.motion.blink import Blinks
from emo_face.face.motion.breathing import Breathing
from emo_face.face.motion.data import MotionData, motion_data
from emo_face.face.motion.gaze import Gaze, eye_angles, eye_channels
from emo_face.face.motion.lips import Lips, VisemeTrack
from emo_face.face.safety.limiter import JerkLimiter

LAYERS = ("blink", "saccades", "breathing", "lips", "gaze")
"""Layers over the primary expression, all on by default."""

_BLINK_LEFT, _BLINK_RIGHT = ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"]
_LIDS = [ARKIT_INDEX[f"eye{part}{side}"] for part in ("Blink", "Squint", "Wide") for side in ("Left", "Right")]
_OPENED = [ARKIT_INDEX[f"eye{part}{side}"] for part in ("Squint", "Wide") for side in ("Left", "Right")]
_MAX_DT = 0.1


class FaceMotion:
    """The face over time.

    Args:
        period: nominal tick in seconds.
        seed: seed of every layer's generator; the same seed and inputs give the same face.
        neutral: (52,) resting face, default all 0.
        neutral_time: seconds in which a face without fresh targets eases to neutral.
        layers: which of :data:`LAYERS` are on.
        data: statistics; default ``data/motion.yaml``.
        lip_lead, slow_lip_lead: seconds by which the lips go before a timed sound, on :meth:`tick`'s face and on
            :attr:`ahead`, the face for an output that lags (servos).

    Raises:
        ValueError: an unknown layer, a period or time that is not positive, a neutral face of the wrong shape.
    """

    def __init__(
        self,
        period: float = 0.01,
        seed: int = 0,
        neutral: ArrayLike | None = None,
        neutral_time: float = 1.0,
        layers: Iterable[str] = LAYERS,
        data: MotionData | None = None,
        lip_lead: float = 0.0,
        slow_lip_lead: float = 0.0,
    ) -> None:
        if not (math.isfinite(period) and period > 0 and math.isfinite(neutral_time) and neutral_time > 0):
            raise ValueError(f"period and neutral_time must be positive seconds, got {period} and {neutral_time}")
        self.data = data or motion_data()
        self.neutral_time = neutral_time
        self._neutral = np.zeros(len(ARKIT_52)) if neutral is None else np.array(neutral, dtype=np.float64)
        if self._neutral.shape != (len(ARKIT_52),) or not (np.isfinite(self._neutral).all()):
            raise ValueError(f"neutral face must be {len(ARKIT_52)} finite values, got shape {self._neutral.shape}")
        self.layers: dict[str, bool] = dict.fromkeys(LAYERS, False)
        for layer in layers:
            self.switch(layer, True)
        self._follow = self._follower(period)
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)]
        self.blinks = Blinks(self.data.blink, streams[0])
        self.gaze = Gaze(self.data.gaze, self.data.saccades, streams[1])
        self.breathing = Breathing(self.data.breathing, streams[2])
        self.lips = Lips(self.data, lip_lead)
        # the same lips, earlier, for outputs that lag
        self._slow_lips = (
            Lips(self.data, slow_lip_lead, self.data.lips.motor_hold_s) if slow_lip_lead != lip_lead else None
        )
        self._every_lips = tuple(lips for lips in (self.lips, self._slow_lips) if lips is not None)
        self.ahead: Array = self._neutral.copy()
        self.rejected: Counter[str] = Counter()
        self._target = self._neutral.copy()
        self._asked, self._asked_at = self._neutral, -math.inf  # newest target, noise included, and since when
        self._anchor = self._neutral.copy()  # target at the last onset
        self._onset = -math.inf
        self._deadline = self._look_until = -math.inf
        self._look = self._gaze = (0.0, 0.0)
        self._flame: Array | None = None
        self._flame_goal: Array | None = None
        self._aroused = self._arousal = 0.0
        self._now = -math.inf

    def _follower(self, period: float) -> JerkLimiter:
        """Limits such that a full move takes the onset time: T = (32 / J)^(1/3) for a move of 1 without cruising."""
        onset = np.full(len(ARKIT_52), self.data.expression.onset_s)
        onset[_LIDS] = self.data.expression.lid_onset_s
        fastest = 1.0 + self.data.expression.arousal_speed
        follow = JerkLimiter(
            np.zeros(onset.size), np.ones(onset.size), 2 / onset, 8 / onset**2, 32 / onset**3, period * fastest * 1.25
        )
        follow.reset(np.clip(self._neutral, 0.0, 1.0))
        return follow

    def switch(self, layer: str, on: bool) -> None:
        """Switch a layer on or off. Raises ValueError for an unknown name."""
        if layer not in LAYERS:
            raise ValueError(f"unknown layer {layer!r}: known are {', '.join(LAYERS)}")
        self.layers[layer] = on

    def set_target(
        self,
        arkit: ArrayLike,
        now: float,
        valid_for: float,
        intensity: float = 1.0,
        arousal: float = 0.0,
        gaze: Sequence[float] | None = None,
        flame: ArrayLike | None = None,
    ) -> bool:
        """Take a new expression.

        Args:
            arkit: (52,) values; cut to [0, 1].
            now: seconds.
            valid_for: seconds after ``now`` until the face eases to neutral, > 0.
            intensity: scales the distance from neutral, cut to [0, 1].
            arousal: in [-1, 1]; quickens moves, blinks and breath.
            gaze: yaw (left +) and pitch (up +) in rad, or None to leave it.
            flame: (100,) FLAME coefficients of the expression, for rigs that use them; None for none.

        Returns:
            False, counted in :attr:`rejected` (``length``, ``nonfinite``, ``valid_for``), if it cannot be used.
        """
        reason, values = _check(arkit, now, valid_for, (intensity, arousal, *(gaze if gaze is not None else ())))
        if not reason and flame is not None:
            reason = "length" if np.shape(flame) != (100,) else "" if np.isfinite(flame).all() else "nonfinite"
        if reason or (gaze is not None and len(gaze) != 2):
            self.rejected[reason or "length"] += 1
            return False
        face = self._neutral + min(1.0, max(0.0, intensity)) * (np.clip(values, 0.0, 1.0) - self._neutral)
        self._retarget(np.clip(face, 0.0, 1.0), now)
        if np.abs(self._target - self._anchor).max() > self.data.expression.retrigger or now < self._onset:
            self._anchor, self._onset = self._target.copy(), now
        self._deadline = now + valid_for
        self._aroused = min(1.0, max(-1.0, arousal))
        if gaze is not None:
            self._gaze = (float(gaze[0]), float(gaze[1]))
        self._flame_goal = None if flame is None else min(1.0, max(0.0, intensity)) * np.asarray(flame)
        return True

    def _retarget(self, face: Array, now: float) -> None:
        """Follow a new target, unless it is only noise around the present one."""
        e = self.data.expression
        if np.abs(face - self._asked).max() > 1e-6:
            self._asked, self._asked_at = face, now
        if np.abs(face - self._target).max() >= e.noise or not 0 <= now - self._asked_at < e.settle_s:
            self._target = face

    def look_at(self, yaw: float, pitch: float, now: float, valid_for: float = 1.0) -> bool:
        """Look at a direction (rad); wins over the expression's gaze for ``valid_for`` seconds. False if not finite."""
        if not all(math.isfinite(v) for v in (yaw, pitch, now, valid_for)) or valid_for <= 0:
            self.rejected["nonfinite"] += 1
            return False
        self._look, self._look_until = (float(yaw), float(pitch)), now + valid_for
        return True

    def viseme(self, name: str, now: float, weight: float = 1.0, duration: float | None = None) -> bool:
        """Show a viseme (``sil PP FF TH DD kk CH SS nn RR aa E ih oh ou``) while the robot speaks."""
        good = all(lips.viseme(name, now, weight, duration) for lips in self._every_lips)
        self.rejected["viseme"] += not good
        return good

    def envelope(self, level: float, now: float) -> bool:
        """Open the mouth with the loudness in [0, 1] of the robot's voice."""
        good = all(lips.envelope(level, now) for lips in self._every_lips)
        self.rejected["envelope"] += not good
        return good

    def say(self, track: VisemeTrack) -> bool:
        """Show timed visemes while the robot speaks; an empty track stops the lips. False for an unknown name."""
        good = all(lips.say(track) for lips in self._every_lips)
        self.rejected["viseme"] += not good
        return good

    def neutral(self, now: float) -> None:
        """Ease to neutral from now on, until the next target."""
        self._deadline = min(self._deadline, now)

    @property
    def flame(self) -> Array | None:
        """(100,) FLAME coefficients now, or None if no target brought any; eased, and limited by the safety gate."""
        return self._flame

    @property
    def stale(self) -> bool:
        """Whether the face has no valid target and eases to, or rests at, neutral."""
        return self._now >= self._deadline

    @property
    def settled(self) -> bool:
        """Whether the primary expression has come to rest at neutral; the layers live on."""
        return self.stale and float(np.abs(self._follow.position - self._neutral).max()) < 0.01

    def tick(self, now: float) -> Array:
        """Advance to ``now`` (seconds) and return (52,) ARKit values in [0, 1]. A backward clock moves nothing.

        :attr:`ahead` is the same face for an output that lags: its lips are ``slow_lip_lead`` before a timed sound.
        """
        dt = self._elapsed(now)
        self._arousal += relax(dt, 0.5) * (self._aroused - self._arousal)
        speed = 1.0 + self.data.expression.arousal_speed * self._arousal
        face = self._follow.step(self._aim(now), dt * speed).copy()
        lids = float(max(face[_BLINK_LEFT], face[_BLINK_RIGHT]))
        speaking, early = self._speak(face, now, dt)
        if self.layers["breathing"]:
            face += self.breathing.update(dt, self._arousal)
        if self.layers["gaze"] or self.layers["saccades"]:
            self._eyes(face, now, dt)
        if self.layers["blink"]:
            closed = self.blinks.closure(now, lids, self._arousal, speaking)
            if closed > 0:
                face[_BLINK_LEFT] += closed * (1.0 - face[_BLINK_LEFT])
                face[_BLINK_RIGHT] += closed * (1.0 - face[_BLINK_RIGHT])
                face[_OPENED] *= 1.0 - closed
        np.maximum(face, 0.0, out=face)
        np.minimum(face, 1.0, out=face)
        self.ahead = face if early is None else np.clip(face + early, 0.0, 1.0)
        if self._flame is not None or self._flame_goal is not None:
            self._ease_flame(dt)
        return face

    def _speak(self, face: Array, now: float, dt: float) -> tuple[bool, Array | None]:
        """Move the lips of ``face``; whether the robot speaks, and how the lips of :attr:`ahead` differ."""
        if not self.layers["lips"]:
            return False, None
        slow = self._slow_lips
        if slow is None or (slow.silent and self.lips.silent):
            return self.lips.update(face, now, dt), None
        early = face.copy()
        first = slow.update(early, now, dt)
        return self.lips.update(face, now, dt) or first, early - face

    def _ease_flame(self, dt: float) -> None:
        goal = np.zeros(100) if self._flame_goal is None or self.stale else self._flame_goal
        before = np.zeros(100) if self._flame is None else self._flame
        self._flame = before + relax(dt, self.data.expression.onset_s / 3) * (goal - before)

    def _elapsed(self, now: float) -> float:
        before, self._now = self._now, now
        if now < before:  # the clock jumped back: deadlines move with it
            times = self._deadline, self._look_until, self._onset
            self._deadline, self._look_until, self._onset = (time + now - before for time in times)
            return 0.0
        return min(now - before, _MAX_DT) if math.isfinite(before) else 0.0

    def _aim(self, now: float) -> Array:
        """Where the primary expression should be heading: onset, hold, decay, and neutral once stale."""
        e = self.data.expression
        held = now - self._onset - e.hold_s
        gain = e.sustain + (1.0 - e.sustain) * math.exp(-held / e.decay_s) if held > 0 else 1.0
        late = now - self._deadline
        if late >= 0:
            gain *= 1.0 - minimum_jerk(late / self.neutral_time)
            if gain == 0.0:
                self._anchor, self._aroused = self._neutral, 0.0
        return np.asarray(self._neutral + gain * (self._target - self._neutral))

    def _eyes(self, face: Array, now: float, dt: float) -> None:
        limit = self.gaze.eye_range
        yaw, pitch = eye_angles(face, limit)
        if self.layers["gaze"] and now < self._look_until:
            yaw, pitch = self._look
        elif self.layers["gaze"] and now < self._deadline:
            yaw, pitch = yaw + self._gaze[0], pitch + self._gaze[1]
        yaw, pitch = self.gaze.update(yaw, pitch, now, dt, self.layers["saccades"])
        if self.gaze.shift_deg > 0:
            self.blinks.on_gaze_shift(self.gaze.shift_deg, now)
        eye_channels(yaw, pitch, limit, face)


def _check(arkit: ArrayLike, now: float, valid_for: float, scalars: Sequence[float]) -> tuple[str, Array]:
    """Reason to refuse a target ('' if none) and its values."""
    empty = np.zeros(0)
    try:
        values = np.asarray(arkit, dtype=np.float64)
        finite = all(math.isfinite(v) for v in (now, *scalars)) and not math.isnan(valid_for)
    except (TypeError, ValueError):
        return "nonfinite", empty
    if values.shape != (len(ARKIT_52),):
        return "length", empty
    if not finite or not np.isfinite(values).all():
        return "nonfinite", empty
    return ("", values) if valid_for > 0 else ("valid_for", empty)
