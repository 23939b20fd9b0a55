"""onnxruntime: on the CPU, on CUDA, or on TensorRT through its provider."""

import contextlib
import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from emo_face.core.errors import ModelError
from emo_face.core.install import how_to_install
from emo_face.runtime.engines.base import Array, DeviceError, EngineUnavailable, OutOfMemory, TensorSpec
from emo_face.runtime.engines.libraries import missing
from emo_face.runtime.engines.onnx_bytes import free_sides as free
from emo_face.runtime.engines.plan import Plan, Range

Provider = Literal["CPU", "CUDA", "Tensorrt"]

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}


class OrtEngine:
    """An ONNX file in an onnxruntime session; fills :class:`emo_face.runtime.engines.base.Engine`."""

    def __init__(
        self,
        path: Path,
        threads: int = 1,
        provider: Provider = "CPU",
        options: Mapping[str, str] | None = None,
        free_sides: bool = False,
    ) -> None:
        """Load ``path``.

        Args:
            threads: intra-op threads; 0 lets onnxruntime take every core. One is the default because the
                graph runs several processes and a robot's cores have other work.
            provider: what must run it; onnxruntime itself would go on with the CPU in silence.
            options: of the provider. free_sides: see :class:`~emo_face.runtime.engines.plan.Plan`.

        Raises:
            EngineUnavailable: the provider does not run here; names the missing libraries.
            ModelError: the file is missing, damaged or needs operators this onnxruntime lacks; names the file.
        """
        import onnxruntime as ort

        if provider != "CPU":
            check_provider(provider)
        try:
            self._session = ort.InferenceSession(
                free(path.read_bytes()) if free_sides else str(path),
                _session_options(threads),
                providers=_providers(provider, options),
                enable_fallback=0,
            )
        except Exception as error:  # onnxruntime raises a dozen types, none of them public
            reason = _reason(error)
            if provider != "CPU":
                raise EngineUnavailable(f"onnxruntime's {provider} provider does not start: {reason}") from None
            raise ModelError(
                f"{path} does not load as an ONNX model: {reason}; check it by `emo-face models verify`"
            ) from None
        first = self._session.get_providers()[0]
        if first != _full(provider):
            raise EngineUnavailable(f"onnxruntime fell back to {first}: {_why_not(provider)}")
        self.name, self.path = f"onnxruntime/{provider}", path
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.inputs = [_spec(node) for node in self._session.get_inputs()]
        self.outputs = [_spec(node) for node in self._session.get_outputs()]

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """Run once. Raises ModelError naming the file if the model refuses its input, OutOfMemory, DeviceError."""
        try:
            return [np.asarray(value) for value in self._session.run(None, dict(feeds))]
        except Exception as error:
            text = str(error)
            if _is_full(text):
                raise OutOfMemory(f"{self.path}: the GPU's memory is full") from None
            kind = DeviceError if "CUDA failure" in text or "CUDA error" in text else ModelError
            raise kind(f"{self.path}: inference failed: {_reason(error)}") from None


def _is_full(text: str) -> bool:
    """Whether onnxruntime's CUDA allocator or CUDA itself says that memory is full."""
    return "CUDA failure 2:" in text or ("Failed to allocate memory" in text and "BFCArena" in text)


def _session_options(threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning workers would burn the cores that the other nodes of the graph need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _full(provider: Provider) -> str:
    return f"{provider}ExecutionProvider"


def _providers(provider: Provider, options: Mapping[str, str] | None) -> list[Any]:
    """The provider with its options; CUDA behind TensorRT for what TensorRT does not take, the CPU always last."""
    chosen: list[Any] = [] if provider == "CPU" else [(_full(provider), dict(options or {}))]
    if provider == "Tensorrt":
        chosen.append((_full("CUDA"), {}))
    return [*chosen, _full("CPU")]


def tensorrt_options(plan: Plan, cache_folder: Path) -> dict[str, str]:
    """Options of onnxruntime's TensorRT provider: engines and timings kept, shapes as the plan says.

    Source: onnxruntime.ai, "TensorRT Execution Provider", Configurations. Precision is in the graph, so
    ``trt_fp16_enable`` stays off (TensorRT 11 has no such flag).
    """
    shapes = {
        f"trt_profile_{key}_shapes": ",".join(f"{name}:{_dims(r, at)}" for name, r in plan.shapes.items())
        for key, at in (("min", "least"), ("opt", "usual"), ("max", "most"))
        if plan.shapes
    }
    return {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(cache_folder),
        "trt_engine_cache_prefix": plan.name,
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(cache_folder),
        **shapes,
    }


def _dims(shapes: Range, which: str) -> str:
    return "x".join(map(str, getattr(shapes, which)))


def available_providers() -> list[str]:
    """Execution providers that this onnxruntime was built with, best first; their libraries may be missing."""
    import onnxruntime as ort

    return list(ort.get_available_providers())


@cache
def lacking(provider: Provider) -> tuple[str, ...]:
    """Shared libraries that this provider links and this machine lacks; empty: none, or no such provider.

    ``preload_dlls`` first brings in the CUDA that pip installed.
    """
    import onnxruntime as ort

    folder = Path(ort.__file__).parent / "capi"
    if hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints to stdout, which may be a report for scripts
            ort.preload_dlls()
    return tuple(missing(folder / f"libonnxruntime_providers_{provider.lower()}.so"))


def check_provider(provider: Provider) -> None:
    """Raises EngineUnavailable if this onnxruntime was built without ``provider`` or libraries are missing."""
    if _full(provider) not in available_providers():
        raise EngineUnavailable(
            f"this onnxruntime is built without {provider}: pip uninstall onnxruntime; {how_to_install('gpu')}"
        )
    if absent := lacking(provider):
        raise EngineUnavailable(f"onnxruntime's {provider} provider lacks {', '.join(absent)}")


def _why_not(provider: Provider) -> str:
    from emo_face.runtime.engines.cuda import device

    try:
        return f"its {provider} provider did not start on {device()}"
    except EngineUnavailable as error:
        return str(error)


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _spec(node: Any) -> TensorSpec:
    shape = tuple(axis if isinstance(axis, int) else None for axis in node.shape)
    return TensorSpec(node.name, _DTYPES.get(node.type, node.type), shape)
