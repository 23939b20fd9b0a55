"""Stage 1 in two processes (gloo): the gradients and losses of one process with twice the batch, and it resumes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

import two_ranks

from emo_face.datasets.qa import corpus

WORKER = Path(__file__).with_name("two_processes.py")


def test_two_processes_are_one_with_twice_the_batch_and_resume(world, tmp_path):
    world.vlm().base.save_pretrained(tmp_path / "base")
    world.tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "images").symlink_to(world.root)
    # answers of one length: a mean of two means is then the mean of all
    rows = [row for row in world.rows if row.task == "pose"]
    rows = [row for row in rows if row.record.split == "val"] + [r for r in rows if r.record.split == "train"][:24]
    corpus.write_corpus(tmp_path / "qa.jsonl", corpus.Corpus(rows, {}))
    found = two_ranks.launch(WORKER, tmp_path)
    one = two_ranks.load(WORKER).stage1(tmp_path, tmp_path / "one", 4, dropout=False)
    assert found["first"] == pytest.approx(one.validate()["loss"], rel=1e-5)
    gradients = two_ranks.keep_first_gradients(one, one.encoder)
    progress = one.run()
    assert found["steps"] == progress.step == 6
    assert found["best"] == pytest.approx(progress.best, rel=1e-4)
    assert progress.best < found["first"]
    two_ranks.same_gradients(tmp_path, gradients)
    shutil.rmtree(tmp_path / "plain" / "step-00000006")  # as if both had been killed after step 4
    alone = two_ranks.load(WORKER).stage1(tmp_path, tmp_path / "plain", 4, dropout=False)
    assert alone.run().step == 6
    assert alone.validate()["loss"] == pytest.approx(one.validate()["loss"], rel=1e-3)
