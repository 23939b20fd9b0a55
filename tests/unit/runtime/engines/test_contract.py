"""Our calls are held to the recorded API: what the fake device does not have raises, as the real library would."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from api_surface import read
from fake_gpu import PAIRS, install

import emo_face.runtime.engines.tensorrt as package
from emo_face.runtime.engines.cuda import Cuda

FOLDER = Path(package.__file__).parent


@pytest.mark.parametrize("version", [pair[0] for pair in PAIRS])
def test_every_member_of_the_module_that_we_name_is_recorded(version: str) -> None:
    """``trt.X`` and ``trt.X.Y`` in our source, against the classes and enum members of each version."""
    surface = read(f"tensorrt_{version}")
    named = set()
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            if text.startswith(("trt.", "self._trt.")):
                named.add(text.removeprefix("self._").removeprefix("trt."))
    assert len(named) > 12
    for name in sorted(named):
        first, *rest = name.split(".")
        entry = surface["classes"].get(first)
        assert entry is not None, f"tensorrt {version} has no {first}"
        for part in rest:
            known = {*entry.get("members", ()), *entry.get("classes", ()), *entry.get("methods", ())}
            assert part in known, f"tensorrt {version}: {first} has no {part}"
            entry = entry.get("classes", {}).get(part, {})


@pytest.mark.parametrize("runtime", sorted({pair[1] for pair in PAIRS}))
def test_every_cuda_call_that_we_make_is_recorded(runtime: str) -> None:
    surface = read(f"cuda_{runtime}")
    known = {*surface["functions"], *surface["constants"], *surface["classes"]}
    known |= {m for entry in surface["classes"].values() for m in entry.get("members", ())}
    sources = [*FOLDER.glob("*.py"), FOLDER.parent / "cuda.py"]
    named = {
        node.value if isinstance(node, ast.Constant) else node.attr
        for path in sources
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.startswith("cuda")
            and node.value.isalnum()
        )
        or (isinstance(node, ast.Attribute) and node.attr.startswith("cuda"))
    }
    named -= {"cuda"}
    assert len(named) > 15
    assert named <= known, named - known


def test_the_fake_refuses_what_a_version_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    world = install(monkeypatch, "11.4", "13.4")
    trt = world.trt
    with pytest.raises(AttributeError, match="EXPLICIT_BATCH"):
        trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH  # noqa: B018
    with pytest.raises(AttributeError, match="FP16"):
        trt.BuilderFlag.FP16  # noqa: B018
    with pytest.raises(AttributeError, match="IInt8EntropyCalibrator2"):
        trt.IInt8EntropyCalibrator2  # noqa: B018
    with pytest.raises(TypeError, match="No constructor defined"):
        trt.ICudaEngine()
    builder = trt.Builder(type("L", (trt.ILogger,), {"log": lambda *_: None})())
    with pytest.raises(AttributeError, match="platform_has_fast_fp16"):
        builder.platform_has_fast_fp16  # noqa: B018
    with pytest.raises(TypeError, match="incompatible arguments"):
        builder.create_network(2, 3)
    with pytest.raises(TypeError, match="incompatible arguments"):
        builder.build_serialized_network(network=None)
    with pytest.raises(AttributeError, match="no writable attribute 'name'"):
        builder.name = "x"
    with pytest.raises(NotImplementedError, match=r"does not model Builder\.reset"):
        builder.reset()
    with pytest.raises(AttributeError, match="cudaMallocs"):
        Cuda()("cudaMallocs", 3)
    with pytest.raises(TypeError, match="incompatible arguments"):
        Cuda()("cudaMalloc", 3, 4)


def test_older_versions_have_what_11_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    trt = install(monkeypatch, "10.3", "12.9").trt
    assert int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) == 1
    assert int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH) == 0
    assert trt.BuilderFlag.FP16 is not None


def test_the_recordings_are_of_the_real_versions() -> None:
    versions = {pair[0]: read(f"tensorrt_{pair[0]}")["version"] for pair in PAIRS}
    assert all(full.startswith(short + ".") for short, full in versions.items())
    for short, _ in PAIRS:
        assert len(read(f"tensorrt_{short}")["classes"]) > 150
        assert "notify_shape" in read(f"tensorrt_{short}")["virtual"]
