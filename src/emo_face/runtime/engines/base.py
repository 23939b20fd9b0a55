"""What every inference engine offers, so that a model never knows which one runs it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import ModelError

Array = NDArray[Any]
Shape = tuple[int, ...]


class EngineUnavailable(Exception):
    """An engine cannot run a model here; the text says why in one sentence and is shown beside the choice."""


class DeviceError(ModelError):
    """The GPU failed while it ran a model; its context is lost until the process ends."""


class OutOfMemory(DeviceError):
    """The GPU's memory is full; less at a time may fit."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, element type (NumPy name) and shape of one tensor; None marks a dynamic axis."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class Engine(Protocol):
    """A loaded model.

    Attributes:
        name: engine and device, for example ``onnxruntime/CPU``, ``tensorrt/Orin``, ``torch/cuda``.
        path: the model's file. metadata: its own key-value pairs.
        inputs, outputs: the tensors in the order of the model.
    """

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> Path: ...

    @property
    def metadata(self) -> Mapping[str, str]: ...

    @property
    def inputs(self) -> Sequence[TensorSpec]: ...

    @property
    def outputs(self) -> Sequence[TensorSpec]: ...

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """Run once: input name -> array; returns all outputs in order, each the caller's own.

        Raises:
            ModelError: the model refuses its input. OutOfMemory, DeviceError: the GPU failed.
        """


def warm_up(engine: Engine, shapes: Mapping[str, Sequence[int]], rounds: int = 2) -> float:
    """Run ``rounds`` times on zeros of these shapes, so that the first real frame is not the slow one.

    Returns the seconds of the last round.
    """
    types = {spec.name: spec.dtype for spec in engine.inputs}
    feeds = {name: np.zeros(tuple(shape), dtype=types[name]) for name, shape in shapes.items()}
    seconds = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        engine.run(feeds)
        seconds = time.perf_counter() - start
    return seconds
