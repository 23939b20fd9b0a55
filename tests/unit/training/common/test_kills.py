"""SIGKILL at 20 random moments: trainings, the feature cache, evaluation and annotation end as if nothing had been."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("accelerate")

HELPER = Path(__file__).resolve().parents[3] / "helpers" / "killed_runs.py"


@pytest.mark.slow  # minutes; that a stopped run goes on bit for bit is in the suite
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["features", "multiview", "contextface", "evaluation", "annotation"])
def test_twenty_kills_leave_no_trace(tmp_path: Path, kind: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, str(HELPER), kind, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kills"] == 20
    assert found["useful"] > 0
    assert found["killed"] == [found["whole"]]
    assert found["asked"] <= found["most"], "an answer on the disk is asked for again"
