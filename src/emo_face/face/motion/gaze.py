"""Where the eyes look: fixations, saccades and micro-saccades."""

import math

import numpy as np

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.types import Array
from emo_face.face.expressions.easing import minimum_jerk, relax
from emo_face.face.motion.data import GazeData, SaccadeData

_OUT_LEFT, _IN_LEFT, _UP_LEFT, _DOWN_LEFT = (ARKIT_INDEX[f"eyeLook{d}Left"] for d in ("Out", "In", "Up", "Down"))
_OUT_RIGHT, _IN_RIGHT, _UP_RIGHT, _DOWN_RIGHT = (ARKIT_INDEX[f"eyeLook{d}Right"] for d in ("Out", "In", "Up", "Down"))


def eye_channels(yaw: float, pitch: float, eye_range: float, out: Array) -> None:
    """Write the eight eyeLook channels of ``out`` (52,) for a gaze in rad; ``eye_range`` rad is a value of 1."""
    side, up = (min(1.0, max(-1.0, angle / eye_range)) for angle in (yaw, pitch))
    left, right = max(side, 0.0), max(-side, 0.0)
    out[_OUT_LEFT] = out[_IN_RIGHT] = left
    out[_IN_LEFT] = out[_OUT_RIGHT] = right
    out[_UP_LEFT] = out[_UP_RIGHT] = max(up, 0.0)
    out[_DOWN_LEFT] = out[_DOWN_RIGHT] = max(-up, 0.0)


def eye_angles(face: Array, eye_range: float) -> tuple[float, float]:
    """Yaw and pitch in rad that the eyeLook channels of ``face`` (52,) stand for: the mean of both eyes."""
    side = face[_OUT_LEFT] - face[_IN_LEFT] + face[_IN_RIGHT] - face[_OUT_RIGHT]
    up = face[_UP_LEFT] - face[_DOWN_LEFT] + face[_UP_RIGHT] - face[_DOWN_RIGHT]
    return 0.5 * eye_range * float(side), 0.5 * eye_range * float(up)


class Gaze:
    """Turn sparse gaze targets into eye angles: saccades to far targets, pursuit of near ones, micro-saccades at rest.

    A saccade is ballistic: it takes the time of the main sequence and ends where it was aimed, whatever comes.

    Args:
        data, saccades: dynamics and statistics (``data/motion.yaml``).
        rng: seeded generator.
    """

    def __init__(self, data: GazeData, saccades: SaccadeData, rng: np.random.Generator) -> None:
        self.data, self.saccades, self._rng = data, saccades, rng
        self.eye_range = math.radians(data.eye_range_deg)
        self.shift_deg = 0.0
        self._eyes = (0.0, 0.0)
        self._offset = (0.0, 0.0)  # of the last micro-saccade
        self._flight: tuple[tuple[float, float], tuple[float, float], float, float] | None = None
        self._landed = -math.inf
        self._next: float | None = None

    def update(self, yaw: float, pitch: float, now: float, dt: float, micro: bool) -> tuple[float, float]:
        """Advance to ``now`` and return yaw and pitch in rad.

        Args:
            yaw, pitch: target in rad, finite; cut to the eye range.
            now, dt: seconds.
            micro: whether micro-saccades are on.

        :attr:`shift_deg` is the size of the saccade that started in this tick, else 0.
        """
        self.shift_deg = 0.0
        if self._flight is not None and self._fly(now):
            return self._eyes
        goal = tuple(min(self.eye_range, max(-self.eye_range, angle)) for angle in (yaw, pitch))
        offset = self._offset if micro else (0.0, 0.0)
        aim = (goal[0] + offset[0], goal[1] + offset[1])
        away = math.degrees(math.dist(aim, self._eyes))
        if away > self.data.fixation_deg and not now - self._landed < self.data.refractory_s:
            self.shift_deg = away
            self._launch(aim, now)
        elif micro and self._due(now):
            self._offset = self._wander()
            self._launch((goal[0] + self._offset[0], goal[1] + self._offset[1]), now)
        else:
            share = relax(dt, self.data.pursuit_s)
            self._eyes = (
                self._eyes[0] + share * (aim[0] - self._eyes[0]),
                self._eyes[1] + share * (aim[1] - self._eyes[1]),
            )
        return self._eyes

    def _launch(self, aim: tuple[float, float], now: float) -> None:
        size = math.degrees(math.dist(aim, self._eyes))
        self._flight = (self._eyes, aim, now, self.data.saccade_s + self.data.saccade_s_per_deg * size)

    def _fly(self, now: float) -> bool:
        """Move along the saccade in flight; false once it has landed."""
        assert self._flight is not None
        start, aim, since, duration = self._flight
        share = (now - since) / duration
        if not 0.0 <= share < 1.0:  # landed, or the clock jumped back
            self._eyes, self._landed, self._flight = aim, now, None
            return False
        s = minimum_jerk(share)
        self._eyes = (start[0] + s * (aim[0] - start[0]), start[1] + s * (aim[1] - start[1]))
        return True

    def _due(self, now: float) -> bool:
        """Whether a micro-saccade starts now."""
        mean = 1.0 / self.saccades.rate_hz
        fresh = self._next is None or self._next - now > 20 * mean
        due = not fresh and self._next is not None and now >= self._next
        if fresh or due:
            self._next = now + float(self._rng.exponential(mean))
        return due

    def _wander(self) -> tuple[float, float]:
        """The next offset from the target: half the way back plus a random step, each at most one amplitude long."""
        limit = math.radians(self.saccades.amplitude_deg)
        step = self._rng.normal(0.0, 0.4 * limit, 2) - 0.5 * np.asarray(self._offset)
        length = float(np.hypot(*step))
        step *= min(1.0, limit / length) if length > 0 else 0.0
        place = np.asarray(self._offset) + step
        place *= min(1.0, limit / max(float(np.hypot(*place)), 1e-12))
        return float(place[0]), float(place[1])
