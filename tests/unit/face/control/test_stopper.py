"""The stopper goes on until the motors confirm, and what of a stop outlives the process."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from emo_face.face.control.latch import Latch, Memory, state_file
from emo_face.face.control.stopper import Stopper
from emo_face.face.drivers.stop_report import StopReport, StopState

OFF, ON = StopReport(StopState.STOPPED), StopReport(StopState.NOT_OFF, ("jaw",), "no answer")


def wait_for(stopper: Stopper, report: StopReport | None) -> None:
    end = time.monotonic() + 5
    while stopper.report != report:
        assert time.monotonic() < end, stopper.report
        threading.Event().wait(0.002)


def test_it_repeats_until_an_attempt_is_final() -> None:
    answers = [ON, ON, ON, OFF]
    stopper = Stopper(lambda: answers.pop(0), retry=0.005)
    assert stopper.press() == ON, "the first answer is not waited out"
    wait_for(stopper, OFF)
    assert answers == []
    threading.Event().wait(0.03)  # it would pop from an empty list otherwise
    answers.append(OFF)
    assert stopper.press() == OFF, "and may be pressed again"


def test_an_attempt_that_hangs_keeps_nobody_waiting() -> None:
    stuck = threading.Event()
    stopper = Stopper(lambda: OFF if stuck.wait(5) else ON)
    begin = time.monotonic()
    assert stopper.press(0.05) is None
    assert stopper.press(0.05) is None
    assert time.monotonic() - begin < 1.0
    stuck.set()
    wait_for(stopper, OFF)


def test_many_who_press_a_stop_that_hangs_are_answered_one_by_one() -> None:
    stuck = threading.Event()
    stopper = Stopper(lambda: OFF if stuck.wait(30) else ON)
    assert stopper.press(0.05) is None
    for _ in range(50):
        assert stopper.press(60.0) is None, "the first has waited for all of them"
    stuck.set()
    wait_for(stopper, OFF)
    assert stopper.press(60.0) == OFF


def test_a_press_wants_an_attempt_that_began_after_it() -> None:
    began, first, count = threading.Event(), threading.Event(), [0]

    def attempt() -> StopReport:
        count[0] += 1
        if count[0] == 1:
            began.set()
            first.wait(5)
            return OFF
        return ON

    stopper = Stopper(attempt, retry=5.0)
    stopper.press(0.0)
    began.wait(5)
    threading.Timer(0.02, first.set).start()
    assert stopper.press(5.0) == ON
    stopper.release()


def test_a_press_before_the_first_attempt_began_is_answered_by_it() -> None:
    begin = threading.Event()

    class SlowToBegin(Stopper):
        def _run(self) -> None:
            begin.wait(30)
            super()._run()

    stopper = SlowToBegin(lambda: OFF)
    stopper.press(0.0)
    threading.Timer(0.02, begin.set).start()
    assert stopper.press(10.0) == OFF, "no second attempt follows a final one"


def test_release_ends_the_tries_and_forgets() -> None:
    tries: list[int] = []
    stopper = Stopper(lambda: tries.append(1) or ON, retry=0.005)
    stopper.press()
    stopper.release()
    assert stopper.report is None
    threading.Event().wait(0.03)
    seen = len(tries)
    threading.Event().wait(0.03)
    assert len(tries) == seen
    assert stopper.report is None


def test_the_latch_is_written_at_once_and_read_by_the_next_process(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "face_driver.json"
    latch = Latch(file)
    assert latch.memory == Memory()
    latch.note(driving=True)
    assert Latch(file).memory == Memory(driving=True)
    latch.note(stopped=True)
    assert Latch(file).memory == Memory(stopped=True, driving=True)
    assert json.loads(file.read_text())["version"] == 1
    latch.note(stopped=False, driving=False)
    assert Latch(file).memory == Memory()
    assert [p.name for p in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "\0" * 40,
        "[" * 100_000,
        '{"version": 2, "stopped": false, "driving": false}',
        '{"version": 1, "stopped": 1}',
    ],
)
def test_a_file_that_says_nothing_counts_as_motors_that_were_driven(tmp_path: Path, content: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    memory = Latch(file).memory
    assert memory.driving
    assert "x.json cannot be read" in memory.problem
    assert "delete it" in memory.problem


def test_a_place_that_cannot_be_written_is_told_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    latch = Latch(tmp_path / "file" / "x.json")
    latch.note(stopped=True)
    assert latch.memory.stopped
    assert "a stop would not outlive this process" in latch.memory.problem


def test_a_folder_in_its_place_is_told_and_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "x.json"
    (place / "mine").mkdir(parents=True)
    latch = Latch(place)
    assert latch.memory.driving
    latch.note(stopped=True)
    assert "a stop would not outlive this process" in latch.memory.problem
    assert (place / "mine").is_dir()
    (place / "mine").rmdir()
    place.rmdir()
    latch.note(driving=False)
    assert latch.memory == Latch(place).memory == Memory(stopped=True), "and is tried again"


def test_what_the_disk_holds_is_not_known_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is new and its folder could not be synced: the next stop is written again."""
    latch = Latch(tmp_path / "x.json")
    latch.note(stopped=True)
    with monkeypatch.context() as broken:

        def fails(path: Path) -> None:
            if path.is_dir():
                raise OSError(5, "Input/output error")

        broken.setattr("emo_face.face.control.latch.sync", fails)
        latch.note(stopped=False)
        assert "Input/output error" in latch.memory.problem
    latch.note(stopped=True)
    assert latch.memory == Latch(latch.path).memory == Memory(stopped=True)


def test_a_slow_disk_does_not_let_an_earlier_stop_undo_a_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = threading.Event()
    monkeypatch.setattr("emo_face.face.control.latch.sync", lambda path: slow.wait(30))
    latch = Latch(tmp_path / "x.json")
    writers = [latch.noting(stopped=stopped) for stopped in (True, False, True, False)]
    slow.set()
    for writer in writers:
        writer.join(30)
    assert latch.memory == Latch(latch.path).memory == Memory()


def test_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one, two = (state_file("/robot/face_driver", Path(rig)) for rig in ("a.yaml", "b.yaml"))
    assert one.parent == tmp_path / "emo_face" / "stops"
    assert one.name.startswith("robot.face_driver-")
    assert one != two, "another head has another stop"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert state_file("face_driver", Path("a.yaml")).is_absolute()
