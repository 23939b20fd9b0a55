"""A GPU in this process: memory with addresses, streams that do nothing until they are waited for, CUDA's error codes.

Rules, by NVIDIA's "CUDA Runtime API" (section in brackets):
- every function returns ``(error, value)`` and raises nothing (cuda-python, "Runtime API");
- work put on a stream runs later; results are there after a synchronisation ("API synchronization behavior");
- a non-blocking stream does not wait for the default stream, nor it for that one ("Stream synchronization behavior");
- a failed allocation is cudaErrorMemoryAllocation and leaves the context usable; after a launch failure every later
  call returns the same error, until the process ends ("Data types", cudaError_t);
- a capture records work instead of running it, and refuses synchronisation ("Stream Management").
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from api_surface import module, read

OK, MEMORY, LAUNCH, DRIVER, INVALID = 0, 2, 719, 35, 1
CAPTURING = 900  # cudaErrorStreamCaptureUnsupported
POISON = 0xAB  # what fresh and freed memory holds


class Handle(int):
    """A stream, graph or executable graph: cuda-python's handle types turn into addresses by ``int``."""


@dataclass
class FakeGpu:
    """``memory``: bytes. ``lost``: the next launch fails, and everything after it. ``count``: GPUs; 0: none."""

    name: str = "Orin"
    compute: tuple[int, int] = (8, 7)
    memory: int = 1 << 30
    count: int = 1
    driver_error: int = OK
    lost: bool = False
    failed: bool = False
    copies: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.device: dict[int, Any] = {}
        self.pinned: dict[int, Any] = {}
        self.streams: dict[int, list[Callable[[], None]]] = {}
        self.capture: dict[int, list[Callable[[], None]]] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.launches = 0
        self._next = 1000

    @property
    def used(self) -> int:
        return sum(len(block) for block in self.device.values())

    def handle(self) -> Handle:
        self._next += 1
        return Handle(self._next)

    def enqueue(self, stream: int, work: Callable[[], None]) -> None:
        """Put work on a stream, or into the graph that is being captured from it."""
        (self.capture[int(stream)] if int(stream) in self.capture else self.streams[int(stream)]).append(work)

    def flush(self, stream: int) -> None:
        """Run what waits on a stream, in order."""
        waiting = self.streams[int(stream)]
        while waiting:
            waiting.pop(0)()

    def view(self, address: int, size: int, where: str) -> Any:
        """Bytes at an address of ``device`` or ``pinned`` memory; anything else is a bug of the caller."""
        for start, block in getattr(self, where).items():
            if start <= address and address + size <= start + len(block):
                return block[address - start : address - start + size]
        raise AssertionError(f"{size} bytes at {address:#x} are no {where} memory (freed, or never allocated)")


def fake_runtime(gpu: FakeGpu, recording: str) -> ModuleType:
    """``cuda.bindings.runtime`` on ``gpu``, with the recorded names of one version."""
    functions = {
        name.removeprefix("_"): _coded(gpu, value)
        for name, value in vars(_Functions(gpu, recording)).items()
        if name.startswith("cuda")
    }
    surface = read(recording)
    made = module(surface, {}, functions)
    return made


def _coded(gpu: FakeGpu, call: Callable[..., Any]) -> Callable[..., Any]:
    def answer(*args: Any) -> Any:
        code, *values = call(*args)
        return (gpu.error(code), *values)

    return answer


class _Functions:
    """The functions that an engine needs; attributes ``cuda...`` become the module's."""

    def __init__(self, gpu: FakeGpu, recording: str) -> None:
        surface = read(recording)
        members = surface["classes"]["cudaError_t"]["members"]
        from api_surface import enumeration

        gpu.error = enumeration("cudaError_t", members)  # type: ignore[attr-defined]
        properties = set(surface["classes"]["cudaDeviceProp"]["properties"])
        for name in dir(self):
            if name.startswith("do_"):
                setattr(self, f"cuda{name[3:]}", self._sticky(getattr(self, name)))
        self.gpu, self.properties = gpu, properties

    def _sticky(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any) -> Any:
            if self.gpu.failed and call.__name__ not in ("do_GetErrorName", "do_GetErrorString"):
                return (LAUNCH, None)
            if self.gpu.driver_error and "Version" not in call.__name__ and "Error" not in call.__name__:
                return (self.gpu.driver_error, None)
            return call(*args)

        return guarded

    def do_GetDeviceCount(self) -> Any:
        return OK, self.gpu.count

    def do_DriverGetVersion(self) -> Any:
        return OK, 12060

    def do_RuntimeGetVersion(self) -> Any:
        return OK, 13040

    def do_GetDeviceProperties(self, device: int) -> Any:
        values = {
            "name": self.gpu.name.encode() + b"\0" * 8,
            "major": self.gpu.compute[0],
            "minor": self.gpu.compute[1],
            "totalGlobalMem": self.gpu.memory,
        }
        assert set(values) <= self.properties
        return OK, SimpleNamespace(**values)

    def do_GetErrorName(self, error: Any) -> Any:
        return OK, self.gpu.error(int(error)).name.encode()

    def do_GetErrorString(self, error: Any) -> Any:
        return OK, f"error {int(error)}".encode()

    def do_GetLastError(self) -> Any:
        return (OK,)

    def do_MemGetInfo(self) -> Any:
        return OK, self.gpu.memory - self.gpu.used, self.gpu.memory

    def do_Malloc(self, size: int) -> Any:
        assert size > 0
        if self.gpu.used + size > self.gpu.memory:
            return MEMORY, None
        return OK, self._block(self.gpu.device, size)

    def do_HostAlloc(self, size: int, flags: int) -> Any:
        return OK, self._block(self.gpu.pinned, size)

    @staticmethod
    def _block(table: dict[int, Any], size: int) -> int:
        block = np.full(size, POISON, np.uint8)
        table[block.ctypes.data] = block
        return int(block.ctypes.data)

    def do_Free(self, address: int) -> Any:
        self.gpu.device.pop(int(address))[:] = POISON  # KeyError: freed twice
        return (OK,)

    def do_FreeHost(self, address: int) -> Any:
        self.gpu.pinned.pop(int(address))[:] = POISON
        return (OK,)

    def do_StreamCreateWithFlags(self, flags: int) -> Any:
        assert flags == 1, "cudaStreamNonBlocking: else it waits for everybody's default stream"
        stream = self.gpu.handle()
        self.gpu.streams[int(stream)] = []
        return OK, stream

    def do_StreamDestroy(self, stream: Any) -> Any:
        self.gpu.flush(stream)  # it returns at once and the work still ends; nobody can wait for it here
        del self.gpu.streams[int(stream)]
        return (OK,)

    def do_StreamSynchronize(self, stream: Any) -> Any:
        if int(stream) in self.gpu.capture:
            return (CAPTURING,)
        if self.gpu.lost:
            self.gpu.failed = True
            return (LAUNCH,)
        self.gpu.flush(stream)
        return (OK,)

    def do_MemcpyAsync(self, dst: int, src: int, count: int, kind: Any, stream: Any) -> Any:
        places = {1: ("device", "pinned"), 2: ("pinned", "device")}[int(kind)]
        for address, where in zip((dst, src), places, strict=True):
            self.gpu.view(int(address), count, where)  # pageable memory would be staged, and spoil a capture

        def copy() -> None:
            self.gpu.view(int(dst), count, places[0])[:] = self.gpu.view(int(src), count, places[1])

        self.gpu.copies.append(self.gpu.error(OK).name and places[0])
        self.gpu.enqueue(stream, copy)
        return (OK,)

    def do_Memcpy(self, dst: int, src: int, count: int, kind: Any) -> Any:
        """On the default stream, for which a non-blocking stream does not wait: it sees what is there now."""
        assert int(kind) == 2
        ctypes.memmove(int(dst), self.gpu.view(int(src), count, "device").ctypes.data, count)
        return (OK,)

    def do_StreamBeginCapture(self, stream: Any, mode: Any) -> Any:
        if self.gpu.streams[int(stream)]:
            return (INVALID,)
        self.gpu.capture[int(stream)] = []
        return (OK,)

    def do_StreamEndCapture(self, stream: Any) -> Any:
        graph = self.gpu.handle()
        self.gpu.graphs[int(graph)] = self.gpu.capture.pop(int(stream))
        return OK, graph

    def do_GraphInstantiate(self, graph: Any, flags: int) -> Any:
        made = self.gpu.handle()
        self.gpu.graphs[int(made)] = list(self.gpu.graphs[int(graph)])
        return OK, made

    def do_GraphLaunch(self, graph: Any, stream: Any) -> Any:
        self.gpu.launches += 1
        for work in self.gpu.graphs[int(graph)]:
            self.gpu.enqueue(stream, work)
        return (OK,)

    def do_GraphDestroy(self, graph: Any) -> Any:
        del self.gpu.graphs[int(graph)]
        return (OK,)

    do_GraphExecDestroy = do_GraphDestroy
