"""Fit the log-linear classifier of blendshapes on MediaPipe's answers to rendered FACS prototypes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from emo_face.core.arkit import ARKIT_52
from emo_face.core.labels import basic7
from emo_face.core.types import Box, Face, FloatArray, ImageArray
from emo_face.datasets.headexpressions import random_expression
from emo_face.datasets.headlook import Look, random_look
from emo_face.datasets.headrender import HeadRenderer
from emo_face.datasets.headskin import Skin
from emo_face.perception.nano.blendshapes import BlendshapeReader
from emo_face.training.face_progress import progress
from emo_face.training.loglinear import log_linear

SIZE = 192
FRONTAL = 0.35  # rad; MediaPipe's shapes are trusted for faces turned no further


@dataclass(frozen=True)
class Pairs:
    """(n, 52) measured difference from the same head at rest, (n, 52) measured rest, (n, 7) truth."""

    difference: FloatArray
    rest: FloatArray
    truth: FloatArray


def measure(head: Path, reader: BlendshapeReader, count: int, seed: int, skins: Sequence[Skin]) -> Pairs:
    """Show MediaPipe ``count`` heads, each at rest and with an expression, same identity, light and pose."""
    renderer = HeadRenderer(head, SIZE)
    labels = basic7().labels
    rows: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    for i in progress(range(count), "showing heads to MediaPipe"):
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
    return Pairs(*(np.array(column) for column in zip(*rows, strict=True)))


def _read(
    renderer: HeadRenderer, reader: BlendshapeReader, arkit: FloatArray, look: Look, rng: np.random.Generator
) -> FloatArray | None:
    drawn = renderer.render(arkit, look, rng)
    frame: ImageArray = np.repeat(drawn.image[..., None], 3, axis=2)
    points = drawn.landmarks
    low, size = points.min(axis=0), np.ptp(points, axis=0)
    return reader.read(frame, [Face(Box(*map(float, (*low, *size))), 1.0, points)])[0]


def fit_weights(pairs: Pairs, penalty: float = 4e-4) -> tuple[FloatArray, FloatArray]:
    """Bias (7,) and weight (7, 52) of the multinomial log-linear model with the least penalised log loss."""
    return log_linear(pairs.difference, pairs.truth, penalty)


def write_weights(path: Path, bias: FloatArray, weight: FloatArray, rest: FloatArray, note: str) -> None:
    """Write what :func:`emo_face.perception.nano.blendshapes.read_weights` reads."""
    body = {
        "labels": list(basic7().labels), "shapes": list(ARKIT_52), "note": note,
        "bias": np.round(bias, 4).tolist(), "rest": np.round(rest, 4).tolist(), "weight": np.round(weight, 3).tolist(),
    }  # fmt: skip
    path.write_text(json.dumps(body) + "\n", encoding="utf-8")
