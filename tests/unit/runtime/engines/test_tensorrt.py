"""Native TensorRT end to end on a fake device that has exactly the recorded API of 10.3, 10.13, 10.16 and 11.4.

Not run on a GPU: timing, real kernels and real CUDA graphs are in test_gpu.py, skipped without one.
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_cuda import DRIVER, FakeGpu
from fake_gpu import install

from emo_face.core.errors import ModelError
from emo_face.core.paths import share_dir
from emo_face.perception.nano.face import PLAN
from emo_face.runtime import files
from emo_face.runtime.engines.base import DeviceError, EngineUnavailable, OutOfMemory
from emo_face.runtime.engines.cache import EngineCache
from emo_face.runtime.engines.ort import OrtEngine
from emo_face.runtime.engines.plan import Plan, Range
from emo_face.runtime.engines.select import Engines
from emo_face.runtime.engines.tensorrt.library import tensorrt
from emo_face.runtime.engines.tensorrt.load import built, make

FACE = share_dir() / "models" / "nano_face.onnx"
FLOAT = 1


def crops(count: int, seed: int = 0):
    return {"crops": np.random.default_rng(seed).random((count, 1, 48, 48)).astype(np.float32)}


def silent(_: str) -> None:
    pass


def test_build_keep_find_and_run_equal_onnx(world, cache: EngineCache) -> None:
    said, steps = [], []
    result = make(FACE, PLAN, cache, said.append, lambda *step: steps.append(step) or True)
    assert (result.kept, result.fresh, said) == (True, True, [])
    assert max(row.relative for row in result.parity) < 1e-5
    assert ("Building engine", 2, 2) in steps
    again = built(FACE, PLAN, cache)
    assert world.built == ["nano_face.onnx"]
    assert again.name == "tensorrt/Orin"
    original = OrtEngine(FACE)
    assert [spec.name for spec in again.inputs] == [spec.name for spec in original.inputs]
    assert [spec.dtype for spec in again.outputs] == [spec.dtype for spec in original.outputs]
    for count in (1, 2, 8, 1, 8, 3):
        for got, want in zip(again.run(crops(count, count)), original.run(crops(count, count)), strict=True):
            np.testing.assert_allclose(got, want, atol=1e-6)


def test_memory_is_allocated_once_a_shape_and_freed(one_world, cache: EngineCache) -> None:
    gpu = one_world.gpu
    engine = make(FACE, PLAN, cache, silent).engine
    engine.run(crops(4))
    held = (len(gpu.device), len(gpu.pinned))
    for seed in range(5):
        engine.run(crops(4, seed))
    assert (len(gpu.device), len(gpu.pinned)) == held
    assert len(gpu.streams) == 1  # one stream per model
    engine.close()
    assert (gpu.device, gpu.pinned, gpu.streams, gpu.graphs) == ({}, {}, {}, {})


def test_repeated_shapes_replay_their_graph(one_world, cache: EngineCache) -> None:
    gpu = one_world.gpu
    engine = make(FACE, PLAN, cache, silent).engine
    engine.run(crops(2))
    gpu.launches, gpu.copies[:] = 0, []
    want = OrtEngine(FACE)
    for seed in (1, 2):
        np.testing.assert_allclose(engine.run(crops(2, seed))[0], want.run(crops(2, seed))[0], atol=1e-6)
    assert gpu.launches == 2
    assert gpu.copies == []  # the copies are in the graph


def test_a_model_that_cannot_be_captured_runs_without_a_graph(one_world, cache: EngineCache, monkeypatch) -> None:
    runtime = sys.modules["cuda.bindings.runtime"]
    refused = lambda *_: (runtime.cudaError_t.cudaErrorStreamCaptureUnsupported,)  # noqa: E731
    monkeypatch.setattr(runtime, "cudaStreamBeginCapture", refused)
    engine = make(FACE, PLAN, cache, silent).engine
    for seed in (1, 2, 3):
        np.testing.assert_allclose(engine.run(crops(2, seed))[0], OrtEngine(FACE).run(crops(2, seed))[0], atol=1e-6)
    assert one_world.gpu.launches == 0


def test_results_appear_only_after_the_stream_was_waited_for(one_world, cache: EngineCache, monkeypatch) -> None:
    """The fake is as late as a GPU: an engine that forgets to wait returns what the memory held before."""
    engine = make(FACE, PLAN, cache, silent).engine
    runtime = sys.modules["cuda.bindings.runtime"]
    monkeypatch.setattr(runtime, "cudaStreamSynchronize", lambda _: (runtime.cudaError_t.cudaSuccess,))
    early = engine.run(crops(3))[0]
    assert np.all(early.view(np.uint8) == 0xAB)


def test_an_output_that_the_data_size(world, cache: EngineCache, onnx_file) -> None:
    path = onnx_file("pick", [("NonZero", ["x"], ["where"])], [("x", FLOAT, ["n"])], [("where", 7, [1, "data_count"])])
    plan = Plan("pick", {"x": Range((1,), (4,), (9,))})
    engine = make(path, plan, cache, silent).engine
    for values in ([1, 0, 2, 0], [0, 3, 4, 5], [0, 0, 0, 0]):
        (found,) = engine.run({"x": np.array(values, np.float32)})
        np.testing.assert_array_equal(found, [np.flatnonzero(values)])
    engine.close()
    assert one_left(world.gpu) == 0


def one_left(gpu: FakeGpu) -> int:
    return len(gpu.device)


def test_wrong_inputs_are_named(one_world, cache: EngineCache) -> None:
    engine = make(FACE, PLAN, cache, silent).engine
    with pytest.raises(ModelError, match="input crops is missing"):
        engine.run({"faces": np.zeros(1)})
    with pytest.raises(ModelError, match="expected float32, got float64"):
        engine.run({"crops": np.zeros((1, 1, 48, 48))})
    with pytest.raises(ModelError, match=r"shape \(9, 1, 48, 48\) is outside the engine's profile .*\(8, 1, 48, 48\)"):
        engine.run(crops(9))
    engine.run(crops(1))  # and it still works


# ---- what goes wrong before the engine is there


def test_without_cuda_nothing_of_tensorrt_is_touched(monkeypatch, cache: EngineCache) -> None:
    """Measured: TensorRT 11.4's Runtime ends the process where CUDA does not work."""
    world = install(monkeypatch, "11.4", "13.4", FakeGpu(driver_error=DRIVER))
    with pytest.raises(
        EngineUnavailable, match=r"cudaErrorInsufficientDriver .*; its runtime is 13\.4, .* serves 12\.6"
    ):
        make(FACE, PLAN, cache, silent)
    with pytest.raises(SystemError, match="Segmentation fault"):  # what would have happened
        world.trt.Runtime(type("L", (world.trt.ILogger,), {"log": lambda *_: None})()).deserialize_cuda_engine(b"x")
    world.gpu.driver_error, world.gpu.count = 0, 0
    with pytest.raises(EngineUnavailable, match="sees no GPU"):
        tensorrt()


def test_a_library_that_is_missing_is_named(one_world, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(EngineUnavailable, match=r"cuda-python is not installed: scripts/setup.sh tensorrt"):
        tensorrt()


def test_tensorrt_that_is_missing_or_too_new_is_named(one_world, monkeypatch) -> None:
    one_world.trt.__version__ = "12.0.0"
    with pytest.raises(EngineUnavailable, match=r"12\.0\.0 is outside 10\.3 to 11\.4"):
        tensorrt()
    monkeypatch.delitem(sys.modules, "tensorrt")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if "site-packages" not in p])
    with pytest.raises(EngineUnavailable, match="tensorrt is not installed"):
        tensorrt()


def test_a_refused_operator_and_a_failed_build_say_tensorrts_own_words(one_world, cache: EngineCache) -> None:
    one_world.refused = "DynamicQuantizeLinear"
    with pytest.raises(
        EngineUnavailable, match=r"does not take nano_face\.onnx: No importer registered for op: Dynamic"
    ):
        make(FACE, PLAN, cache, silent)
    one_world.refused, one_world.build_fails = "", "Error Code 10: Could not find any implementation for node"
    with pytest.raises(EngineUnavailable, match=r"could not build nano_face\.onnx: Error Code 10"):
        make(FACE, PLAN, cache, silent)
    one_world.build_fails = ""
    with pytest.raises(EngineUnavailable, match="cancelled by the progress monitor"):
        make(FACE, PLAN, cache, silent, lambda *_: False)
    with pytest.raises(ModelError, match="input crops is dynamic and plan 'nothing' gives no shapes"):
        make(FACE, Plan("nothing"), cache, silent)
    assert cache.entries() == []


def test_an_engine_that_computes_something_else_is_not_kept(one_world, cache: EngineCache) -> None:
    one_world.error = 0.1
    with pytest.raises(ModelError, match=r"differs from ONNX by .* allowed 2e-02; the engine is not kept"):
        make(FACE, PLAN, cache, silent)
    assert cache.entries() == []


# ---- the cache


def test_another_gpu_version_profile_or_model_is_another_engine(monkeypatch, cache: EngineCache, onnx_file) -> None:
    install(monkeypatch, "10.3", "12.9")
    make(FACE, PLAN, cache, silent)
    install(monkeypatch, "10.13", "12.9")
    with pytest.raises(EngineUnavailable, match=r"stale \(tensorrt 10\.3\.0 -> 10\.13\.3\.9\): `emo-face engine build"):
        built(FACE, PLAN, cache)
    install(monkeypatch, "10.3", "12.9", FakeGpu("Thor", (11, 0)))
    with pytest.raises(EngineUnavailable, match=r"stale \(gpu Orin -> Thor, compute 8\.7 -> 11\.0\)"):
        built(FACE, PLAN, cache)
    world = install(monkeypatch, "10.3", "12.9")
    other = Plan(PLAN.name, {"crops": Range((1, 1, 48, 48), (1, 1, 48, 48), (4, 1, 48, 48))}, PLAN.rows, (1, 4))
    said: list[str] = []
    make(FACE, other, cache, said.append)
    assert said == ["nano_face: the engine is stale (another profile): it is built again"]
    assert len(world.built) == 1
    assert len(cache.entries()) == 2


def test_weights_beside_the_graph_are_part_of_the_key(one_world, cache: EngineCache, tmp_path: Path) -> None:
    import shutil

    model = tmp_path / "nano_face.onnx"
    shutil.copy(FACE, model)
    weights = tmp_path / "nano_face.onnx.data"
    weights.write_bytes(b"1")
    make(model, PLAN, cache, silent)
    weights.write_bytes(b"22")
    with pytest.raises(EngineUnavailable, match=r"stale \(another files\)"):
        built(model, PLAN, cache)


@pytest.mark.parametrize("harm", ["byte", "cut", "card", "no card", "no engine"])
def test_damaged_and_half_written_engines_are_rebuilt_never_loaded(one_world, cache: EngineCache, harm: str) -> None:
    path = make(FACE, PLAN, cache, silent).path
    card = path.with_suffix(".json")
    data = path.read_bytes()
    if harm == "byte":
        path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    elif harm == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif harm == "card":
        card.write_text(card.read_text()[:50])
    else:
        (card if harm == "no card" else path).unlink()
    assert {entry.state for entry in cache.entries()} <= {"ok", "damaged"}
    with pytest.raises(EngineUnavailable, match="the TensorRT engine is damaged"):
        built(FACE, PLAN, cache)
    said: list[str] = []
    make(FACE, PLAN, cache, said.append)
    assert len(said) == 1
    assert "damaged" in said[0]
    assert "it is built again" in said[0]
    built(FACE, PLAN, cache)


def test_an_engine_that_tensorrt_refuses_is_rebuilt(one_world, cache: EngineCache) -> None:
    """A whole file with a whole card, and still not for this library: its own check is the last one."""
    path = make(FACE, PLAN, cache, silent).path
    import hashlib

    path.write_bytes(b"an engine of a debug build")
    card = json.loads(path.with_suffix(".json").read_text())
    card["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(card))
    said: list[str] = []
    make(FACE, PLAN, cache, said.append)
    assert "refuses the engine of nano_face.onnx: Serialization assertion" in said[0]
    assert len(one_world.built) == 2


def test_a_full_disk_costs_the_cache_not_the_engine(one_world, cache: EngineCache, monkeypatch) -> None:
    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    said: list[str] = []
    result = make(FACE, PLAN, cache, said.append)
    assert not result.kept
    assert "used but not kept" in said[0]
    assert "disk is full" in said[0]
    result.engine.run(crops(1))
    monkeypatch.undo()
    assert cache.entries() == []
    assert list(cache.folder.glob("*.part")) == []


def test_too_little_space_is_seen_before_writing(one_world, cache: EngineCache, monkeypatch) -> None:
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    said: list[str] = []
    assert not make(FACE, PLAN, cache, said.append).kept
    assert "the disk has 1.0 kB free" in said[0]


def test_two_processes_build_one_engine_and_the_second_waits(tmp_path: Path) -> None:
    script = tmp_path / "build.py"
    here = Path(__file__).resolve()
    script.write_text(
        "import sys, time\n"
        f"sys.path[:0] = [{str(here.parent)!r}, {str(here.parents[3] / 'helpers')!r}]\n"
        "import pytest\n"
        "from pathlib import Path\n"
        "from fake_gpu import install\n"
        "from emo_face.core.paths import share_dir\n"
        "from emo_face.perception.nano.face import PLAN\n"
        "from emo_face.runtime.engines.cache import EngineCache\n"
        "from emo_face.runtime.engines.tensorrt import load\n"
        "world = install(pytest.MonkeyPatch())\n"
        "cache = EngineCache(Path(sys.argv[1]))\n"
        "def hold(*step):\n"
        "    print('building', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    return True\n"
        "progress = hold if sys.argv[2] == 'first' else None\n"
        "say = lambda text: print(text, flush=True)\n"
        "result = load.make(share_dir() / 'models' / 'nano_face.onnx', PLAN, cache, say, progress)\n"
        "print('fresh' if result.fresh else 'found', len(world.built), flush=True)\n"
    )

    def start(which: str):
        words = [sys.executable, str(script), str(tmp_path / "engines"), which]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    first = start("first")
    assert first.stdout is not None
    assert first.stdout.readline() == "building\n"
    second = start("second")
    assert second.stdout is not None
    assert second.stdout.readline() == "another process builds the engine of nano_face: waiting for it\n"
    assert first.communicate("\n" * 9, timeout=60)[0].splitlines()[-1] == "fresh 1"
    assert second.communicate(timeout=60)[0] == "found 0\n"


# ---- while it runs


def test_out_of_memory_takes_smaller_buckets_then_the_cpu(one_world, cache: EngineCache) -> None:
    gpu = one_world.gpu
    make(FACE, PLAN, cache, silent).engine.close()
    engines = Engines("auto", cache=cache)
    engine = engines.load(FACE, PLAN)
    assert engine.name == "tensorrt/Orin"
    row = 48 * 48 * 4
    gpu.memory = gpu.used + 2 * row + 200  # two rows and their answers
    want = OrtEngine(FACE).run(crops(7))
    for got, expected in zip(engine.run(crops(7)), want, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)
    assert "at most 2 rows at a time" in engines.warnings[0]
    gpu.memory = gpu.used // 2
    engine.run(crops(2))
    assert engine.name == "onnxruntime/CPU"
    assert "it runs on the CPU until the node is restarted" in engines.warnings[0]
    np.testing.assert_allclose(engine.run(crops(7))[0], want[0], atol=1e-6)


def test_a_lost_gpu_goes_on_on_the_cpu(one_world, cache: EngineCache) -> None:
    make(FACE, PLAN, cache, silent)
    engines = Engines("auto", cache=cache)
    engine = engines.load(FACE, PLAN)
    engine.run(crops(1))
    one_world.gpu.lost = True
    np.testing.assert_allclose(engine.run(crops(2))[0], OrtEngine(FACE).run(crops(2))[0], atol=1e-6)
    assert "cudaErrorLaunchFailure" in engines.warnings[0]
    assert dict(engines.facts())["engine:nano_face"].startswith("onnxruntime/CPU")


def test_the_engine_itself_raises_what_happened(one_world, cache: EngineCache) -> None:
    engine = make(FACE, PLAN, cache, silent).engine
    one_world.gpu.memory = one_world.gpu.used
    with pytest.raises(OutOfMemory, match="memory is full"):
        engine.run(crops(8))
    one_world.gpu.memory = 1 << 30
    engine.run(crops(8))
    one_world.gpu.lost = True
    with pytest.raises(DeviceError, match="cudaErrorLaunchFailure"):
        engine.run(crops(8))


def test_auto_takes_what_is_built_and_builds_nothing(one_world, cache: EngineCache) -> None:
    engines = Engines("auto", cache=cache)
    assert engines.load(FACE, PLAN).name == "onnxruntime/CPU"
    (warning,) = engines.warnings
    assert "there is a Orin" in warning
    assert "no TensorRT engine: `emo-face engine build nano_face` makes it" in warning
    assert one_world.built == []
    make(FACE, PLAN, cache, silent)
    assert Engines("auto", cache=cache).load(FACE, PLAN).name == "tensorrt/Orin"


def test_tensorrt_asked_for_builds_and_a_failure_falls_back_with_a_warning(one_world, cache: EngineCache) -> None:
    engines = Engines("tensorrt", cache=cache)
    assert engines.load(FACE, PLAN).name == "tensorrt/Orin"
    assert (one_world.built, engines.warnings) == (["nano_face.onnx"], ())
    one_world.error = 1.0
    elsewhere = Engines("tensorrt", cache=EngineCache(cache.folder / "other"))
    assert elsewhere.load(FACE, PLAN).name == "onnxruntime/CPU"
    assert "differs from ONNX" in elsewhere.warnings[0]
