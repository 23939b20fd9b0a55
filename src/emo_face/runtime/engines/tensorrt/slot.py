"""One set of input shapes of an engine: its context, its memory and, where it can be captured, its CUDA graph.

A captured graph holds addresses and shapes, so each has a context of its own (NVIDIA, "TensorRT Developer Guide", CUDA
Graphs: one execution context a graph, one enqueue after a change of shapes before the capture).
"""

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import ModelError
from emo_face.runtime.engines.base import Array, DeviceError, TensorSpec
from emo_face.runtime.engines.cuda import Cuda
from emo_face.runtime.engines.tensorrt.buffers import Buffer, output_allocator

log = logging.getLogger(__name__)


class Slot:
    """Runs one context on fixed shapes. ``graph``: the captured graph, or None (data-dependent outputs, refusal)."""

    def __init__(
        self,
        trt: Any,
        cuda: Cuda,
        context: Any,
        stream: Any,
        tensors: tuple[Sequence[TensorSpec], Sequence[TensorSpec]],
        path: Path,
    ) -> None:
        """Allocate for a context whose input shapes are set. Raises OutOfMemory; nothing is held then."""
        self._trt, self._cuda, self._context, self._stream, self._path = trt, cuda, context, stream, path
        self.inputs: list[Buffer] = []
        self.outputs: list[Buffer | None] = []
        self._allocators: dict[str, Any] = {}
        self._output_specs = tensors[1]
        self.graph: Any = None
        self._warm = self._refused = False
        try:
            for spec in tensors[0]:
                self.inputs.append(self._bound(spec))
            for spec in tensors[1]:
                known = all(axis >= 0 for axis in context.get_tensor_shape(spec.name))
                self.outputs.append(self._bound(spec) if known else None)
                if not known:
                    self._defer(spec)
        except Exception:
            self.close()
            raise

    def run(self, given: Sequence[Array]) -> list[Array]:
        """Copy in, run, copy out, wait; returns copies that the next run does not touch."""
        for buffer, value in zip(self.inputs, given, strict=True):
            np.copyto(buffer.host, value)
        self._launch()
        self._cuda("cudaStreamSynchronize", self._stream)
        if not self._warm:
            self._warm = True
            self._capture()
        return [
            buffer.host.copy() if buffer is not None else self._fetched(spec)
            for buffer, spec in zip(self.outputs, self._output_specs, strict=True)
        ]

    def close(self) -> None:
        """Free the graph and the memory."""
        graph, self.graph = self.graph, None
        if graph is not None:
            with contextlib.suppress(DeviceError):
                self._cuda("cudaGraphExecDestroy", graph)
        for buffer in (*self.inputs, *self.outputs):
            if buffer is not None:
                buffer.free()
        for allocator in self._allocators.values():
            allocator.memory.free()
        self.inputs, self.outputs = [], []

    def _bound(self, spec: TensorSpec) -> Buffer:
        buffer = Buffer(self._cuda, tuple(self._context.get_tensor_shape(spec.name)), spec.dtype)
        if not self._context.set_tensor_address(spec.name, buffer.device):
            buffer.free()
            raise ModelError(f"{self._path}: TensorRT refuses the address of {spec.name}")
        return buffer

    def _defer(self, spec: TensorSpec) -> None:
        """An output whose size depends on the data gets an allocator instead of memory."""
        allocator = output_allocator(self._trt, self._cuda)
        if not self._context.set_output_allocator(spec.name, allocator):
            raise ModelError(f"{self._path}: TensorRT refuses an output allocator for {spec.name}")
        self._allocators[spec.name] = allocator

    def _launch(self) -> None:
        if self.graph is not None:
            self._cuda("cudaGraphLaunch", self.graph, self._stream)
        else:
            self._enqueue()

    def _enqueue(self) -> None:
        for buffer in self.inputs:
            buffer.upload(self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            for allocator in self._allocators.values():
                if allocator.failure is not None:
                    raise allocator.failure
            self._cuda("cudaGetLastError")  # raises if CUDA knows why
            raise DeviceError(f"{self._path}: TensorRT could not enqueue")
        for out in self.outputs:
            if out is not None:
                out.download(self._stream)

    def _capture(self) -> None:
        """Record one run for replay; a model that cannot be captured goes on without."""
        if self._allocators or self._refused:
            return
        mode = self._cuda.runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        try:
            self._cuda("cudaStreamBeginCapture", self._stream, mode)
            try:
                self._enqueue()
            finally:
                graph = self._cuda("cudaStreamEndCapture", self._stream)
            self.graph = self._cuda("cudaGraphInstantiate", graph, 0)
            self._cuda("cudaGraphDestroy", graph)
        except DeviceError as error:  # not the GPU's end: the run before it was whole
            self._refused, self.graph = True, None
            log.info("%s: runs without a CUDA graph (%s)", self._path.name, error)

    def _fetched(self, spec: TensorSpec) -> Array:
        """A data-dependent output: its shape is known once the run has ended."""
        allocator = self._allocators[spec.name]
        value = np.empty(allocator.shape, spec.dtype)
        if value.size:
            kind = self._cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
            self._cuda("cudaMemcpy", value.ctypes.data, allocator.memory.address, value.nbytes, kind)
        return value
