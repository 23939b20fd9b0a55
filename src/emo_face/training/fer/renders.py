"""A cached set of rendered faces with exact truth for the face student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_face.core.labels import basic7
from emo_face.core.types import FloatArray
from emo_face.datasets.renders.draw import HeadRenderer
from emo_face.datasets.renders.expressions import random_expression
from emo_face.datasets.renders.look import random_look
from emo_face.datasets.renders.skin import Skin, blend
from emo_face.training.fer.progress import progress

SIZE = 128
ALWAYS = -1  # fold of pictures that no number is reported on
BLENDED = 0.7  # share of the skins that are mixtures of two people


@dataclass(frozen=True)
class RenderSet:
    """Rendered faces.

    Attributes:
        images: (n, 128, 128) uint8 grey. landmarks: (n, 5, 2) pixels. arkit: (n, 52) in [0, 1]. truth: (n, 7).
        fold: (n,) the fold whose people the skin shows, or ALWAYS.
    """

    images: NDArray[np.uint8]
    landmarks: FloatArray
    arkit: FloatArray
    truth: FloatArray
    fold: NDArray[np.int64]


def render_set(
    head: Path,
    count: int,
    seed: int,
    cache: Path,
    backgrounds: Sequence[NDArray[np.uint8]] = (),
    skins: Sequence[Skin] = (),
) -> RenderSet:
    """Draw ``count`` faces, the seven labels in turn, or read them from ``cache`` when it holds this very set.

    Args:
        head: folder of the ICT head. cache: folder for the picture file, made when missing.
        backgrounds: grey pictures to cut backgrounds from; they must show nobody who is tested on.
        skins: photographed skins to wear; none gives painted ones.
    """
    cache.mkdir(parents=True, exist_ok=True)
    file = cache / f"renders_{SIZE}_{count}_{seed}_{len(skins)}.npz"
    names = [f.name for f in fields(RenderSet)]
    if file.is_file():
        with np.load(file, allow_pickle=False) as saved:
            return RenderSet(**{name: saved[name] for name in names})
    renderer = HeadRenderer(head, SIZE)
    labels = basic7().labels
    found: dict[str, list[Any]] = {name: [] for name in names}
    for i in progress(range(count), "rendering faces"):
        rng = np.random.default_rng([seed, i])
        arkit, truth = random_expression(rng, labels[i % len(labels)])
        look, fold = random_look(rng, SIZE, backgrounds), ALWAYS
        if skins:
            skin = _draw_skin(skins, rng)
            look, fold = replace(look, photo=np.column_stack([skin.albedo, skin.weight])), skin.fold
        drawn = renderer.render(arkit, look, rng)
        for name, value in zip(names, (drawn.image, drawn.landmarks, arkit, truth, fold), strict=True):
            found[name].append(value)
    result = RenderSet(**{name: np.asarray(found[name]) for name in names})
    np.savez_compressed(file, **{name: getattr(result, name) for name in names})
    return result


def _draw_skin(skins: Sequence[Skin], rng: np.random.Generator) -> Skin:
    first = skins[int(rng.integers(len(skins)))]
    if rng.random() > BLENDED:
        return first
    others = [s for s in skins if s.fold == first.fold and s.person != first.person]
    return blend(first, others[int(rng.integers(len(others)))], float(rng.uniform(0.2, 0.8))) if others else first
