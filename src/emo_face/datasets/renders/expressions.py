"""Random expressions with exact truth: variants of the FACS prototypes, their strength, asymmetry and chance
movements."""

from functools import cache

import numpy as np

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.errors import ConfigError
from emo_face.core.labels import basic7
from emo_face.core.paths import data_file, data_table
from emo_face.core.types import FloatArray
from emo_face.face.expressions.facs import default_facs

VARIANTS = "face_variants.yaml"
LEFT = np.array([name.endswith("Left") for name in ARKIT_52])
RIGHT = np.array([name.endswith("Right") for name in ARKIT_52])
HALF_SEEN = 0.25  # strength at which a viewer is as likely to read neutral as the emotion


@cache
def variants() -> dict[str, tuple[dict[str, float], ...]]:
    """Label of basic7 -> ways to show it, each action unit -> activation in [0, 1].

    Raises:
        ConfigError: the packaged file names an unknown label.
    """
    raw = data_table(VARIANTS)["prototypes"]
    unknown = set(raw) - set(basic7().labels)
    if unknown:
        raise ConfigError(f"{data_file(VARIANTS)}: prototypes: unknown label {sorted(unknown)[0]!r}")
    return {label: tuple(entry["units"] for entry in raw[label]) for label in basic7().labels}


def random_expression(rng: np.random.Generator, label: str) -> tuple[FloatArray, FloatArray]:
    """Draw an expression of ``label``.

    Returns:
        (52,) ARKit activations in [0, 1], and the (7,) truth: the label with a share that grows with the strength
        shown, the rest neutral.
    """
    choices = variants()[label]
    units = choices[int(rng.integers(len(choices)))]
    strength = float(rng.beta(2.2, 1.2))
    shown = {
        unit: value * float(np.clip(rng.normal(1, 0.25), 0, 1.4)) for unit, value in units.items() if rng.random() > 0.1
    }
    arkit = strength * default_facs().arkit_of_units(shown) if shown else np.zeros(len(ARKIT_52))
    tilt = float(np.clip(rng.normal(0, 0.15), -0.5, 0.5))
    arkit = arkit * np.where(LEFT, 1 + tilt, np.where(RIGHT, 1 - tilt, 1.0))
    target = np.zeros(len(basic7()))
    share = strength**2 / (strength**2 + HALF_SEEN**2)
    target[basic7().index(label)] += share
    target[basic7().index("Neutral")] += 1 - share
    return np.clip(arkit + _chance(rng), 0, 1), target


def _chance(rng: np.random.Generator) -> FloatArray:
    """Movements that say nothing about emotion: gaze, blinks, talking, small twitches."""
    extra = np.zeros(len(ARKIT_52))
    twitches = rng.random(len(ARKIT_52)) < 0.08
    extra[twitches] = rng.uniform(0, 0.2, int(twitches.sum()))
    if rng.random() < 0.15:
        extra[[ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"]]] = rng.uniform(0.2, 1.0)
    if rng.random() < 0.2:
        extra[ARKIT_INDEX[str(rng.choice(["jawOpen", "mouthFunnel", "mouthPucker", "mouthClose"]))]] += rng.uniform(
            0, 0.3
        )
    side, height = rng.normal(0, 0.3), rng.normal(0, 0.2)
    pairs = ("eyeLookOutLeft", "eyeLookInRight") if side > 0 else ("eyeLookInLeft", "eyeLookOutRight")
    lift = ("eyeLookUpLeft", "eyeLookUpRight") if height > 0 else ("eyeLookDownLeft", "eyeLookDownRight")
    extra[[ARKIT_INDEX[name] for name in pairs]] = min(abs(side), 1)
    extra[[ARKIT_INDEX[name] for name in lift]] = min(abs(height), 1)
    return extra
