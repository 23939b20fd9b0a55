"""How far two engines of one model are from each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emo_face.core.errors import ModelError
from emo_face.runtime.engines.base import Array, Engine

RELATIVE = 2e-2
"""Largest difference, relative to the largest value of an output, that half precision and TF32 explain."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Largest difference of one output over all samples."""

    output: str
    absolute: float
    relative: float


def reference(engine: Engine, feeds: Sequence[Mapping[str, Array]]) -> list[list[Array]]:
    """Every output of every sample."""
    return [engine.run(one) for one in feeds]


def compare(engine: Engine, feeds: Sequence[Mapping[str, Array]], wanted: Sequence[Sequence[Array]]) -> list[Parity]:
    """Differences of ``engine`` from ``wanted``, one per output; NaN counts as infinite.

    Raises:
        ModelError: an output has another shape; names it.
    """
    found: dict[str, Parity] = {}
    for one, expected in zip(feeds, wanted, strict=True):
        for spec, got, want in zip(engine.outputs, engine.run(one), expected, strict=True):
            if got.shape != want.shape:
                raise ModelError(f"{engine.path}: output {spec.name}: expected shape {want.shape}, got {got.shape}")
            gap = float(np.max(np.abs(got.astype(np.float64) - want.astype(np.float64)), initial=0.0))
            share = gap / max(float(np.max(np.abs(want), initial=0.0)), 1e-6)
            gap, share = (value if np.isfinite(value) else float("inf") for value in (gap, share))
            old = found.get(spec.name, Parity(spec.name, 0.0, 0.0))
            found[spec.name] = Parity(spec.name, max(old.absolute, gap), max(old.relative, share))
    return list(found.values())


def require(parities: Sequence[Parity], path: object, limit: float = RELATIVE) -> None:
    """Raises ModelError naming the worst output if one differs by more than ``limit``, relative."""
    worst = max(parities, key=lambda p: p.relative, default=None)
    if worst is not None and not worst.relative <= limit:
        raise ModelError(
            f"{path}: output {worst.output} differs from ONNX by {worst.relative:.2e} of its largest value, "
            f"allowed {limit:.0e}; the engine is not kept"
        )
