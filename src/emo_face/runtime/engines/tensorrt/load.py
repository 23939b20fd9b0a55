"""Engines from the cache, and engines built, compared with ONNX and kept."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emo_face.core.errors import UserError
from emo_face.runtime.engines import parity
from emo_face.runtime.engines.base import EngineUnavailable
from emo_face.runtime.engines.cache import EngineCache, Entry, engine_key
from emo_face.runtime.engines.ort import OrtEngine
from emo_face.runtime.engines.parity import Parity
from emo_face.runtime.engines.plan import Plan, samples
from emo_face.runtime.engines.tensorrt.build import Progress, build
from emo_face.runtime.engines.tensorrt.engine import TensorRTEngine
from emo_face.runtime.engines.tensorrt.library import TensorRT, tensorrt

Say = Callable[[str], None]


@dataclass(frozen=True)
class Built:
    """A built engine. ``kept``: False if it could not be written. ``fresh``: built now, not found."""

    engine: TensorRTEngine
    path: Path
    parity: list[Parity]
    seconds: float
    kept: bool = True
    fresh: bool = True


def built(path: Path, plan: Plan, cache: EngineCache) -> TensorRTEngine:
    """The engine in the cache.

    Raises:
        EngineUnavailable: no TensorRT here, or no whole engine for this model, GPU and version; says what differs.
    """
    library = tensorrt()
    key = _key(library, path, plan)
    entry = cache.find(key)
    if entry is not None and entry.state == "ok":
        return _opened(library, entry, path)
    how = f"`emo-face engine build {plan.name}` makes it"
    if entry is not None:
        raise EngineUnavailable(f"the TensorRT engine is {entry.state} ({entry.detail}): {how}")
    stale = cache.stale(key)
    raise EngineUnavailable(f"the TensorRT engine is stale ({stale}): {how}" if stale else f"no TensorRT engine: {how}")


def build_and_load(path: Path, plan: Plan, cache: EngineCache, say: Say) -> TensorRTEngine:
    """The engine from the cache; a missing, stale or damaged one is built first, which takes minutes.

    Raises:
        EngineUnavailable, ModelError: TensorRT is not there, does not take the model, or differs from ONNX.
    """
    return make(path, plan, cache, say).engine


def make(
    path: Path, plan: Plan, cache: EngineCache, say: Say, progress: Progress | None = None, again: bool = False
) -> Built:
    """Find or build the engine of ``path``; ``again`` builds it anyway. One process builds at a time, others wait.

    Raises: as :func:`build_and_load`.
    """
    if plan.cpu_only:
        raise EngineUnavailable(f"{plan.name} has no TensorRT engine: {plan.cpu_only}")
    library = tensorrt()
    key = _key(library, path, plan)
    with cache.lock(key, say):
        entry = cache.find(key)
        if entry is not None and entry.state == "ok" and not again:
            try:
                engine = _opened(library, entry, path)
                rows = [Parity(**row) for row in entry.card.get("parity", [])]
                return Built(engine, entry.path, rows, float(entry.card.get("seconds", 0)), fresh=False)
            except EngineUnavailable as error:
                say(f"{plan.name}: {error}: it is built again")
        elif entry is not None and entry.state != "ok":
            say(f"{plan.name}: the engine is {entry.state} ({entry.detail}): it is built again")
        elif stale := cache.stale(key):
            say(f"{plan.name}: the engine is stale ({stale}): it is built again")
        return _build(library, key, path, plan, cache, say, progress)


def _build(
    library: TensorRT,
    key: dict[str, Any],
    path: Path,
    plan: Plan,
    cache: EngineCache,
    say: Say,
    progress: Progress | None,
) -> Built:
    """Compare with ONNX on the CPU before the engine is kept; the two are never in memory together."""
    original = OrtEngine(path, threads=0, free_sides=plan.free_sides)
    feeds = list(samples(plan, original))
    wanted, metadata = parity.reference(original, feeds), original.metadata
    del original
    start = time.monotonic()
    blob = build(library, path, plan, timings(cache, library), progress)
    seconds = time.monotonic() - start
    view = memoryview(blob)
    engine = TensorRTEngine(library, view, path, metadata)
    rows = parity.compare(engine, feeds, wanted)
    parity.require(rows, path)
    details = {"seconds": round(seconds, 1), "parity": [asdict(row) for row in rows], "metadata": metadata}
    try:
        cache.write(key, view, details)
    except UserError as error:
        say(f"{plan.name}: the engine is used but not kept: {error}")
        return Built(engine, cache.path(key), rows, seconds, kept=False)
    return Built(engine, cache.path(key), rows, seconds)


def timings(cache: EngineCache, library: TensorRT) -> Path:
    """The timing cache of this TensorRT and GPU: measurements of kernels, shared by all models."""
    gpu = "".join(letter if letter.isalnum() else "_" for letter in library.gpu.name)
    cache.folder.mkdir(parents=True, exist_ok=True)
    return cache.folder / f"timings-{library.version}-{gpu}.bin"


def _key(library: TensorRT, path: Path, plan: Plan) -> dict[str, Any]:
    return engine_key(path, plan, library.version, library.gpu.name, library.gpu.compute)


def _opened(library: TensorRT, entry: Entry, path: Path) -> TensorRTEngine:
    return TensorRTEngine(library, entry.path.read_bytes(), path, entry.card.get("metadata"))
