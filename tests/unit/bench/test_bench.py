"""The benchmarks' own arithmetic, and the one of perception run for real on a few frames."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emo_face.bench import graph as bench_graph
from emo_face.bench import perception as bench_perception
from emo_face.bench.probes.graph_probe import figures
from emo_face.bench.probes.machine import command_of, cpu_seconds, descendants, machine, rss_mb
from emo_face.cli.main import main
from emo_face.core.errors import UserError
from emo_face.ros.images.convert import ENCODINGS


def test_figures_by_hand() -> None:
    stamps = np.arange(0, 10, 0.1)
    rows = [(t, t + 0.02 + (0.08 if k % 20 == 7 else 0.0), 2) for k, t in enumerate(stamps) if k % 4]
    found = figures(rows, rate=10.0)
    assert found["fps"] == pytest.approx(7.5, rel=0.02)
    assert found["p50_ms"] == pytest.approx(20.0, abs=0.1)
    assert found["p99_ms"] == pytest.approx(100.0, abs=0.1)
    assert found["dropped"] == 24  # every fourth of the frames between the first and the last result
    assert found["people"] == 2
    assert figures([], 10.0)["fps"] == 0.0


def test_costs_of_a_real_child() -> None:
    code = "from time import process_time as t\nwhile t() < 0.3: pass\nprint(1, flush=True)\ninput()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in descendants(os.getpid())
        assert "process_time" in command_of(child.pid)
        assert rss_mb(child.pid) > 3
        assert 0.1 < cpu_seconds(child.pid) < 5
    finally:
        child.communicate(b"\n", timeout=10)
    assert rss_mb(child.pid) == cpu_seconds(child.pid) == 0.0
    assert machine()["cores"] == os.cpu_count()


def test_perception_runs_for_real(
    assets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMO_FACE_MODELS", str(assets))
    cores = os.sched_getaffinity(0)
    assert main(["bench", "perception", "--frames", "3", "--json"]) == 0
    assert os.sched_getaffinity(0) == cores
    found = json.loads(capsys.readouterr().out)
    assert (found["one"]["people"], found["six"]["people"]) == (1, 6)
    assert found["one"]["bodies_ms"] > 0
    assert found["six_people_cost_ratio"] > 0


def test_images_have_a_row_for_each_encoding(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "images", "--runs", "3", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["encodings"]
    assert set(rows) == {*ENCODINGS, "compressed .jpg", "compressed .png"}


def test_missing_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nobody\.jpg"):
        bench_perception.read(tmp_path / "nobody.jpg")
    args = argparse.Namespace(one=tmp_path / "nobody.jpg", six=None)
    with pytest.raises(UserError, match=r"nobody\.jpg"):
        bench_graph.measure(args)
