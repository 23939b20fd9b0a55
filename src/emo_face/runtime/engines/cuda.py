"""CUDA asked before anything is loaded, and its calls with errors as exceptions (``cuda.bindings.runtime``).

TensorRT without a working driver ends the process instead of raising, so :func:`device` comes first. Which GPU is used
is CUDA's own choice: set ``CUDA_VISIBLE_DEVICES`` to name another.
"""

import ctypes
import importlib
from dataclasses import dataclass
from typing import Any

from emo_face.core.install import how_to_install
from emo_face.runtime.engines.base import DeviceError, EngineUnavailable, OutOfMemory

DRIVER = "libcuda.so.1"


@dataclass(frozen=True, slots=True)
class Device:
    """The GPU in use. ``memory``: bytes. ``compute``: capability, for example ``8.7``."""

    name: str
    compute: str
    memory: int
    driver: str
    runtime: str

    def __str__(self) -> str:
        return f"{self.name} (compute {self.compute}, {self.memory / 1e9:.0f} GB, driver for CUDA {self.driver})"


def bindings() -> Any:
    """The module ``cuda.bindings.runtime``. Raises EngineUnavailable if cuda-python is not installed."""
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError:
        raise EngineUnavailable(f"cuda-python is not installed: {how_to_install('tensorrt')}") from None


def driver() -> None:
    """Raises EngineUnavailable if this machine has no NVIDIA driver."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError as error:
        raise EngineUnavailable(f"no NVIDIA driver: {error}") from None


def device() -> Device:
    """The GPU, as CUDA itself tells.

    Raises:
        EngineUnavailable: no driver, one too old, no GPU, or cuda-python is missing; says which.
    """
    driver()
    runtime = bindings()
    own, theirs = _version(runtime.cudaRuntimeGetVersion()), _version(runtime.cudaDriverGetVersion())
    error, count = runtime.cudaGetDeviceCount()
    if int(error) != 0:
        raise EngineUnavailable(f"CUDA says {_said(runtime, error)}; its runtime is {own}, the driver serves {theirs}")
    if not count:
        raise EngineUnavailable("the NVIDIA driver sees no GPU")
    found = Cuda(runtime)("cudaGetDeviceProperties", 0)
    name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
    return Device(name.strip("\0"), f"{found.major}.{found.minor}", int(found.totalGlobalMem), theirs, own)


def _version(answer: tuple[Any, ...]) -> str:
    number = int(answer[1] or 0)
    return f"{number // 1000}.{number % 1000 // 10}"


def _said(runtime: Any, error: Any) -> str:
    texts = (runtime.cudaGetErrorName(error)[1], runtime.cudaGetErrorString(error)[1])
    name, text = (t.decode() if isinstance(t, bytes) else str(t) for t in texts)
    return f"{name} ({text})"


class Cuda:
    """``cuda.bindings.runtime`` with exceptions: ``cuda("cudaMalloc", size)`` returns the value or raises."""

    def __init__(self, runtime: Any | None = None) -> None:
        self.runtime = runtime if runtime is not None else bindings()

    def __call__(self, function: str, *arguments: Any) -> Any:
        """Call one function of the runtime.

        Raises:
            OutOfMemory: the GPU's memory is full. DeviceError: anything else that CUDA reports.
        """
        error, *values = getattr(self.runtime, function)(*arguments)
        if int(error) == int(self.runtime.cudaError_t.cudaErrorMemoryAllocation):
            self.runtime.cudaGetLastError()  # not sticky: clear it
            raise OutOfMemory(f"the GPU's memory is full ({function} of {arguments[0] if arguments else 0} bytes)")
        if int(error) != 0:
            raise DeviceError(f"the GPU failed: {function} says {_said(self.runtime, error)}")
        return values[0] if len(values) == 1 else tuple(values) or None
