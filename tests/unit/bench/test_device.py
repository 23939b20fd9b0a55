"""benchmarks/device.py: its steps run, what is done stays done, and the budget holds."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
spec = importlib.util.spec_from_file_location("device_benchmark", ROOT / "benchmarks" / "device.py")
assert spec is not None
assert spec.loader is not None
device = importlib.util.module_from_spec(spec)
spec.loader.exec_module(device)


def test_done_steps_stay_done_and_the_budget_holds(tmp_path: Path) -> None:
    now, asked = [0.0], []

    def one(command, left):
        asked.append((command[1].split("/")[-1] if "/" in command[1] else command[-1], left))
        now[0] += 200
        return {"state": "ok" if left >= 200 else "unfinished", "seconds": 200.0}

    out = tmp_path / "device.json"
    first = device.measure("full", "cuda", "H200", out, 480, one, lambda: now[0])
    assert [row["state"] for row in first["steps"].values()] == ["ok", "ok", "unfinished", "unfinished"]
    assert [left for _, left in asked] == [480, 280, 80]
    assert device.code(first) == 3
    asked.clear()
    second = device.measure("full", "cuda", "H200", out, 480, one, lambda: now[0])
    assert len(asked) == 2
    assert device.code(second) == 0
    assert json.loads(out.read_text()) == second
    elsewhere = device.read(out, {"size": "full", "device": "Orin"})
    assert elsewhere["steps"] == {}
    out.write_text("half")
    assert device.read(out, {"size": "full", "device": "H200"})["steps"] == {}


def test_a_step_that_fails_says_why() -> None:
    row = device.run_step([sys.executable, "-c", "raise SystemExit('no memory')"], 30)
    assert (row["state"], row["said"]) == ("failed", "no memory")
    missed = device.run_step([sys.executable, "-c", "print('{}'); raise SystemExit(1)"], 30)
    assert missed["state"] == "missed"
    assert device.run_step([sys.executable, "-c", "import time; time.sleep(30)"], 0.5)["state"] == "unfinished"


def test_every_step_of_the_full_size_names_a_program_that_takes_its_words() -> None:
    names = [name for name, _ in device.steps("full", "cuda")]
    assert names == ["nano", "multiview", "contextface 7b", "contextface 13b"]


@pytest.mark.parametrize("step", ["nano", pytest.param("multiview", marks=pytest.mark.slow), "contextface tiny"])
def test_the_steps_run_at_tiny_size_on_a_cpu(step: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So that the command works on the day a GPU is there."""
    if step != "nano":
        pytest.importorskip("torch")
        pytest.importorskip("transformers")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    row = device.run_step(dict(device.steps("tiny", "cpu"))[step], 200)
    assert row["state"] in ("ok", "missed"), row  # a busy machine may miss a ratio
    if step == "nano":
        assert {r["engine"] for r in row["result"]} == {"onnxruntime/CPU", "onnxruntime/CUDA", "tensorrt"}
        assert all(r["why_not"] or r["p50_ms"] > 0 for r in row["result"])
    elif step == "multiview":
        assert row["result"]["matrix_tflops"] > 0
        assert set(row["result"]["roofline_share"]) == {"1", "4"}
    else:
        assert {"quote", "image_quote"} == set(row["result"])
        assert all(case["floor_ms"] > 0 for case in row["result"].values())
