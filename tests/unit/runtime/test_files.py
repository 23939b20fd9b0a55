"""Files that are whole or not there, whoever else writes them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from emo_face.core.errors import UserError
from emo_face.runtime.files import replacing, write_text


def test_two_who_write_one_file_do_not_spoil_each_others(tmp_path: Path) -> None:
    path, begun, go = tmp_path / "manifest.yaml", threading.Event(), threading.Event()

    def slow() -> None:
        with replacing(path) as scratch, scratch.open("w") as file:
            file.write("slow ")
            file.flush()
            begun.set()
            go.wait(20.0)
            file.write("but whole")

    other = threading.Thread(target=slow)
    other.start()
    assert begun.wait(20.0)
    with replacing(path) as scratch:
        scratch.write_text("quick")
    assert path.read_text() == "quick"
    go.set()
    other.join(20.0)
    assert path.read_text() == "slow but whole"
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.yaml"]


def test_what_a_killed_writer_left_goes_and_what_others_write_stays(tmp_path: Path) -> None:
    dead, alive = (tmp_path / f"bank.npz.{pid}-1.part" for pid in (2**22 + 1, os.getppid()))  # above the largest pid
    for left in (dead, alive):
        left.write_text("half")
    with replacing(tmp_path / "bank.npz") as scratch:
        scratch.write_text("whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bank.npz", alive.name]


def test_a_file_does_not_take_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "kept.txt").write_text("years of work")
    with pytest.raises(UserError, match="data: is a folder; give the name of a file"):
        write_text(tmp_path / "data", "{}")
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "kept.txt"]


def test_a_file_does_not_take_the_place_of_a_device_or_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), Path("/dev/stdout")):
        with pytest.raises(UserError, match="is a device or a pipe"):
            write_text(path, "root may write there")
    assert not Path("/dev/null").is_file()
