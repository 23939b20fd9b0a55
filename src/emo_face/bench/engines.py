"""Milliseconds of one model on each engine of this machine."""

from functools import partial
from pathlib import Path
from typing import Any

from emo_face.bench.probes.machine import milliseconds
from emo_face.runtime.engines.base import Engine, EngineUnavailable
from emo_face.runtime.engines.cache import EngineCache
from emo_face.runtime.engines.ort import OrtEngine
from emo_face.runtime.engines.plan import Plan, samples
from emo_face.runtime.engines.tensorrt.load import built


def measure(path: Path, plan: Plan, cache: EngineCache, rounds: int = 50) -> list[dict[str, Any]]:
    """One row per engine: ``p50_ms``, ``p95_ms`` at the plan's usual shapes, or ``why_not``."""
    cpu = OrtEngine(path, free_sides=plan.free_sides)
    (feeds,) = samples(plan, cpu, ("usual",))
    shapes = {name: list(value.shape) for name, value in feeds.items()}
    rows = []
    for name in ("onnxruntime/CPU", "onnxruntime/CUDA", "tensorrt"):
        row: dict[str, Any] = {"model": plan.name, "engine": name, "shapes": shapes, "why_not": ""}
        try:
            engine = _opened(name, path, plan, cache, cpu)
            row |= milliseconds(partial(engine.run, feeds), max(1, rounds), warm_up=3)
        except EngineUnavailable as error:
            row["why_not"] = str(error)
        rows.append(row)
    return rows


def _opened(name: str, path: Path, plan: Plan, cache: EngineCache, cpu: Engine) -> Engine:
    if name == "onnxruntime/CPU":
        return cpu
    if plan.cpu_only:
        raise EngineUnavailable(plan.cpu_only)
    if name == "onnxruntime/CUDA":
        return OrtEngine(path, 1, "CUDA", None, plan.free_sides)
    return built(path, plan, cache)
