"""Ctrl-C at any moment, no HOME, places that cannot be written: at most one line, never a traceback."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="run scripts/setup.sh")
pytest.importorskip("emo_face_msgs", reason="run scripts/setup.sh")
pytestmark = pytest.mark.ros

DOMAIN = 64
STARTED: list[subprocess.Popen[str]] = []
MOMENTS = (0.1, 0.3, 0.6, 1.0, 1.5, 2.1, 2.8, 3.6)  # s after the start: the imports take about two
VERBS = {
    "node": ("emo_face.nodes.face_driver", "--ros-args", "-p", "screen.port:=0"),
    "up": ("emo_face.cli.main", "up", "--without", "camera", "--set", "face_driver.screen.port=0"),
    "doctor": ("emo_face.cli.main", "doctor"),
}


def start(words: tuple[str, ...], **changes: str | None) -> subprocess.Popen[str]:
    environment = {**os.environ, "ROS_DOMAIN_ID": str(DOMAIN), **{k: v for k, v in changes.items() if v is not None}}
    for name, value in changes.items():
        if value is None:
            environment.pop(name, None)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(
        [sys.executable, "-m", *words], env=environment, start_new_session=True, preexec_fn=_hear_ctrl_c, **pipes
    )
    STARTED.append(process)
    return process


def _hear_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell that starts the tests with & has it ignored


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    yield
    for process in STARTED:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    STARTED.clear()


@pytest.mark.parametrize("verb", VERBS)
def test_ctrl_c_at_any_moment_is_no_traceback(verb: str) -> None:
    begun = time.monotonic()
    processes = [start(VERBS[verb]) for _ in MOMENTS]
    for process, moment in zip(processes, MOMENTS, strict=True):
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        process.send_signal(signal.SIGINT)
    for process in processes:
        output, _ = process.communicate(timeout=60)
        # what Python itself says before it has come to us is not ours
        assert "Traceback" not in output or "emo_face" not in output, output
        assert process.returncode in (0, 1, 130, -signal.SIGINT), output


@pytest.mark.parametrize("home", [None, "", "/proc/nobody"])
def test_a_node_starts_without_a_home(home: str | None) -> None:
    process = start((*VERBS["up"][:2], "--only", "face_driver", "--set", "face_driver.screen.port=0"), HOME=home)
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "nodes active" in line:
            process.send_signal(signal.SIGINT)
            break
    output, _ = process.communicate(timeout=60)
    assert "all 1 nodes active" in said, said
    assert "Traceback" not in said + output


def test_results_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for words in (("demo", "--seconds", "1", "--no-video"), ("replay", str(tmp_path / "file"))):
        process = start(("emo_face.cli.main", *words, "--out", str(tmp_path / "file" / "out")))
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 2
        assert output.count("\n") == 1, output
        assert str(tmp_path / "file") in output
