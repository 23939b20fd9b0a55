"""`emo-face engine` and `--tensorrt` on the fake GPU: what a user types, what comes out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fake_gpu import install

from emo_face.cli.main import main


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("EMO_FACE_MODELS", "")
    return install(monkeypatch, "10.16", "13.4")


def rows(capsys: pytest.CaptureFixture[str]):
    return json.loads(capsys.readouterr().out)


def test_build_list_verify_bench_clean(gpu, tmp_path: Path, capsys, monkeypatch) -> None:
    assert main(["engine", "list"]) == 0
    assert "`emo-face engine build` makes them" in capsys.readouterr().out
    assert main(["engine", "build", "--json"]) == 0
    (built,) = rows(capsys)  # nano_text stays on the CPU
    assert (built["model"], built["fresh"]) == ("nano_face", True)
    assert built["largest_relative_difference"] < 1e-5
    assert main(["engine", "build"]) == 0
    found = capsys.readouterr()
    assert "nano_face: was there" in found.out
    assert "nano_text: stays on the CPU" in found.err
    assert main(["engine", "build", "nano_face", "--again"]) == 0
    assert "built in" in capsys.readouterr().out
    assert main(["engine", "list", "--json"]) == 0
    (entry,) = rows(capsys)
    assert entry["state"] == "ok"
    assert entry["card"]["key"]["gpu"] == "Orin"
    assert main(["engine", "bench", "nano_face", "--rounds", "2", "--json"]) == 0
    timed = {row["engine"]: row for row in rows(capsys)}
    assert timed["tensorrt"]["p50_ms"] > 0
    assert "without CUDA" in timed["onnxruntime/CUDA"]["why_not"]
    path = Path(entry["path"])
    path.write_bytes(path.read_bytes()[:-5])
    assert main(["engine", "verify"]) == 1
    assert "sha256 expected" in capsys.readouterr().err
    assert main(["engine", "clean"]) == 0
    assert "1 engines removed" in capsys.readouterr().out
    assert main(["engine", "build", "nano_face"]) == 0
    install(monkeypatch, "11.4", "13.4")
    capsys.readouterr()
    assert main(["engine", "list"]) == 0
    assert "stale" in (text := capsys.readouterr().out)
    assert "tensorrt 10.16.1.11 -> 11.4.0.106" in text
    assert main(["engine", "clean", "--all"]) == 0
    assert list((tmp_path / "emo_face" / "engines").glob("*.engine")) == []
    assert list((tmp_path / "emo_face" / "engines").glob("timings*")) == []


def test_users_mistakes_and_missing_gpus_are_one_line(gpu, capsys) -> None:
    assert main(["engine", "build", "nano_fase"]) == 2
    assert "no model nano_fase is here; there are nano_face, nano_text" in capsys.readouterr().err
    gpu.gpu.count = 0
    assert main(["engine", "build", "nano_face"]) == 2
    assert capsys.readouterr().err.strip() == "emo-face engine: nano_face: the NVIDIA driver sees no GPU"


def test_doctor_says_what_each_model_runs_on(gpu, capsys) -> None:
    main(["engine", "build"])
    capsys.readouterr()
    main(["doctor", "--json"])
    found = {row["topic"]: row for row in rows(capsys)}
    assert found["gpu"]["found"].startswith("Orin (compute 8.7")
    assert found["engine tensorrt"]["level"] == "ok"
    assert "without CUDA" in found["engine cuda"]["found"]
    assert found["engine cuda"]["fix"] == "scripts/setup.sh gpu"
    assert found["runs on: nano_face"]["found"] == "tensorrt/Orin"
    assert "int8" in found["runs on: nano_text"]["found"]


def test_export_multiview_builds_its_engines_in_the_same_command(gpu, tmp_path: Path, capsys) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    pytest.importorskip("onnxscript")
    from emo_face.core.types import Box, Face, Person
    from emo_face.perception.multiview import model
    from emo_face.runtime.engines.select import Engines

    out = tmp_path / "export"
    words = ["export", "multiview", "--random", "tiny", "--out", str(out), "--precision", "fp16"]
    assert main([*words, "--tensorrt", "--json"]) == 0
    made = {row["model"]: row for row in rows(capsys) if "model" in row}
    assert set(made) == {"multiview_encoder", "multiview_head"}
    assert all(row["largest_relative_difference"] < 2e-2 for row in made.values())
    main(["doctor", "--json", "--multiview", str(out)])
    assert {r["topic"]: r["found"] for r in rows(capsys)}["runs on: multiview_encoder"] == "tensorrt/Orin"
    frame = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    people = [
        Person(f"p{i}", 1, Box(10 + 9 * i, 20, 60, 180), Face(Box(20 + 9 * i, 30, 30, 40), 1) if i % 3 else None)
        for i in range(11)
    ]  # more than the largest bucket
    engines = Engines("auto")
    fast, plain = model.load(out, engines=engines), model.load(out)
    assert fast.engine == "tensorrt/Orin"
    assert [choice.engine for choice in engines.choices.values()] == ["tensorrt/Orin"] * 2
    for count in (1, 2, 3, 11):
        both = [m.estimate(frame, people[:count], {}, 0.0) for m in (fast, plain)]
        for a, b in zip(*both, strict=True):
            np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-5)
            assert (a.valence, a.arousal) == pytest.approx((b.valence, b.arousal), abs=1e-5)
