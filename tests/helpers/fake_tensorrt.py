"""TensorRT on a :class:`fake_cuda.FakeGpu`: the recorded API of one version, ONNX run by onnxruntime behind it.

Rules, by NVIDIA's "TensorRT Developer Guide" (DG) and "Python API" (PY):
- factories and builds return None on failure and say why to the logger only (PY, Builder.build_serialized_network,
  Runtime.deserialize_cuda_engine); a parse returns False and has errors (PY, OnnxParser.parse_from_file);
- without CUDA ``Builder`` raises TypeError "factory function returned nullptr", and ``Runtime`` returns an object whose
  ``deserialize_cuda_engine`` ends the process (both measured with the real bindings, 11.4);
- an engine serves the version, GPU and platform that built it (DG, Engine Compatibility);
- a shape outside the profile is refused by ``set_input_shape`` (DG, Working with Dynamic Shapes);
- ``execute_async_v3`` only enqueues; every address must be set before (PY, IExecutionContext);
- an output whose size depends on the data needs an output allocator, and its enqueue waits for the stream (DG,
  Dynamically Shaped Output);
- a context without memory of its own needs ``set_device_memory`` first (PY, ExecutionContextAllocationStrategy).
"""

from __future__ import annotations

import inspect
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
from api_surface import module, read
from fake_cuda import FakeGpu

MAGIC = b"ftrt"
SCRATCH = 4096  # bytes that every context needs
TYPES = {
    "tensor(float)": "FLOAT",
    "tensor(int64)": "INT64",
    "tensor(float16)": "HALF",
    "tensor(bool)": "BOOL",
    "tensor(int32)": "INT32",
    "tensor(uint8)": "UINT8",
    "tensor(double)": None,
}


@dataclass
class World:
    """What goes wrong. ``refused``: an operator that the parser does not know. ``build_fails``: text it logs."""

    gpu: FakeGpu
    version: str = ""
    refused: str = ""
    build_fails: str = ""
    error: float = 0.0  # added to every output: an engine that computes something else
    built: list[str] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    trt: Any = None
    virtual: dict[str, list[str] | None] = field(default_factory=dict)


def fake_tensorrt(world: World, recording: str) -> ModuleType:
    """The module ``tensorrt`` of one recorded version on ``world``."""
    surface = read(recording)
    world.version = surface["version"]
    classes = {name: type(name, (_Part,), {**_own(kind), "_world": world}) for name, kind in _PARTS.items()}
    made = module(surface, classes, {})
    made.__version__ = surface["version"]  # type: ignore[attr-defined]
    world.trt = made
    world.virtual = surface["virtual"]
    return made


def _own(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__", "__module__")}


def check_overrides(world: World, child: Any) -> None:
    """What a Python subclass overrides must be called by the library under that name with those arguments."""
    assert child._ready, "the base's __init__ was not called: the library would crash"
    for name, method in vars(type(child)).items():
        if not name.startswith("_") and callable(method):
            assert name in world.virtual, f"the library never calls {name}"
            if (recorded := world.virtual[name]) is not None:
                assert list(inspect.signature(method).parameters) == recorded


class _Part:
    """Anything the library makes: ``cls._made(**state)`` instead of a constructor."""

    _world: World

    @classmethod
    def _made(cls, **state: Any) -> Any:
        self = cls.__new__(cls)
        for name, value in state.items():
            object.__setattr__(self, f"_{name}", value)
        return self

    def _log(self, text: str) -> None:
        self._logger.log(self._world.trt.ILogger.Severity.ERROR, text)

    def _new(self, name: str, **state: Any) -> Any:
        return getattr(self._world.trt, name)._made(**state)


class Memory(bytes):
    """``IHostMemory``: bytes of the library's own."""

    nbytes = property(len)


class _ILogger:
    def __init__(self) -> None:
        pass

    def log(self, severity: Any, msg: str) -> None:
        raise AssertionError("a logger overrides log")


class _IProgressMonitor:
    def __init__(self) -> None:
        object.__setattr__(self, "_ready", True)  # without the base's __init__ the library crashes


class _IOutputAllocator:
    def __init__(self) -> None:
        object.__setattr__(self, "_ready", True)


class _Builder:
    def __init__(self, logger: Any) -> None:
        if not self._world.gpu.count or self._world.gpu.driver_error:
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger = logger

    def create_network(self, flags: int = 0) -> Any:
        self._world.flags.append(flags)
        strongly = 1 << int(self._world.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        assert flags == strongly, f"flags {flags:#b}, strongly typed alone is {strongly:#b}"
        return self._new("INetworkDefinition", model=None, session=None, data=b"")

    def create_builder_config(self) -> Any:
        return self._new("IBuilderConfig", monitor=None, profiles=[], timings=None, limits={})

    def create_optimization_profile(self) -> Any:
        return self._new("IOptimizationProfile", shapes={})

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        if self._world.build_fails:
            self._log(self._world.build_fails)
            return None
        if not self._told(config._monitor):
            self._log("Build cancelled by the progress monitor.")
            return None
        dynamic = [i.name for i in network._session.get_inputs() if any(not isinstance(a, int) for a in i.shape)]
        profile = config._profiles[0]._shapes if config._profiles else {}
        if lacking := [name for name in dynamic if name not in profile]:
            self._log(f"Network has dynamic inputs {lacking} but no optimization profile has been defined.")
            return None
        gpu = self._world.gpu
        card = {
            "tensorrt": self._world.version,
            "gpu": gpu.name,
            "compute": gpu.compute,
            "path": str(network._model),
            "profile": profile,
        }
        content = json.dumps(card).encode() + b"\n" + network._data
        self._world.built.append(Path(network._model).name)
        config._timings._data = b"timings of " + str(len(self._world.built)).encode()
        return Memory(MAGIC + zlib.crc32(content).to_bytes(4, "little") + content)

    def _told(self, monitor: Any) -> bool:
        if monitor is None:
            return True
        check_overrides(self._world, monitor)
        monitor.phase_start("Building engine", None, 2)
        going = all(monitor.step_complete("Building engine", step) for step in range(2))
        monitor.phase_finish("Building engine")
        return going


class _INetworkDefinition:
    num_inputs = property(lambda self: len(self._session.get_inputs()))

    def get_input(self, index: int) -> Any:
        node = self._session.get_inputs()[index]
        return self._new("ITensor", node=node)


class _ITensor:
    name = property(lambda self: self._node.name)
    shape = property(lambda self: tuple(a if isinstance(a, int) else -1 for a in self._node.shape))


class _OnnxParser:
    def __init__(self, network: Any, logger: Any) -> None:
        self._network, self._logger, self._errors = network, logger, []

    def parse_from_file(self, model: str) -> bool:
        return self._parsed(model, Path(model).read_bytes())

    def parse(self, model: bytes, path: str | None = None) -> bool:
        return self._parsed("bytes", model)

    def _parsed(self, path: str, data: bytes) -> bool:
        self._network._model, self._network._data = path, data
        try:
            self._network._session = session(path, data)
            if self._world.refused:
                raise RuntimeError(f"No importer registered for op: {self._world.refused}.")
        except Exception as error:
            self._errors.append(self._new("ParserError", text=str(error).splitlines()[0]))
            return False
        return True

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index: int) -> Any:
        return self._errors[index]


class _ParserError:
    def desc(self) -> str:
        return self._text


class _IBuilderConfig:
    progress_monitor = property(
        lambda self: self._monitor, lambda self, value: object.__setattr__(self, "_monitor", value)
    )

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        assert 0 < pool_size <= self._world.gpu.memory
        self._limits[pool] = pool_size

    def add_optimization_profile(self, profile: Any) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        return self._new("ITimingCache", data=bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        self._timings = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._timings


class _ITimingCache:
    def serialize(self) -> Memory:
        return Memory(self._data)


class _IOptimizationProfile:
    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self._shapes[input] = (list(min), list(opt), list(max))


class _Runtime:
    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        gpu, data = self._world.gpu, bytes(serialized_engine)
        if not gpu.count or gpu.driver_error:
            raise SystemError("Segmentation fault: TensorRT was used without CUDA")
        if data[:4] != MAGIC or zlib.crc32(data[8:]).to_bytes(4, "little") != data[4:8]:
            self._log("Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed.")
            return None
        head, model = data[8:].split(b"\n", 1)
        card = json.loads(head)
        if (card["tensorrt"], card["gpu"]) != (self._world.version, gpu.name):
            self._log("The engine plan file is not compatible with this version of TensorRT or this device.")
            return None
        return self._new(
            "ICudaEngine", logger=self._logger, session=session(card["path"], model), profile=card["profile"]
        )


class _ICudaEngine:
    num_io_tensors = property(lambda self: len(self._nodes()))
    device_memory_size_v2 = property(lambda self: SCRATCH)

    def _nodes(self) -> dict[str, Any]:
        every = (*self._session.get_inputs(), *self._session.get_outputs())
        return {node.name: node for node in every}

    def get_tensor_name(self, index: int) -> str:
        return list(self._nodes())[index]

    def get_tensor_mode(self, name: str) -> Any:
        given = name in {node.name for node in self._session.get_inputs()}
        return self._world.trt.TensorIOMode.INPUT if given else self._world.trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return getattr(self._world.trt.DataType, TYPES[self._nodes()[name].type])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(a if isinstance(a, int) else -1 for a in self._nodes()[name].shape)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        return self._profile[name]

    def create_execution_context(self, strategy: Any = None, runtime_config: Any = None) -> Any:
        own = strategy != self._world.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        assert not own, "each context would hold its own scratch memory"
        return self._new(
            "IExecutionContext", engine_of=self, shapes={}, addresses={}, allocators={}, scratch=0, known=None
        )


class _IExecutionContext:
    def set_device_memory(self, memory: int, size: int) -> None:
        assert size >= SCRATCH
        self._world.gpu.view(memory, size, "device")
        self._scratch = memory

    def set_input_shape(self, name: str, shape: Any) -> bool:
        profile = self._engine_of._profile.get(name)
        fixed = self._engine_of.get_tensor_shape(name)
        if profile is None:
            inside = tuple(shape) == fixed
        else:
            inside = len(shape) == len(profile[0]) and all(
                a <= b <= c for a, b, c in zip(profile[0], shape, profile[2], strict=True)
            )
        if inside:
            self._shapes[name] = tuple(shape)
            self._known = None
        return inside

    def infer_shapes(self) -> list[str]:
        return [node.name for node in self._engine_of._session.get_inputs() if node.name not in self._shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._shapes:
            return self._shapes[name]
        if self._known is None:
            blank = {n.name: np.zeros(self._shapes[n.name], _numpy(n)) for n in self._engine_of._session.get_inputs()}
            found = self._engine_of._session.run(None, blank)
            outputs = self._engine_of._session.get_outputs()
            self._known = {n.name: _after(n, value) for n, value in zip(outputs, found, strict=True)}
        return self._known[name]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def set_output_allocator(self, name: str, output_allocator: Any) -> bool:
        check_overrides(self._world, output_allocator)
        self._allocators[name] = output_allocator
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        gpu, engine = self._world.gpu, self._engine_of
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        unset = [n for n in names if n not in self._addresses and n not in self._allocators]
        if unset or not self._scratch or gpu.failed:
            engine._log(f"Error Code 3: no address for {unset}, or no device memory")
            return False
        given = {
            n.name: (self._addresses[n.name], self._shapes[n.name], _numpy(n)) for n in engine._session.get_inputs()
        }
        if self._allocators:
            gpu.flush(stream_handle)
            return self._deferred(given, stream_handle)
        gpu.enqueue(stream_handle, lambda: self._compute(given))
        return True

    def _run(self, given: Any) -> list[Any]:
        feeds = {
            name: self._world.gpu.view(address, int(np.prod(shape)) * np.dtype(kind).itemsize, "device")
            .view(kind)
            .reshape(shape)
            .copy()
            for name, (address, shape, kind) in given.items()
        }
        found = self._engine_of._session.run(None, feeds)
        return [v + np.asarray(self._world.error, v.dtype) if v.dtype.kind == "f" else v for v in found]

    def _compute(self, given: Any) -> None:
        for node, value in zip(self._engine_of._session.get_outputs(), self._run(given), strict=True):
            data = np.ascontiguousarray(value)
            place = self._world.gpu.view(self._addresses[node.name], data.nbytes, "device")
            place[:] = data.view(np.uint8).reshape(-1) if data.size else place

    def _deferred(self, given: Any, stream: int) -> bool:
        for node, value in zip(self._engine_of._session.get_outputs(), self._run(given), strict=True):
            data = np.ascontiguousarray(value)
            address = self._addresses.get(node.name)
            if node.name in self._allocators:
                allocator = self._allocators[node.name]
                address = allocator.reallocate_output_async(node.name, 0, data.nbytes, 256, stream)
                allocator.notify_shape(node.name, data.shape)
                if not address:
                    return False
            self._world.gpu.view(address, data.nbytes, "device")[:] = data.view(np.uint8).reshape(-1)
        return True


def session(path: str, data: bytes | None = None) -> Any:
    """onnxruntime on the CPU; weights beside the file need its path."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    source = path if data is None or Path(f"{path}.data").is_file() else data
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _numpy(node: Any) -> str:
    return {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(float16)": "float16"}[node.type]


def _after(node: Any, value: Any) -> tuple[int, ...]:
    """-1 where the graph's own name says that the data decide."""
    named = (a if isinstance(a, str) else "" for a in node.shape)
    return tuple(-1 if name.startswith("data") else size for name, size in zip(named, value.shape, strict=True))


_PARTS = {
    name.removeprefix("_"): kind
    for name, kind in list(globals().items())
    if name.startswith("_") and isinstance(kind, type) and name != "_Part"
}
