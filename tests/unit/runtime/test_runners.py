"""Shards: whoever computes them, killed or doubled, the same rows come out and nothing is computed twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections import Counter
from pathlib import Path

import pytest
import square_job
from square_job import Squares

from emo_face.core.errors import UserError
from emo_face.runtime import shards
from emo_face.runtime.runners import run_shards, runner
from emo_face.runtime.runners.arguments import chosen
from emo_face.runtime.runners.local import LocalRunner

ROWS = [{"item": n, "square": n * n} for n in range(40)]


def run(folder, job, items=range(40), count=8, who=None):
    return run_shards(job, list(items), folder, count, who or LocalRunner(1), lambda done: None)


def traced(trace: Path) -> Counter:
    return Counter(int(line) for line in trace.read_text().split()) if trace.exists() else Counter()


@pytest.mark.parametrize("who", [LocalRunner(1), LocalRunner(2)], ids=["one", "two"])
def test_rows_come_in_the_items_order(tmp_path, who):
    assert run(tmp_path / "s", Squares(tmp_path / "trace"), who=who) == ROWS


def test_the_flags_name_the_runner_whatever_the_verb_calls_its_workers(tmp_path):
    for flag in ("workers", "processes"):  # `evaluate contextface` has no --workers
        assert chosen(Namespace(runner="local", **{flag: 3}), tmp_path).workers == 3


def test_submitit_s_own_local_cluster_gives_the_same_rows(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(square_job.__file__).parent), *sys.path]))
    from emo_face.runtime.runners.submitit import SubmititRunner

    who = SubmititRunner(2, tmp_path, cluster="local")
    assert run(tmp_path / "s", Squares(tmp_path / "trace"), who=who) == ROWS
    assert set(traced(tmp_path / "trace").values()) == {1}


def test_what_is_done_is_not_computed_again(tmp_path):
    job = Squares(tmp_path / "trace")
    run(tmp_path / "s", job)
    assert run(tmp_path / "s", job) == ROWS
    assert set(traced(tmp_path / "trace").values()) == {1}


def test_another_model_computes_everything_and_another_record_its_own_shard(tmp_path):
    job = Squares(tmp_path / "trace")
    run(tmp_path / "s", job)
    run(tmp_path / "s", job, [*range(39), 99])
    counts = traced(tmp_path / "trace")
    assert counts[0] == 1
    assert counts[35] == 2
    assert counts[99] == 1
    run(tmp_path / "s", Squares(tmp_path / "trace", model="b"))
    assert traced(tmp_path / "trace")[0] == 2


@pytest.mark.parametrize("damage", ["half", "last line", "empty", "binary"])
def test_a_damaged_shard_is_computed_again(tmp_path, damage):
    job = Squares(tmp_path / "trace")
    run(tmp_path / "s", job)
    victim = sorted((tmp_path / "s").glob("*.jsonl"))[3]
    data = victim.read_bytes()
    lines = data.splitlines(keepends=True)
    victim.write_bytes(
        {"half": data[: len(data) // 2], "last line": b"".join(lines[:-1]), "empty": b"", "binary": b"\xff\x00" * 9}[
            damage
        ]
    )
    assert run(tmp_path / "s", job) == ROWS
    assert sum(traced(tmp_path / "trace").values()) == 45  # one shard of five again


def test_a_shard_with_a_failed_row_is_tried_again_and_read(tmp_path):
    class Failing(Squares):
        def _squares(self, items):
            return [{"item": n, "error": "gone"} if n == 7 and not self.trace.exists() else {"item": n} for n in items]

    rows = run(tmp_path / "s", Failing(tmp_path / "back"))
    assert [row for row in rows if "error" in row] == [{"item": 7, "error": "gone"}]
    (tmp_path / "back").touch()  # the picture is there again
    assert not any("error" in row for row in run(tmp_path / "s", Failing(tmp_path / "back")))


def test_a_killed_worker_is_replaced_and_its_shard_done(tmp_path):
    job = Squares(tmp_path / "trace", poison=13)
    assert run(tmp_path / "s", job, who=LocalRunner(2)) == ROWS


def test_a_worker_that_dies_every_time_ends_with_the_shard_s_name(tmp_path):
    job = Squares(tmp_path / "trace", poison=13, always=True)
    planned = shards.plan(job, list(range(40)), tmp_path / "s", 8)
    with pytest.raises(UserError, match=f"killed 3 times.*{planned[2].path.name}"):
        run(tmp_path / "s", job, who=LocalRunner(2))


def test_two_runs_at_once_share_the_work(tmp_path):
    """Two processes on the same shards: each item once, both get all rows (a lock per shard)."""
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(square_job.__file__).parent), *sys.path])}
    words = [sys.executable, square_job.__file__, str(tmp_path / "s"), str(tmp_path / "trace")]
    both = [subprocess.Popen(words, env=here) for _ in range(2)]
    assert [one.wait(60) for one in both] == [0, 0]
    assert set(traced(tmp_path / "trace").values()) == {1}
    assert sum(traced(tmp_path / "trace").values()) == 40


def killed_runs(tmp_path: Path, kills: int) -> None:
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(square_job.__file__).parent), *sys.path])}
    folder, trace, rng = tmp_path / "s", tmp_path / "trace", random.Random(0)
    words = [sys.executable, square_job.__file__, str(folder), str(trace)]
    for _ in range(kills):
        process = subprocess.Popen(words, env=here)
        before = len(list(folder.glob("*.jsonl")))
        deadline = time.monotonic() + 30
        while len(list(folder.glob("*.jsonl"))) == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.04)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert run(folder, Squares(trace), count=20) == ROWS
    computed = sum(traced(trace).values())
    assert 40 <= computed <= 40 + 2 * kills  # at most the shard that was cut, of two items


def test_kills_lose_and_repeat_nothing(tmp_path):
    killed_runs(tmp_path, 3)


@pytest.mark.slow
def test_twenty_kills_lose_and_repeat_nothing(tmp_path):
    killed_runs(tmp_path, 20)


def test_a_full_disk_is_said_and_finished_shards_stay(tmp_path, monkeypatch):
    job = Squares(tmp_path / "trace")
    written = []

    def write(self, text, encoding=None, errors=None, newline=None):
        written.append(self)
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        return original(self, text, encoding, errors, newline)

    original = Path.write_text
    monkeypatch.setattr(Path, "write_text", write)
    with pytest.raises(UserError, match="disk is full"):
        run(tmp_path / "s", job)
    monkeypatch.undo()
    assert len(list((tmp_path / "s").glob("*.jsonl"))) == 3
    assert run(tmp_path / "s", job) == ROWS


def test_a_missing_shard_is_named(tmp_path):
    planned = shards.plan(Squares(tmp_path / "trace"), [1, 2], tmp_path, 1)
    with pytest.raises(UserError, match=r"missing or cut; run the same command again"):
        list(shards.read(planned))


def test_the_file_holds_rows_as_plain_json(tmp_path):
    run(tmp_path / "s", Squares(tmp_path / "trace"), [3], 1)
    (path,) = (tmp_path / "s").glob("*.jsonl")
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"item": 3, "square": 9},
        {"end of shard": 1, "errors": 0},
    ]


def test_threads_of_one_process_do_not_write_one_shard_twice(tmp_path):
    job = Squares(tmp_path / "trace", pause=0.02)
    found: list = []
    threads = [threading.Thread(target=lambda: found.append(run(tmp_path / "s", job, range(4), 2))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [ROWS[:4], ROWS[:4]]
    assert set(traced(tmp_path / "trace").values()) == {1}


@pytest.mark.parametrize(
    ("name", "workers", "text"),
    [("slurm", 1, "expected one of local, submitit, ray"), ("local", 0, "expected at least 1")],
)
def test_wrong_flags_are_named(tmp_path, name, workers, text):
    with pytest.raises(UserError, match=text):
        runner(name, workers, tmp_path)


def test_shards_below_one_are_refused(tmp_path):
    with pytest.raises(UserError, match="--shards"):
        shards.plan(Squares(tmp_path / "trace"), [1], tmp_path, 0)
