"""Where the eyes look: fixations, saccades and micro-saccades."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.face.easing import relax
from emo_face.face.limiter import JerkLimiter
from emo_face.face.motion_data import GazeData, SaccadeData

Array = NDArray[np.float64]

_OUT_LEFT, _IN_LEFT, _UP_LEFT, _DOWN_LEFT = (ARKIT_INDEX[f"eyeLook{d}Left"] for d in ("Out", "In", "Up", "Down"))
_OUT_RIGHT, _IN_RIGHT, _UP_RIGHT, _DOWN_RIGHT = (ARKIT_INDEX[f"eyeLook{d}Right"] for d in ("Out", "In", "Up", "Down"))


def gaze_at_pixel(
    x: float, y: float, width: int, height: int, horizontal_fov: float, offset: tuple[float, float] = (0.0, 0.0)
) -> tuple[float, float]:
    """Angles (yaw left +, pitch up +, rad) that look at a point of the camera image, for eyes close to the camera.

    Args:
        x, y: pixels, origin top left.
        width, height: image size in pixels.
        horizontal_fov: field of view of the camera in rad, in (0, pi).
        offset: yaw and pitch of the camera's axis as seen from the face, rad.

    Raises:
        ValueError: size or field of view out of range.
    """
    if width < 1 or height < 1 or not 0 < horizontal_fov < math.pi:
        raise ValueError(f"expected a positive image size and 0 < fov < pi, got {width}x{height}, {horizontal_fov}")
    focal = 0.5 * width / math.tan(0.5 * horizontal_fov)
    across, down = 0.5 * width - x, y - 0.5 * height
    yaw = math.atan2(across, focal)
    pitch = math.atan2(-down, math.hypot(across, focal))
    return yaw + offset[0], pitch + offset[1]


def eye_channels(yaw: float, pitch: float, eye_range: float, out: Array) -> None:
    """Write the eight eyeLook channels of ``out`` (52,) for a gaze in rad; ``eye_range`` rad is a value of 1."""
    side, up = (min(1.0, max(-1.0, angle / eye_range)) for angle in (yaw, pitch))
    left, right = max(side, 0.0), max(-side, 0.0)
    out[_OUT_LEFT] = out[_IN_RIGHT] = left
    out[_IN_LEFT] = out[_OUT_RIGHT] = right
    out[_UP_LEFT] = out[_UP_RIGHT] = max(up, 0.0)
    out[_DOWN_LEFT] = out[_DOWN_RIGHT] = max(-up, 0.0)


def eye_angles(face: Array, eye_range: float) -> Array:
    """(2,) yaw and pitch in rad that the eyeLook channels of ``face`` (52,) stand for: the mean of both eyes."""
    side = face[_OUT_LEFT] - face[_IN_LEFT] + face[_IN_RIGHT] - face[_OUT_RIGHT]
    up = face[_UP_LEFT] - face[_DOWN_LEFT] + face[_UP_RIGHT] - face[_DOWN_RIGHT]
    return np.array([0.5 * eye_range * side, 0.5 * eye_range * up])


class Gaze:
    """Turn sparse gaze targets into eye angles: jumps to far targets, pursuit of near ones, tremor at rest.

    Args:
        data, saccades: dynamics and statistics (``data/motion.yaml``).
        rng: seeded generator.
        period: nominal tick in seconds.
    """

    def __init__(self, data: GazeData, saccades: SaccadeData, rng: np.random.Generator, period: float) -> None:
        self.data, self.saccades, self._rng = data, saccades, rng
        self.eye_range = math.radians(data.eye_range_deg)
        rates = (data.peak_velocity_deg_s, data.acceleration_deg_s2, data.jerk_deg_s3)
        velocity, acceleration, jerk = (np.full(2, math.radians(r)) for r in rates)
        self._eyes = JerkLimiter(
            np.full(2, -self.eye_range), np.full(2, self.eye_range), velocity, acceleration, jerk, period
        )
        self._fixed = np.zeros(2)
        self._jitter = np.zeros(2)
        self._next: float | None = None
        self.shift_deg = 0.0

    def update(self, target: Array, now: float, dt: float, micro: bool) -> Array:
        """Advance to ``now`` and return (2,) yaw, pitch in rad.

        Args:
            target: (2,) rad, finite.
            now, dt: seconds.
            micro: whether micro-saccades are on.

        :attr:`shift_deg` is the size of the saccade that started in this tick, else 0.
        """
        away = float(np.hypot(*(target - self._fixed)))
        if away > math.radians(self.data.fixation_deg):
            self.shift_deg = math.degrees(away)
            self._fixed = target.copy()
        else:
            self.shift_deg = 0.0
            self._fixed += relax(dt, self.data.pursuit_s) * (target - self._fixed)
        if micro:
            self._tremble(now)
        else:
            self._jitter[:] = 0.0
        return self._eyes.step(self._fixed + self._jitter, dt).copy()

    def _tremble(self, now: float) -> None:
        mean = 1.0 / self.saccades.rate_hz
        if self._next is None or self._next - now > 20 * mean:
            self._next = now + float(self._rng.exponential(mean))
        if now >= self._next:
            self._next = now + float(self._rng.exponential(mean))
            size = math.radians(self.saccades.amplitude_deg)
            # half the way back to the target, plus a random step: stays near it
            step = -0.5 * self._jitter + self._rng.normal(0.0, 0.4 * size, 2)
            length = float(np.hypot(*step))
            self._jitter += step * min(1.0, size / length) if length > 0 else 0.0
