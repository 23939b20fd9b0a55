"""On a real GPU: streams, pinned memory, CUDA graphs, kernels. Skipped, with the reason, where there is none."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from emo_face.core.paths import share_dir
from emo_face.perception.nano.face import PLAN
from emo_face.runtime.engines.base import EngineUnavailable
from emo_face.runtime.engines.cache import EngineCache
from emo_face.runtime.engines.ort import OrtEngine
from emo_face.runtime.engines.tensorrt.library import tensorrt
from emo_face.runtime.engines.tensorrt.load import built, make

pytestmark = pytest.mark.gpu
FACE = share_dir() / "models" / "nano_face.onnx"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    try:
        tensorrt()
    except EngineUnavailable as reason:
        pytest.skip(str(reason))
    return EngineCache(tmp_path_factory.mktemp("engines"))


def crops(count: int, seed: int = 0):
    return {"crops": np.random.default_rng(seed).random((count, 1, 48, 48)).astype(np.float32)}


def test_a_real_engine_equals_onnx_and_is_found_again(cache: EngineCache) -> None:
    result = make(FACE, PLAN, cache, print)
    assert result.kept
    engine = built(FACE, PLAN, cache)
    for count in (1, 8, 3):
        for got, want in zip(engine.run(crops(count)), OrtEngine(FACE).run(crops(count)), strict=True):
            np.testing.assert_allclose(got, want, atol=2e-2)


def test_a_graph_is_captured_and_is_no_slower(cache: EngineCache) -> None:
    engine = make(FACE, PLAN, cache, print).engine
    engine.run(crops(8))
    (slot,) = engine._slots.values()
    assert slot.graph is not None
    assert not slot.inputs[0].host.flags.owndata  # pinned memory of CUDA's, not NumPy's

    def p50() -> float:
        spent = []
        for seed in range(200):
            start = time.perf_counter()
            engine.run(crops(8, seed % 3))
            spent.append(time.perf_counter() - start)
        return float(np.median(spent))

    with_graph = p50()
    graph, slot.graph = slot.graph, None
    assert with_graph <= p50() * 1.1
    slot.graph = graph


def test_onnxruntime_on_cuda_equals_the_cpu() -> None:
    try:
        engine = OrtEngine(FACE, 1, "CUDA")
    except EngineUnavailable as reason:
        pytest.skip(str(reason))
    np.testing.assert_allclose(engine.run(crops(8))[0], OrtEngine(FACE).run(crops(8))[0], atol=2e-2)


def test_the_provider_of_a_path_is_refused_where_it_is_no_model(tmp_path: Path, cache: EngineCache) -> None:
    path = tmp_path / "nano_face.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(Exception, match=r"nano_face\.onnx"):
        make(path, PLAN, cache, print)
