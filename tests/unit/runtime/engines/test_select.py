"""One parameter chooses the engine; what is taken, why, and what is not as asked is said."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from emo_face.core.errors import ConfigError, ModelError
from emo_face.core.paths import share_dir
from emo_face.perception.nano.face import PLAN
from emo_face.perception.nano.text import PLAN as TEXT_PLAN
from emo_face.runtime.engines import ort, select
from emo_face.runtime.engines.base import EngineUnavailable
from emo_face.runtime.engines.cuda import Device
from emo_face.runtime.engines.libraries import missing, needed
from emo_face.runtime.engines.select import Engines

FACE = share_dir() / "models" / "nano_face.onnx"
TEXT = share_dir() / "models" / "nano_text.onnx"
ORIN = Device("Orin", "8.7", 8 << 30, "12.6", "12.6")


def raises(text: str):
    def call(*_args, **_options):
        raise EngineUnavailable(text)

    return call


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a GPU, also when the tests run on one."""
    for name in ("driver", "device"):
        monkeypatch.setattr(select, name, raises("no NVIDIA driver: libcuda.so.1: no such file"))


def test_auto_without_a_gpu_is_the_cpu_without_a_complaint() -> None:
    engines = Engines("auto")
    engine = engines.load(FACE, PLAN)
    assert engine.name == "onnxruntime/CPU"
    assert dict(engines.facts()) == {
        "engine:nano_face": "onnxruntime/CPU (no NVIDIA driver: libcuda.so.1: no such file)"
    }
    assert engines.warnings == ()


@pytest.mark.parametrize("request_", ["cuda", "tensorrt"])
def test_what_was_asked_for_and_is_not_here_is_a_warning(request_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "available_providers", lambda: ["CPUExecutionProvider"])
    engines = Engines(request_)
    assert engines.load(FACE, PLAN).name == "onnxruntime/CPU"
    (warning,) = engines.warnings
    assert f"not on {'CUDA' if request_ == 'cuda' else 'tensorrt'} as asked" in warning
    assert "built without CUDA" in warning
    assert "scripts/setup.sh gpu" in warning


def test_auto_beside_an_idle_gpu_is_a_warning_that_names_the_missing_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "driver", lambda: None)
    monkeypatch.setattr(select, "device", lambda: ORIN)
    monkeypatch.setattr(ort, "available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "lacking", lambda _: ("libcublasLt.so.13", "libcudnn.so.9"))
    engines = Engines("auto")
    assert engines.load(FACE, PLAN).name == "onnxruntime/CPU"
    (warning,) = engines.warnings
    assert "though there is a Orin" in warning
    assert "lacks libcublasLt.so.13, libcudnn.so.9" in warning


def test_a_provider_that_falls_back_in_silence_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime-gpu without its libraries makes a session that says CUDA in the list and runs on the CPU."""
    import onnxruntime

    made = onnxruntime.InferenceSession

    def silent(path, options, providers, **more):
        return made(path, options, providers=["CPUExecutionProvider"], **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", silent)
    monkeypatch.setattr(ort, "check_provider", lambda _: None)
    with pytest.raises(EngineUnavailable, match="fell back to CPUExecutionProvider: "):
        ort.OrtEngine(FACE, 1, "CUDA")


def test_a_model_that_no_gpu_serves_stays_on_the_cpu_and_says_why() -> None:
    engines = Engines("tensorrt")
    engines.load(TEXT, TEXT_PLAN)
    assert engines.warnings == ()
    assert "int8 at run time" in dict(engines.facts())["engine:nano_text"]


def test_a_damaged_model_is_an_error_on_every_engine(tmp_path: Path) -> None:
    path = tmp_path / "nano_face.onnx"
    path.write_bytes(b"no model")
    for request_ in select.REQUESTS:
        with pytest.raises(ModelError, match=r"nano_face\.onnx does not load"):
            Engines(request_).load(path, PLAN)


def test_an_unknown_request_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="auto, cpu, cuda, tensorrt, got 'gpu'"):
        Engines("gpu")


def test_every_engine_gives_the_callers_own_arrays() -> None:
    engine = Engines("cpu").load(FACE, PLAN)
    feeds = {"crops": np.zeros((2, 1, 48, 48), np.float32)}
    first = engine.run(feeds)
    kept = [value.copy() for value in first]
    engine.run({"crops": np.ones((2, 1, 48, 48), np.float32)})
    for a, b in zip(first, kept, strict=True):
        np.testing.assert_array_equal(a, b)


def test_missing_libraries_are_read_from_the_file_itself(tmp_path: Path) -> None:
    """Truth: a library compiled here against two others, one of which then goes away."""
    import shutil
    import subprocess

    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    for name in ("here", "gone"):
        build = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,lib{name}_emo.so.7", "-x", "c", "-", "-o"]
        subprocess.run(
            [*build, str(tmp_path / f"lib{name}_emo.so.7")], input=f"int {name}() {{ return 0; }}".encode(), check=True
        )
    code = b"int here(); int gone(); int both() { return here() + gone(); }"
    user = tmp_path / "libuser.so"
    links = [str(tmp_path / "libhere_emo.so.7"), str(tmp_path / "libgone_emo.so.7")]
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-x", "none", *links, "-o", str(user)], input=code, check=True
    )
    assert {"libhere_emo.so.7", "libgone_emo.so.7"} <= set(needed(user))
    script = (
        "import sys; from pathlib import Path; from emo_face.runtime.engines.libraries import missing; "
        "print(*missing(Path(sys.argv[1])))"
    )

    def lacking() -> str:
        env = {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run([sys.executable, "-c", script, str(user)], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert lacking() == ""
    (tmp_path / "libgone_emo.so.7").unlink()
    assert lacking() == "libgone_emo.so.7"


def test_what_is_no_library_lacks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "text.so"
    path.write_text("hello")
    assert needed(path) == missing(path) == needed(tmp_path / "none.so") == []
