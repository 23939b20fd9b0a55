"""TensorRT's module, loaded only if CUDA works: without it a bare ``Runtime`` ends the process (seen with 11.4)."""

import importlib
import logging
from collections import deque
from dataclasses import dataclass
from typing import Any

from emo_face.core.install import how_to_install
from emo_face.runtime.engines.base import EngineUnavailable
from emo_face.runtime.engines.cuda import Device, device

log = logging.getLogger(__name__)

OLDEST, NEWEST = (10, 3), (11, 4)
"""Versions whose recorded API every call here was held to (tests/data/tensorrt)."""


@dataclass(frozen=True)
class TensorRT:
    """The module ``tensorrt``, its version, the GPU, and a logger that remembers the last errors."""

    module: Any
    version: str
    gpu: Device
    logger: Any

    def last_error(self, otherwise: str) -> str:
        """What TensorRT logged last as an error, in one line; most of its calls only return None or False."""
        return self.logger.errors[-1] if self.logger.errors else otherwise


def tensorrt() -> TensorRT:
    """Load TensorRT.

    Raises:
        EngineUnavailable: no CUDA, TensorRT is not installed, its libraries are missing, or a version never held to.
    """
    gpu = device()
    try:
        module = importlib.import_module("tensorrt")
    except ModuleNotFoundError:
        raise EngineUnavailable(f"tensorrt is not installed: {how_to_install('tensorrt')}") from None
    except (ImportError, OSError) as error:  # a library that the wheel links
        raise EngineUnavailable(f"tensorrt does not load: {error}") from None
    version = str(module.__version__)
    if not OLDEST <= _numbers(version) <= NEWEST:
        low, high = (".".join(map(str, v)) for v in (OLDEST, NEWEST))
        raise EngineUnavailable(f"tensorrt {version} is outside {low} to {high}, which this package was held to")
    return TensorRT(module, version, gpu, _logger(module))


def _numbers(version: str) -> tuple[int, int]:
    parts = version.split(".")
    return int(parts[0]), int(parts[1])


def _logger(trt: Any) -> Any:
    """An ``ILogger`` that passes on to :mod:`logging` and keeps errors, the only reason that TensorRT gives."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=20)

        def log(self, severity: Any, msg: str) -> None:
            """Called by TensorRT, from any thread."""
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(" ".join(msg.split())[:300])
                log.error("TensorRT: %s", msg)
            elif severity == trt.ILogger.Severity.WARNING:
                log.debug("TensorRT: %s", msg)  # dozens a build, none for the user

    return Logger()
