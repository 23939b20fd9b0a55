"""Milliseconds of one model on each engine of this machine."""

import time
from pathlib import Path
from typing import Any

import numpy as np

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
            row |= _timed(_opened(name, path, plan, cache, cpu), feeds, rounds)
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


def _timed(engine: Engine, feeds: dict[str, Any], rounds: int) -> dict[str, float]:
    for _ in range(3):
        engine.run(feeds)
    spent = []
    for _ in range(max(1, rounds)):
        start = time.perf_counter()
        engine.run(feeds)
        spent.append((time.perf_counter() - start) * 1e3)
    return {"p50_ms": round(float(np.median(spent)), 3), "p95_ms": round(float(np.percentile(spent, 95)), 3)}
