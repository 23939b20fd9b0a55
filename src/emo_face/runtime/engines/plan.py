"""What an engine must know of a model that its file does not say, and how a batch is cut to an engine's sizes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from emo_face.core.errors import ModelError
from emo_face.runtime.engines.base import Array, Engine, Shape

Precision = Literal["fp32", "fp16", "bf16"]
"""Of a graph: engines are strongly typed, so the export decides."""
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Sample = Callable[[np.random.Generator, Mapping[str, Shape]], dict[str, Array]]


@dataclass(frozen=True)
class Range:
    """Smallest, usual and largest shape of one dynamic input: TensorRT's optimisation profile."""

    least: Shape
    usual: Shape
    most: Shape

    def __post_init__(self) -> None:
        same = len(self.least) == len(self.usual) == len(self.most)
        if not same or not all(0 < a <= b <= c for a, b, c in zip(self.least, self.usual, self.most, strict=True)):
            raise ValueError(f"shapes must grow from least to most, got {self.least}, {self.usual}, {self.most}")


@dataclass(frozen=True)
class Plan:
    """How a model is run on a GPU.

    Attributes:
        name: of the model, for cache, diagnostics and commands.
        shapes: input -> range, for each input with a dynamic axis.
        rows: output -> the input whose rows (axis 0) it has; such inputs are padded to a bucket.
        buckets: batch sizes that an engine is run with, ascending; none: any size within ``shapes``.
        padded: pieces are filled up to a bucket; else a bucket is only the most rows of one piece, which may have none.
        free_sides: the file's fixed height and width are freed first (:mod:`emo_face.runtime.engines.onnx_bytes`).
        cpu_only: why a GPU never runs this model better; empty: it may.
        sample: makes inputs for the comparison of two engines; None: random numbers.
    """

    name: str
    shapes: Mapping[str, Range] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=dict)
    buckets: tuple[int, ...] = ()
    padded: bool = True
    free_sides: bool = False
    cpu_only: str = ""
    sample: Sample | None = None

    def __post_init__(self) -> None:
        if list(self.buckets) != sorted(set(self.buckets)) or any(b < 1 for b in self.buckets):
            raise ValueError(f"{self.name}: buckets must ascend from 1, got {self.buckets}")

    @property
    def batched(self) -> frozenset[str]:
        """Inputs whose rows are padded."""
        return frozenset(self.rows.values()) if self.buckets else frozenset()

    def smaller(self, bucket: int) -> int | None:
        """The next smaller bucket, or None."""
        return max((b for b in self.buckets if b < bucket), default=None)

    def described(self) -> dict[str, Any]:
        """What an engine built for this plan depends on, as JSON."""
        shapes = {name: [list(r.least), list(r.usual), list(r.most)] for name, r in sorted(self.shapes.items())}
        return {"model": self.name, "profile": shapes}


def run_in_buckets(engine: Engine, plan: Plan, feeds: Mapping[str, Array], largest: int) -> list[Array]:
    """Run ``feeds`` of any number of rows in pieces of at most ``largest``, padded as ``plan`` says.

    Outputs that follow no batched input are those of the first piece.

    Raises:
        ModelError: an input of the plan is missing.
    """
    if missing := plan.batched - set(feeds):
        raise ModelError(f"{engine.path}: input {', '.join(sorted(missing))} is missing")
    names = [spec.name for spec in engine.outputs]
    pieces: dict[str, list[Array]] = {name: [] for name in names}
    rows = max(len(feeds[name]) for name in plan.batched)
    for start in range(0, max(rows, 1), largest):
        piece, counts = _piece(feeds, plan, start, largest)
        for name, value in zip(names, engine.run(piece), strict=True):
            source = plan.rows.get(name)
            if source is not None and (counts[source] or not pieces[name]):
                pieces[name].append(value[: counts[source]])
            elif source is None and start == 0:
                pieces[name].append(value)
    return [found[0] if len(found) == 1 else np.concatenate(found) for found in pieces.values()]


def _piece(feeds: Mapping[str, Array], plan: Plan, start: int, largest: int) -> tuple[dict[str, Array], dict[str, int]]:
    """One piece, and how many rows of each batched input are real."""
    cut = {name: feeds[name][start : start + largest] for name in plan.batched}
    counts = {name: len(value) for name, value in cut.items()}
    if not plan.padded:
        return {**feeds, **cut}, counts
    bucket = next(b for b in plan.buckets if b >= max(counts.values()))
    return {**feeds, **{name: _padded(value, bucket) for name, value in cut.items()}}, counts


def _padded(rows: Array, bucket: int) -> Array:
    missing = bucket - len(rows)
    return np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)]) if missing else rows


def samples(plan: Plan, engine: Engine, which: Sequence[str] = ("least", "usual")) -> Iterator[dict[str, Array]]:
    """Inputs for a comparison, one for each of ``which`` shapes (``least``, ``usual``, ``most``) of the plan."""
    for number, size in enumerate(which if plan.shapes else ("usual",)):
        rng = np.random.default_rng(number)
        shapes = {
            spec.name: getattr(plan.shapes[spec.name], size)
            if spec.name in plan.shapes
            else tuple(1 if axis is None else axis for axis in spec.shape)
            for spec in engine.inputs
        }
        yield plan.sample(rng, shapes) if plan.sample else _random(rng, shapes, engine)


def _random(rng: np.random.Generator, shapes: Mapping[str, Shape], engine: Engine) -> dict[str, Array]:
    """Numbers in [0, 1) for floats, small positive ones for integers."""
    types = {spec.name: np.dtype(spec.dtype) for spec in engine.inputs}
    return {
        name: rng.random(shape).astype(types[name])
        if types[name].kind == "f"
        else rng.integers(1, 100, shape).astype(types[name])
        for name, shape in shapes.items()
    }
