"""The numbers of ``data/motion.yaml``, typed and checked."""

from functools import cache

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.paths import data_table
from emo_face.core.types import Array

Shape = dict[str, float]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExpressionData(_Section):
    """Onset, hold and decay of an expression; see the data file for units and sources."""

    onset_s: float = Field(gt=0)
    lid_onset_s: float = Field(gt=0)
    arousal_speed: float = Field(ge=0, lt=1)
    hold_s: float = Field(ge=0)
    decay_s: float = Field(gt=0)
    sustain: float = Field(ge=0, le=1)
    noise: float = Field(ge=0, le=0.1)
    settle_s: float = Field(ge=0)
    retrigger: float = Field(gt=0)


class BlinkData(_Section):
    """Human blink statistics."""

    rate_per_min: float = Field(gt=0)
    speaking_rate_per_min: float = Field(gt=0)
    arousal_gain: float = Field(ge=0, lt=1)
    interval_sigma: float = Field(gt=0)
    minimum_interval_s: float = Field(ge=0)
    closing_s: float = Field(gt=0)
    closed_s: float = Field(ge=0)
    opening_s: float = Field(gt=0)
    suppress_above: float = Field(gt=0, le=1)
    gaze_shift_min_deg: float = Field(ge=0)
    gaze_shift_sure_deg: float = Field(gt=0)
    gaze_shift_most: float = Field(ge=0, le=1)


class GazeData(_Section):
    """Eye range and saccade dynamics."""

    eye_range_deg: float = Field(gt=0, lt=90)
    saccade_s: float = Field(gt=0)
    saccade_s_per_deg: float = Field(ge=0)
    refractory_s: float = Field(ge=0)
    fixation_deg: float = Field(ge=0)
    pursuit_s: float = Field(gt=0)


class SaccadeData(_Section):
    """Micro-saccades."""

    rate_hz: float = Field(gt=0)
    amplitude_deg: float = Field(ge=0, le=2)


class BreathingData(_Section):
    """Breathing and the channels that show it."""

    rate_per_min: float = Field(gt=0)
    arousal_gain: float = Field(ge=0, lt=1)
    inhale_share: float = Field(gt=0, lt=1)
    channels: Shape


class LipData(_Section):
    """Lip motion while speaking."""

    attack_s: float = Field(gt=0)
    release_s: float = Field(gt=0)
    closing_s: float = Field(gt=0)
    motor_hold_s: float = Field(ge=0)
    closing: tuple[str, ...]
    envelope: Shape
    timeout_s: float = Field(gt=0)


class MotionData(_Section):
    """Everything in ``data/motion.yaml``."""

    expression: ExpressionData
    blink: BlinkData
    gaze: GazeData
    saccades: SaccadeData
    breathing: BreathingData
    lips: LipData
    visemes: dict[str, Shape]

    @field_validator("visemes")
    @classmethod
    def _known(cls, visemes: dict[str, Shape]) -> dict[str, Shape]:
        for name, shape in visemes.items():
            for channel in shape:
                if channel not in ARKIT_INDEX:
                    raise ValueError(f"viseme {name!r} names the unknown channel {channel!r}")
        return visemes


@cache
def motion_data() -> MotionData:
    """The packaged motion data, checked once."""
    return MotionData.model_validate(data_table("motion.yaml"))


def vector(shape: Shape) -> Array:
    """(52,) ARKit values of a channel -> value table. Raises KeyError for an unknown channel."""
    values = np.zeros(len(ARKIT_52))
    for channel, value in shape.items():
        values[ARKIT_INDEX[channel]] = value
    return values
