"""Memory for one set of shapes: pinned on the host, allocated once on the device, and the copies between them.

``cudaMemcpyAsync`` returns before it has copied; only from pinned memory does it overlap, and only a capture of such
copies can be replayed (CUDA Runtime API, "API synchronization behavior").
"""

import contextlib
import ctypes
from math import prod
from typing import Any

import numpy as np

from emo_face.core.errors import ModelError
from emo_face.runtime.engines.base import Array, DeviceError, Shape
from emo_face.runtime.engines.cuda import Cuda

# TensorRT's DataType -> NumPy's name; the rest (BF16, FP8, INT4) has no NumPy type and stays inside graphs.
DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
}


def numpy_type(trt: Any, dtype: Any) -> str:
    """NumPy's name of a TensorRT type. Raises ModelError for one that no array has."""
    for name, found in DTYPES.items():
        if dtype == getattr(trt.DataType, name, None):
            return found
    raise ModelError(f"tensor type {dtype}: expected one of {', '.join(DTYPES)}; cast it inside the graph")


class DeviceMemory:
    """Bytes on the GPU; grows on demand, freed by :meth:`free`."""

    def __init__(self, cuda: Cuda, size: int = 0) -> None:
        self._cuda, self.size, self.address = cuda, 0, 0
        self.reserve(size)

    def reserve(self, size: int) -> int:
        """Hold at least ``size`` bytes; returns the address. Raises OutOfMemory; then nothing is held."""
        if size > self.size:
            self.free()
            self.address = int(self._cuda("cudaMalloc", size))
            self.size = size
        return self.address

    def free(self) -> None:
        """Give the memory back; a lost GPU has taken it already."""
        address, self.address, self.size = self.address, 0, 0
        if address:
            with contextlib.suppress(DeviceError):
                self._cuda("cudaFree", address)


class Buffer:
    """One tensor: ``host`` is an array in pinned memory, ``device`` the address of its place on the GPU."""

    def __init__(self, cuda: Cuda, shape: Shape, dtype: str) -> None:
        self._cuda = cuda
        self.size = prod(shape) * np.dtype(dtype).itemsize
        self._memory = DeviceMemory(cuda, max(1, self.size))
        self._pinned = 0
        try:
            self._pinned = int(cuda("cudaHostAlloc", max(1, self.size), cuda.runtime.cudaHostAllocDefault))
        except DeviceError:
            self._memory.free()
            raise
        raw = memoryview((ctypes.c_uint8 * self.size).from_address(self._pinned))
        self.host: Array = np.frombuffer(raw, dtype=np.dtype(dtype), count=prod(shape)).reshape(shape)

    @property
    def device(self) -> int:
        return self._memory.address

    def upload(self, stream: Any) -> None:
        """Begin the copy to the GPU."""
        kind = self._cuda.runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._cuda("cudaMemcpyAsync", self.device, self._pinned, self.size, kind, stream)

    def download(self, stream: Any) -> None:
        """Begin the copy from the GPU; ``host`` holds it after the stream was synchronised."""
        kind = self._cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._cuda("cudaMemcpyAsync", self._pinned, self.device, self.size, kind, stream)

    def free(self) -> None:
        """Give both memories back; ``host`` is not to be read afterwards."""
        self._memory.free()
        pinned, self._pinned = self._pinned, 0
        if pinned:
            self.host = np.empty(0)
            with contextlib.suppress(DeviceError):
                self._cuda("cudaFreeHost", pinned)


def output_allocator(trt: Any, cuda: Cuda) -> Any:
    """An ``IOutputAllocator`` for outputs whose size only the run tells: memory grows, the last shape is kept."""

    class Allocator(trt.IOutputAllocator):
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.memory = DeviceMemory(cuda)
            self.shape: Shape = ()
            self.failure: DeviceError | None = None

        def reallocate_output_async(self, tensor_name: str, memory: int, size: int, alignment: int, stream: int) -> int:
            """Called while TensorRT enqueues; returns an address, 0 if there is no memory."""
            try:
                return self.memory.reserve(max(1, size))
            except DeviceError as error:  # an exception must not cross into C++
                self.failure = error
                return 0

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            """Called with the shape, before the data are there."""
            self.shape = tuple(shape)

    return Allocator()
