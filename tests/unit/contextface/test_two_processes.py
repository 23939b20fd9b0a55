"""Training in two processes (gloo): the gradients of one process with twice the micro-batches a step; it resumes.

``accelerate launch --cpu --num_processes 2`` starts one process, not two; on a CPU it takes torchrun.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("accelerate")

from safetensors.torch import load_file

HERE = Path(__file__).parent


def test_two_processes_do_what_one_does_and_resume(tmp_path):
    import importlib.util

    spec = importlib.util.spec_from_file_location("contextface_two_processes", HERE / "two_processes.py")
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [sys.executable, *launch, str(HERE / "two_processes.py"), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "TRANSFORMERS_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "result.json").read_text())
    assert sorted(state["rank"] for state in found["resumed"]) == [0, 1]
    for state in found["resumed"]:
        assert state["equal"]  # bit for bit, dropout and all
        assert state["best"][0] == state["best"][1]

    one = worker.a_run(tmp_path / "one", accumulate=4, dropout=0.0)
    assert found["first"] == pytest.approx(one.validate(), rel=1e-5)
    gradients = worker.keep_first_gradients(one)
    progress = one.run()
    assert found["steps"] == progress.step
    assert found["best"] == pytest.approx(progress.best, rel=1e-3)
    assert progress.best < found["first"]["joint"]
    both = load_file(str(tmp_path / "gradients.safetensors"))
    assert set(both) == set(gradients)
    for name, value in gradients.items():  # later steps drift: Adam divides rounding by its own size
        torch.testing.assert_close(both[name], value, atol=1e-6, rtol=1e-4)
