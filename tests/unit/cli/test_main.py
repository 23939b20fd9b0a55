"""The command line as a whole."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys

import pytest

from emo_face.cli import main
from emo_face.runtime.files import alone


def test_a_reader_that_goes_is_no_traceback() -> None:
    command = f"{sys.executable} -m emo_face.cli.main params --table | head -1"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ran.stdout.strip()
    assert ran.stderr == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_letters_is_no_traceback(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", shown)
    assert main.main(["say", "I am so happy \u2014 \u2713 \udce9", "--json"]) == 0  # the last: a byte that is no UTF-8
    shown.flush()
    assert json.loads(shown.buffer.getvalue().decode(encoding))["text"].startswith("I am so happy ?")


@pytest.mark.parametrize(
    ("verb", "module", "fix"), [("replay", "rosbags", "scripts/setup.sh demo"), ("up", "rclpy", "source your ROS")]
)
def test_a_library_that_is_not_installed_is_one_line(verb: str, module: str, fix: str, capsys, monkeypatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("emo_face.recording", f"{module}."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    assert main.main([verb, *(["x.mcap"] if verb == "replay" else [])]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert module in said
    assert fix in said


def test_inference_leaves_nothing_behind_to_be_reported(tmp_path) -> None:
    """ONNX Runtime's wheels keep a device's id and a queue of events in the cache folder, except in CI."""
    command = [sys.executable, "-m", "emo_face.cli.main", "say", "hello"]
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    subprocess.run(
        command, env={**kept, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}, check=True, capture_output=True
    )
    assert list(tmp_path.rglob("*")) == []


def test_two_trainings_of_one_folder_do_not_meet(tmp_path, capsys) -> None:
    with alone(tmp_path):
        assert main.main(["train", "fusion", "--data", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert f"{tmp_path}: another run works in this folder" in capsys.readouterr().err


def test_a_webcam_that_is_not_there_is_one_line() -> None:
    """OpenCV's warnings go to the process's stderr, past Python's."""
    command = [sys.executable, "-m", "emo_face.cli.main", "look", "987"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
    assert "webcam 987: cannot be opened" in ran.stderr


def test_the_list_of_verbs_imports_none(capsys, monkeypatch) -> None:
    monkeypatch.setattr(main, "load", lambda verb: pytest.fail(f"imported {verb}"))
    with pytest.raises(SystemExit, match="0"):
        main.main(["--help"])
    printed = capsys.readouterr().out
    for verb in main.verbs():
        assert re.search(rf"^    {verb}\s+\w", printed, re.MULTILINE), verb
