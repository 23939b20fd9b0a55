"""Fit the log-linear classifier of blendshapes on MediaPipe's answers to rendered FACS prototypes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from emo_face.core.arkit import ARKIT_52
from emo_face.core.labels import basic7
from emo_face.core.types import BoolArray, Box, Face, FloatArray, ImageArray
from emo_face.datasets.renders.draw import HeadRenderer
from emo_face.datasets.renders.expressions import random_expression, variants
from emo_face.datasets.renders.look import RenderLook, random_look
from emo_face.datasets.renders.skin import Skin
from emo_face.face.expressions.facs import default_facs
from emo_face.perception.nano.blendshapes import BlendshapeReader
from emo_face.runtime.progress import track
from emo_face.training.common.loglinear import log_linear

SIZE = 192
FRONTAL = 0.35  # rad; MediaPipe's shapes are trusted for faces turned no further


@dataclass(frozen=True)
class BlendshapePairs:
    """(n, 52) measured difference from the same head at rest, (n, 52) measured rest, (n, 7) truth."""

    difference: FloatArray
    rest: FloatArray
    truth: FloatArray


def measure(head: Path, reader: BlendshapeReader, count: int, seed: int, skins: Sequence[Skin]) -> BlendshapePairs:
    """Show MediaPipe ``count`` heads, each at rest and with an expression, same identity, light and pose."""
    renderer = HeadRenderer(head, SIZE)
    labels = basic7().labels
    rows: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    for i in track(range(count), "showing heads to MediaPipe"):
        rng = np.random.default_rng([seed, i])
        arkit, truth = random_expression(rng, labels[i % len(labels)])
        resting, _ = random_expression(rng, "Neutral")
        look = random_look(rng, SIZE)
        while abs(look.rotation[0, 2]) > np.sin(FRONTAL) or abs(look.rotation[1, 2]) > np.sin(FRONTAL):
            look = replace(look, rotation=random_look(rng, SIZE).rotation)
        if skins:
            skin = skins[int(rng.integers(len(skins)))]
            look = replace(look, photo=np.column_stack([skin.albedo, skin.weight]))
        shown = [_read(renderer, reader, a, look, rng) for a in (arkit, resting)]
        if shown[0] is not None and shown[1] is not None:
            rows.append((shown[0] - shown[1], shown[1], truth))
    return BlendshapePairs(*(np.array(column) for column in zip(*rows, strict=True)))


def _read(
    renderer: HeadRenderer, reader: BlendshapeReader, arkit: FloatArray, look: RenderLook, rng: np.random.Generator
) -> FloatArray | None:
    drawn = renderer.render(arkit, look, rng)
    frame: ImageArray = np.repeat(drawn.image[..., None], 3, axis=2)
    points = drawn.landmarks
    low, size = points.min(axis=0), np.ptp(points, axis=0)
    return reader.read(frame, [Face(Box(*map(float, (*low, *size))), 1.0, points)])[0]


def fit_weights(pairs: BlendshapePairs, penalty: float = 5e-3) -> tuple[FloatArray, FloatArray]:
    """Bias (7,) and weight (7, 52) of the multinomial log-linear model with the least penalised log loss.

    Shapes that no action unit of an emotion moves (gaze, jaw to a side) get no weight: on real faces they only
    add noise.
    """
    used = np.flatnonzero(meaningful())
    bias, part = log_linear(pairs.difference[:, used], pairs.truth, penalty)
    weight = np.zeros((len(bias), len(ARKIT_52)))
    weight[:, used] = part
    return bias, weight


def ideal(count: int, seed: int) -> BlendshapePairs:
    """What an eye that sees every shape as it is would measure on ``count`` FACS variants.

    MediaPipe sees less on renders than on people (brows above all); half measured, half ideal pairs keep to FACS where
    the renders are not believed.
    """
    rng = np.random.default_rng([seed, 1])
    labels = basic7().labels
    shown = [random_expression(rng, labels[i % len(labels)]) for i in range(count)]
    rest = np.array([random_expression(rng, "Neutral")[0] for _ in shown])
    return BlendshapePairs(
        np.array([arkit for arkit, _ in shown]) - rest, rest, np.array([truth for _, truth in shown])
    )


def joined(a: BlendshapePairs, b: BlendshapePairs) -> BlendshapePairs:
    """Both."""
    return BlendshapePairs(
        *(np.concatenate(parts) for parts in ((a.difference, b.difference), (a.rest, b.rest), (a.truth, b.truth)))
    )


def meaningful() -> BoolArray:
    """(52,) whether any variant of any emotion moves the shape."""
    shown = [default_facs().arkit_of_units(units) for ways in variants().values() for units in ways if units]
    return np.asarray(np.max(shown, axis=0) > 0)


def write_weights(path: Path, bias: FloatArray, weight: FloatArray, rest: FloatArray, note: str) -> None:
    """Write what :func:`emo_face.perception.nano.blendshapes.read_weights` reads."""
    body = {
        "labels": list(basic7().labels),
        "shapes": list(ARKIT_52),
        "note": note,
        "bias": np.round(bias, 4).tolist(),
        "rest": np.round(rest, 4).tolist(),
        "weight": np.round(weight, 3).tolist(),
    }
    path.write_text(json.dumps(body) + "\n", encoding="utf-8")
