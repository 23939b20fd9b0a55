"""A TensorRT engine at run time: one stream; memory and, if possible, a CUDA graph per shape."""

import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import ModelError
from emo_face.runtime.engines.base import Array, DeviceError, EngineUnavailable, OutOfMemory, Shape, TensorSpec
from emo_face.runtime.engines.cuda import Cuda
from emo_face.runtime.engines.tensorrt.buffers import DeviceMemory, numpy_type
from emo_face.runtime.engines.tensorrt.library import TensorRT
from emo_face.runtime.engines.tensorrt.slot import Slot

log = logging.getLogger(__name__)

SLOTS = 12
"""Sets of shapes kept ready; the least recently used one goes first."""


class TensorRTEngine:
    """A deserialised engine; fills :class:`emo_face.runtime.engines.base.Engine`. One run at a time, any thread."""

    def __init__(self, library: TensorRT, plan: Any, path: Path, metadata: Mapping[str, str] | None = None) -> None:
        """Deserialise ``plan``, bytes that this very TensorRT and GPU built.

        Args:
            path: of the ONNX file, for messages. metadata: its own key-value pairs.

        Raises:
            EngineUnavailable: TensorRT refuses the bytes. DeviceError: CUDA fails.
        """
        trt = library.module
        self.name, self.path, self.metadata = f"tensorrt/{library.gpu.name}", path, dict(metadata or {})
        self._library, self._trt, self._cuda = library, trt, Cuda()
        self._runtime = trt.Runtime(library.logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:  # never an exception
            reason = library.last_error("it gives no reason")
            raise EngineUnavailable(f"TensorRT {library.version} refuses the engine of {path.name}: {reason}")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        given = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        self.inputs = [self._spec(name) for name in given]
        self.outputs = [self._spec(name) for name in names if name not in given]
        self._stream = self._cuda("cudaStreamCreateWithFlags", self._cuda.runtime.cudaStreamNonBlocking)
        self._lock = threading.Lock()
        self._slots: OrderedDict[tuple[Shape, ...], Slot] = OrderedDict()
        # What the layers compute in, shared by all shapes: they never run at the same time.
        self._scratch = DeviceMemory(self._cuda, max(1, int(self._engine.device_memory_size_v2)))

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """See :class:`~emo_face.runtime.engines.base.Engine`. The shapes must lie within the engine's profile."""
        given = [self._checked(spec, feeds) for spec in self.inputs]
        with self._lock:
            return self._slot(tuple(value.shape for value in given)).run(given)

    def close(self) -> None:
        """Free everything on the GPU."""
        with self._lock:
            while self._slots:
                self._slots.popitem()[1].close()
            self._scratch.free()
            if self._stream is not None:
                with contextlib.suppress(DeviceError):
                    self._cuda("cudaStreamDestroy", self._stream)
                self._stream = None

    def __del__(self) -> None:
        if hasattr(self, "_scratch"):
            with contextlib.suppress(Exception):  # the interpreter may be ending
                self.close()

    def _spec(self, name: str) -> TensorSpec:
        shape = tuple(None if axis < 0 else int(axis) for axis in self._engine.get_tensor_shape(name))
        return TensorSpec(name, numpy_type(self._trt, self._engine.get_tensor_dtype(name)), shape)

    def _checked(self, spec: TensorSpec, feeds: Mapping[str, Array]) -> Array:
        if spec.name not in feeds:
            raise ModelError(f"{self.path}: input {spec.name} is missing; got {', '.join(feeds) or 'none'}")
        value = np.asarray(feeds[spec.name])
        if value.dtype != spec.dtype:
            raise ModelError(f"{self.path}: input {spec.name}: expected {spec.dtype}, got {value.dtype}")
        return value

    def _slot(self, key: tuple[Shape, ...]) -> Slot:
        """The memory and the graph for these shapes; made when they are new."""
        if key in self._slots:
            self._slots.move_to_end(key)
            return self._slots[key]
        while len(self._slots) >= SLOTS:
            self._slots.popitem(last=False)[1].close()
        try:
            slot = self._made(key)
        except OutOfMemory:  # what other shapes hold may be enough
            if not self._slots:
                raise
            while self._slots:
                self._slots.popitem(last=False)[1].close()
            slot = self._made(key)
        self._slots[key] = slot
        return slot

    def _made(self, key: tuple[Shape, ...]) -> Slot:
        context = self._engine.create_execution_context(self._trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise OutOfMemory(f"{self.path}: TensorRT makes no context: {self._library.last_error('no reason given')}")
        context.set_device_memory(self._scratch.address, self._scratch.size)
        for spec, shape in zip(self.inputs, key, strict=True):
            if not context.set_input_shape(spec.name, shape):
                raise ModelError(
                    f"{self.path}: input {spec.name}: shape {shape} is outside the engine's profile "
                    f"{self._limits(spec.name)}; build it for this shape by `emo-face engine build`"
                )
        if unknown := context.infer_shapes():
            raise ModelError(f"{self.path}: TensorRT cannot tell the shapes of {', '.join(unknown)}")
        return Slot(self._trt, self._cuda, context, self._stream, (self.inputs, self.outputs), self.path)

    def _limits(self, name: str) -> str:
        least, _, most = self._engine.get_tensor_profile_shape(name, 0)
        return f"{tuple(least)} to {tuple(most)}"
