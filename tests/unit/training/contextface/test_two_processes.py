"""Training in two processes (gloo): the gradients of one process with twice the micro-batches a step; it resumes."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("accelerate")

import two_ranks

WORKER = Path(__file__).with_name("two_processes.py")


def test_two_processes_do_what_one_does_and_resume(tmp_path):
    found = two_ranks.launch(WORKER, tmp_path)
    devices = [(tmp_path / f"device-{rank}").read_text() for rank in (0, 1)]
    assert devices == ["bfloat16 on cuda:0", "bfloat16 on cuda:1"], "each loads the backbone onto a GPU of its own"
    one = two_ranks.load(WORKER).a_run(tmp_path / "one", accumulate=4, dropout=0.0)
    assert found["first"] == pytest.approx(one.validate(), rel=1e-5)
    gradients = two_ranks.keep_first_gradients(one, one.bare)
    progress = one.run()
    assert found["steps"] == progress.step
    assert found["best"] == pytest.approx(progress.best, rel=1e-3)
    assert progress.best < found["first"]["loss"]
    two_ranks.same_gradients(tmp_path, gradients)
