"""A fake GPU with the recorded API of one TensorRT and one CUDA version, in place of the real modules."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from fake_cuda import FakeGpu, fake_runtime
from fake_tensorrt import World, fake_tensorrt

from emo_face.runtime.engines import cuda, select
from emo_face.runtime.engines.cache import EngineCache

PAIRS = (("10.3", "12.9"), ("10.13", "12.9"), ("10.16", "13.4"), ("11.4", "13.4"))
"""TensorRT with the CUDA bindings that serve its machines."""


def install(
    monkeypatch: pytest.MonkeyPatch, tensorrt: str = "10.13", runtime: str = "12.9", gpu: FakeGpu | None = None
):
    """Put the fakes where ``import`` finds them; returns the world."""
    world = World(gpu or FakeGpu())
    package = ModuleType("cuda")
    for name, module in {
        "cuda": package,
        "cuda.bindings": ModuleType("cuda.bindings"),
        "cuda.bindings.runtime": fake_runtime(world.gpu, f"cuda_{runtime}"),
        "tensorrt": fake_tensorrt(world, f"tensorrt_{tensorrt}"),
    }.items():
        module.__spec__ = ModuleSpec(name, None)  # torch looks for one
        monkeypatch.setitem(sys.modules, name, module)
    for where in (cuda, select):
        monkeypatch.setattr(where, "driver", lambda: None)
    return world


@pytest.fixture(params=PAIRS, ids=lambda pair: f"tensorrt{pair[0]}-cuda{pair[1]}")
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    """Every recorded version in turn."""
    return install(monkeypatch, *request.param)


@pytest.fixture
def one_world(monkeypatch: pytest.MonkeyPatch) -> World:
    """One version, where the version does not matter."""
    return install(monkeypatch)


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    """An empty cache of engines."""
    return EngineCache(tmp_path / "engines")


@pytest.fixture
def onnx_file(tmp_path: Path) -> Callable[..., Path]:
    """``onnx_file(name, nodes, inputs, outputs)``: write a small model."""
    onnx = pytest.importorskip("onnx")

    def write(name: str, nodes, inputs, outputs, values=()) -> Path:
        info = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node(*node[:3]) for node in nodes],
            name,
            [info(*i) for i in inputs],
            [info(*o) for o in outputs],
            list(values),
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
        path = tmp_path / f"{name}.onnx"
        onnx.save(model, str(path))
        return path

    return write
