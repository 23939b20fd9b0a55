"""New people from pairs of real ones: aligned faces blended by smooth masks, and bent a little.

Sixty people are few for a net that must read strangers. Any two faces in a like pose give a third: an even blend, the
brows of one over the mouth of the other, or a patchwork. If both show the same emotion the label is kept; else only
the teachers tell what the result shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from emo_face.core.types import BoolArray, FloatArray, IntArray, UInt8Array
from emo_face.datasets.faces.augment import WIDE, WIDE_SPREAD, view
from emo_face.datasets.faces.faces import FacePicture

SAME_LABEL = 0.5  # share of pairs that are drawn among faces with one label
BEND_PX = 2.2
GRID = 6


@dataclass(frozen=True)
class Composites:
    """(n, 128, 128) pictures, the index of both parents, and whether they carry the label of the first."""

    wide: UInt8Array
    first: IntArray
    second: IntArray
    labelled: BoolArray


def compose(pictures: Sequence[FacePicture], crops: UInt8Array, count: int, rng: np.random.Generator) -> Composites:
    """Draw ``count`` composites of faces of different people in like poses."""
    groups = _groups(pictures)
    sizes = np.sqrt([len(g) for g in groups])
    made: list[tuple[UInt8Array, int, int, bool]] = []
    while len(made) < count:
        group = groups[int(rng.choice(len(groups), p=sizes / sizes.sum()))]
        a = int(rng.choice(group))
        partners = [i for i in group if pictures[i].person != pictures[a].person]
        same = [i for i in partners if pictures[i].label and pictures[i].label == pictures[a].label]
        if same and rng.random() < SAME_LABEL:
            partners = same
        if not partners:
            continue
        b = int(rng.choice(partners))
        blend = _blend(_facing(crops[a], pictures[a]), _facing(crops[b], pictures[b]), rng)
        alike = pictures[a].label is not None and pictures[a].label == pictures[b].label
        made.append((view(bend(blend, rng), rng, 0.8, WIDE, WIDE_SPREAD), a, b, alike))
    return Composites(*(np.array(part) for part in zip(*made, strict=True)))


def bend(crop: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Move the parts of a face by a pixel or two, smoothly: other proportions, the same expression."""
    shift = rng.normal(0, BEND_PX, (GRID, GRID, 2)).astype(np.float32)
    field = cv2.resize(shift, (WIDE, WIDE), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:WIDE, :WIDE].astype(np.float32)
    bent = cv2.remap(crop, x + field[..., 0], y + field[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(bent, dtype=np.uint8)


def _groups(pictures: Sequence[FacePicture]) -> list[list[int]]:
    found: dict[str, list[int]] = {}
    for i, p in enumerate(pictures):
        pose = "side" if p.pose in ("left", "right") else "up" if p.pose == "up" else "front"
        found.setdefault(pose, []).append(i)
    return list(found.values())


def _facing(crop: UInt8Array, picture: FacePicture) -> UInt8Array:
    return np.ascontiguousarray(crop[:, ::-1]) if picture.pose == "right" else crop


def _blend(a: UInt8Array, b: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    one, two = a.astype(np.float32), b.astype(np.float32)
    two = (two - two.mean()) * (one.std() + 1) / (two.std() + 1) + one.mean()
    mask = _mask(rng)
    return np.asarray(np.clip(mask * one + (1 - mask) * two, 0, 255).astype(np.uint8))


def _mask(rng: np.random.Generator) -> FloatArray:
    """(128, 128) share of the first face: even, upper against lower half, or patches."""
    kind = rng.random()
    if kind < 0.35:
        return np.full((WIDE, WIDE), rng.uniform(0.3, 0.7), np.float32)
    if kind < 0.65:
        edge, soft = WIDE * rng.uniform(0.42, 0.58), rng.uniform(3, 10)
        column = 1 / (1 + np.exp((np.arange(WIDE) - edge) / soft))
        return np.repeat(column[:, None], WIDE, axis=1).astype(np.float32)
    noise = rng.normal(0, 1, (4, 4)).astype(np.float32)
    return np.asarray(1 / (1 + np.exp(-4 * cv2.resize(noise, (WIDE, WIDE), interpolation=cv2.INTER_CUBIC))))
