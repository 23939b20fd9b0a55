"""Features of a face that rigs mix: channels, means of two sides, shaped channels, products of two channels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.types import Array

FLAME = {f"flame_{i:03d}": i for i in range(100)}
Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Feature:
    """One number computed from a face. ``channels`` has one name, or two whose values are multiplied."""

    channels: tuple[str, ...]
    curve: Curve | None = None

    @property
    def signed(self) -> bool:
        """Whether it may be negative (FLAME coefficients can)."""
        return any(name in FLAME for name in self.channels)

    @property
    def label(self) -> str:
        """Readable name."""
        return "*".join(self.channels) + ("~" if self.curve else "")


def row_of(channel: str) -> Array | None:
    """(152,) weights of a channel over ARKit-52 followed by 100 FLAME coefficients, or None if it is unknown."""
    row = np.zeros(len(ARKIT_52) + len(FLAME))
    if channel in ARKIT_INDEX:
        row[ARKIT_INDEX[channel]] = 1.0
    elif channel in FLAME:
        row[len(ARKIT_52) + FLAME[channel]] = 1.0
    elif f"{channel}Left" in ARKIT_INDEX:
        row[[ARKIT_INDEX[f"{channel}Left"], ARKIT_INDEX[f"{channel}Right"]]] = 0.5
    else:
        return None
    return row


class FeatureBank:
    """Evaluate features of a face.

    Args:
        features: their channels must be known (see :func:`row_of`).
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        self.features = tuple(features)
        rows = [[row_of(name) for name in f.channels] for f in features]
        wide = len(ARKIT_52) + len(FLAME)
        self._first = np.array([r[0] for r in rows]).reshape(-1, wide)
        self._pairs = [(i, np.asarray(r[1])) for i, r in enumerate(rows) if len(r) == 2]
        self._curves = [(i, np.array(f.curve).T) for i, f in enumerate(features) if f.curve]
        self._uses_flame = bool(np.any(self._first[:, len(ARKIT_52) :])) or any(
            row[len(ARKIT_52) :].any() for _, row in self._pairs
        )
        self._narrow = np.ascontiguousarray(self._first[:, : len(ARKIT_52)])

    def __len__(self) -> int:
        return len(self.features)

    def matrix(self) -> Array:
        """(m, 52) ARKit weights of the features, products and FLAME left out: how a channel shows in a feature."""
        plain = self._narrow.copy()
        for i, _ in self._pairs:
            plain[i] = 0.0
        return plain

    def evaluate(self, arkit: Array, flame: Array | None = None) -> Array:
        """(m,) features of ARKit values (52,) and, where the rig uses them, FLAME coefficients (100,)."""
        if self._uses_flame:
            face = np.concatenate([arkit, np.zeros(len(FLAME)) if flame is None else flame])
            values = np.asarray(self._first @ face)
        else:
            face = arkit
            values = np.asarray(self._narrow @ arkit)
        for i, row in self._pairs:
            values[i] *= float(row[: face.size] @ face)
        for i, (x, y) in self._curves:
            values[i] = np.interp(values[i], x, y)
        return values
