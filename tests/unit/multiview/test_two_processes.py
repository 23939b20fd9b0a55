"""Stage 1 in two processes (gloo): the gradients and losses of one process with twice the batch, and it resumes.

``accelerate launch --cpu --num_processes 2`` starts one process, not two; on a CPU it takes torchrun.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from safetensors.torch import load_file

from emo_face.datasets.qa import corpus

WORKER = Path(__file__).with_name("two_processes.py")


def worker():
    spec = importlib.util.spec_from_file_location("two_processes", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_processes_are_one_with_twice_the_batch_and_resume(world, tmp_path):
    world.vlm().base.save_pretrained(tmp_path / "base")
    world.tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "images").symlink_to(world.root)
    # answers of one length: a mean of two means is then the mean of all
    rows = [row for row in world.rows if row.task == "pose"]
    rows = [row for row in rows if row.record.split == "val"] + [r for r in rows if r.record.split == "train"][:24]
    corpus.write_corpus(tmp_path / "qa.jsonl", corpus.Corpus(rows, {}))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [sys.executable, *launch, str(WORKER), str(tmp_path)],
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

    one = worker().stage1(tmp_path, tmp_path / "one", 4, dropout=False)
    assert found["first"] == pytest.approx(one.validation_loss(), rel=1e-5)
    gradients = worker().keep_first_gradients(one)
    progress = one.run()
    assert found["steps"] == progress.step == 6
    assert found["best"] == pytest.approx(progress.best, rel=1e-4)
    assert progress.best < found["first"]
    both = load_file(str(tmp_path / "gradients.safetensors"))
    assert set(both) == set(gradients)
    assert sum(float((value**2).sum()) for value in both.values()) > 0.01
    for name, value in gradients.items():  # later steps drift: Adam divides rounding by its own size
        torch.testing.assert_close(both[name], value, atol=1e-6, rtol=1e-4)
