"""ONNX to a serialised TensorRT engine: strongly typed, one optimisation profile, timings kept for the next build.

Precision lives in the graph (casts, Q/DQ nodes): TensorRT 11 has no other way, and 10.3 takes it too.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emo_face.core.errors import ModelError, UserError
from emo_face.runtime.engines.base import EngineUnavailable
from emo_face.runtime.engines.cuda import Cuda
from emo_face.runtime.engines.onnx_bytes import free_sides
from emo_face.runtime.engines.plan import Plan
from emo_face.runtime.engines.tensorrt.library import TensorRT
from emo_face.runtime.files import replacing

Progress = Callable[[str, int, int], bool]
"""Called with (phase, steps done, steps in all); False ends the build."""


def build(library: TensorRT, model: Path, plan: Plan, timings: Path, progress: Progress | None = None) -> Any:
    """Build the engine of ``model``; returns TensorRT's own memory, which has the buffer protocol.

    Args:
        timings: file with the timing cache; read if it is there, written afterwards.

    Raises:
        EngineUnavailable: TensorRT does not take the model, or fails; with its own words.
        ModelError: ``plan`` does not cover an input with a dynamic axis.
    """
    trt = library.module
    builder = trt.Builder(library.logger)
    # A flag's place in the mask is its value, which is 1 up to 10.16 and 0 in 11.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, library.logger)
    parsed = parser.parse(free_sides(model.read_bytes())) if plan.free_sides else parser.parse_from_file(str(model))
    if not parsed:
        said = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise EngineUnavailable(f"TensorRT {library.version} does not take {model.name}: {(said or ['no reason'])[0]}")
    config = builder.create_builder_config()
    free, _ = Cuda()("cudaMemGetInfo")
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(free) // 2)  # a Jetson's memory is everybody's
    _profile(builder, network, config, plan, model)
    if progress is not None:
        config.progress_monitor = _monitor(trt, progress)
    before = timings.read_bytes() if timings.is_file() else b""
    config.set_timing_cache(config.create_timing_cache(before), False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise EngineUnavailable(
            f"TensorRT {library.version} could not build {model.name}: {library.last_error('it gives no reason')}"
        )
    _keep(config, timings)
    return engine


def _profile(builder: Any, network: Any, config: Any, plan: Plan, model: Path) -> None:
    """Give every dynamic input its shapes; a model without one needs no profile."""
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    dynamic = [tensor.name for tensor in inputs if any(axis < 0 for axis in tensor.shape)]
    if not dynamic:
        return
    if lacking := [name for name in dynamic if name not in plan.shapes]:
        raise ModelError(
            f"{model}: input {', '.join(lacking)} is dynamic and plan {plan.name!r} gives no shapes for it"
        )
    profile = builder.create_optimization_profile()
    for name in dynamic:
        shapes = plan.shapes[name]
        profile.set_shape(name, shapes.least, shapes.usual, shapes.most)
    if config.add_optimization_profile(profile) < 0:
        raise ModelError(f"{model}: TensorRT refuses the shapes of plan {plan.name!r}: {plan.described()['profile']}")


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """Called when a phase begins, from any thread of the builder."""
            self.steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            """Called after each step; False cancels the build."""
            return progress(phase_name, step + 1, self.steps.get(phase_name, 0))

        def phase_finish(self, phase_name: str) -> None:
            """Called when a phase ends, also when it was cancelled."""
            total = self.steps.pop(phase_name, 0)
            progress(phase_name, total, total)

    return Monitor()


def _keep(config: Any, timings: Path) -> None:
    """Keep the timings; without them the next build is slower, so a full disk is no error here."""
    cache = config.get_timing_cache()
    if cache is not None:
        with contextlib.suppress(UserError), replacing(timings) as scratch:
            scratch.write_bytes(memoryview(cache.serialize()))
