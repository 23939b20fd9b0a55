"""The onnxruntime backend."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import ModelError
from emo_face.runtime.backend import Array, TensorSpec

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}


class OrtBackend:
    """An ONNX file in an onnxruntime session; fills :class:`emo_face.runtime.backend.InferenceBackend`.

    ``metadata`` holds the file's own key-value pairs.
    """

    def __init__(self, path: Path, threads: int = 1, providers: Sequence[str] | None = None) -> None:
        """Load ``path``.

        Args:
            threads: intra-op threads; 0 lets onnxruntime take every core. One is the default because the
                graph runs several processes and a robot's cores have other work.
            providers: execution providers in order of preference; those this build lacks are skipped,
                the CPU is always last. None means CPU only.

        Raises:
            ModelError: the file is missing, damaged or needs operators this onnxruntime lacks; names the file.
        """
        import onnxruntime as ort

        available = ort.get_available_providers()
        wanted = [p for p in providers or () if p in available and p != "CPUExecutionProvider"]
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning workers would burn the cores that the other nodes of the graph need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=[*wanted, "CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen types, none of them public
            reason = str(error).strip().splitlines()[0][:300]
            raise ModelError(
                f"{path} does not load as an ONNX model: {reason}; check it by `emo-face models verify`"
            ) from None
        self.name = f"onnxruntime/{self._session.get_providers()[0]}"
        self.path = path
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.inputs = [_spec(node) for node in self._session.get_inputs()]
        self.outputs = [_spec(node) for node in self._session.get_outputs()]

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """Run once. Raises ModelError naming the file where the model refuses its input."""
        try:
            return [np.asarray(value) for value in self._session.run(None, dict(feeds))]
        except Exception as error:
            reason = str(error).strip().splitlines()[0][:300]
            raise ModelError(f"{self.path}: inference failed: {reason}") from None

    def warm_up(self, shapes: Mapping[str, Sequence[int]], rounds: int = 2) -> float:
        """Run on zeros so that the first real frame is not the slow one; returns seconds of the last round."""
        types = {spec.name: spec.dtype for spec in self.inputs}
        feeds = {name: np.zeros(tuple(shape), dtype=types[name]) for name, shape in shapes.items()}
        seconds = 0.0
        for _ in range(rounds):
            start = time.perf_counter()
            self.run(feeds)
            seconds = time.perf_counter() - start
        return seconds


def available_providers() -> list[str]:
    """Execution providers of the installed onnxruntime, best first."""
    import onnxruntime as ort

    return list(ort.get_available_providers())


def _spec(node: Any) -> TensorSpec:
    shape = tuple(axis if isinstance(axis, int) else None for axis in node.shape)
    return TensorSpec(node.name, _DTYPES.get(node.type, node.type), shape)
