"""What every inference backend offers, so that a model never knows which engine runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, element type (NumPy name) and shape of one tensor; None marks a dynamic axis."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class InferenceBackend(Protocol):
    """A loaded model: onnxruntime today; TensorRT and torch fill the same protocol.

    Attributes:
        name: engine and device, for example ``onnxruntime/CPUExecutionProvider``.
        path: the model's file. metadata: its own key-value pairs.
        inputs, outputs: the tensors in the order of the model.
    """

    name: str
    path: Path
    metadata: dict[str, str]

    @property
    def inputs(self) -> Sequence[TensorSpec]: ...

    @property
    def outputs(self) -> Sequence[TensorSpec]: ...

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """Run once: input name -> array; returns all outputs in order."""
        ...

    def warm_up(self, shapes: Mapping[str, Sequence[int]], rounds: int = 2) -> float:
        """Run ``rounds`` times on zeros of these input shapes; returns the seconds of the last round."""
        ...
