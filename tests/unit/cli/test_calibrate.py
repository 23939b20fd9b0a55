"""Calibration: small slow steps, contact, marks, a file that keeps its comments, and work that can be resumed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from emo_face.cli._calibrate_screen import Session
from emo_face.cli.main import main
from emo_face.core.errors import ConfigError
from emo_face.core.paths import share_dir
from emo_face.face.control.calibration import LARGEST_STEP, SLOW, RigCalibration
from emo_face.face.drivers import DriverError
from emo_face.face.drivers.mock import MockDriver
from emo_face.face.rig.edit import CalibrationProgress, save, with_fields
from emo_face.face.rig.rig import Rig, load_rig

EXAMPLE = share_dir() / "config" / "rigs" / "minimal_4servo.yaml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    copy = tmp_path / "head.yaml"
    copy.write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    return copy


def mock(rig: Rig, **options: object) -> MockDriver:
    return MockDriver(rig.names, start=rig.limits.neutral, dt=0.02, full_load=60.0, **options)  # type: ignore[arg-type]


class Typist:
    """Presses keys, with a pause of so many ticks after each; the clock is the number of reads."""

    def __init__(self, keys: str, pause: int = 60) -> None:
        self._keys, self._pause, self._wait = iter(keys), pause, 0
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def read(self, timeout: float) -> str:
        self.now += timeout
        self._wait -= 1
        if self._wait > 0:
            return ""
        self._wait = self._pause
        return next(self._keys, "q")


def session(path: Path, keys: str, **options: object) -> tuple[Session, MockDriver, Callable[[], int]]:
    rig = load_rig(path)
    driver, typist = mock(rig, **options), Typist(keys)
    made = Session(path, rig, driver, typist.read, typist.clock)
    return made, driver, made.run


def test_marks_are_written_and_comments_stay(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, run = session(path, "]]" + "++++u" + "--------l" + "h+n" + "\n" + "q")
    assert run() == 0
    text = path.read_text(encoding="utf-8")
    assert "# + up, - down" in text
    limits = load_rig(path).limits
    step = LARGEST_STEP * 2000  # microseconds; the outer range of a servo pulse is 500 to 2500
    assert limits.upper[0] == 1500 + 4 * step
    assert limits.lower[0] == 1500 - 4 * step
    assert limits.neutral[0] == 1500 + step
    assert limits.upper[1] == 1900, "the others are as they were"
    changed = [a for a, b in zip(EXAMPLE.read_text().splitlines(), text.splitlines(), strict=True) if a != b]
    assert len(changed) == 3
    assert "brows: min 1420, neutral 1520, max 1580  saved" in capsys.readouterr().out


def test_only_the_chosen_actuator_moves_slowly(path: Path) -> None:
    rig = load_rig(path)
    driver = mock(rig)
    work = RigCalibration(rig, driver)
    work.choose(2)
    work.start(0.0)
    places = [driver.target]
    for k in range(400):
        if k % 3 == 0:
            work.resize(2.0)
            work.nudge(-1)
        work.tick(0.02 * k)
        places.append(driver.target)
    moved = np.ptp(np.array(places), axis=0)
    assert moved[2] > 200
    np.testing.assert_allclose(np.delete(moved, 2), 0.0, atol=1e-9)
    assert np.abs(np.diff(np.array(places), axis=0)).max() <= SLOW * 2000 * 0.02 + 1e-9
    assert work.step == LARGEST_STEP


def test_contact_is_felt_and_backed_off(path: Path) -> None:
    rig = load_rig(path)
    driver = mock(rig, stops=(1450.0, 1560.0))
    work = RigCalibration(rig, driver)
    work.start(0.0)
    blocked, farthest = 0, 0.0
    for k in range(1500):
        if k % 40 == 0 and not blocked:
            work.nudge(1)
        reading = work.tick(0.02 * k)
        blocked += reading.blocked
        farthest = max(farthest, reading.commanded)
    assert blocked
    assert farthest < 1560 + 60, "it did not push on"
    assert work.mark("max") <= 1560 + 2 * work.step * 2000


@pytest.mark.parametrize("keys", ["+u" + "++l" + "\n", "+u" + "--l" + "hn" + "\n"])
def test_unacceptable_marks_are_refused(path: Path, keys: str) -> None:
    made, _, run = session(path, keys + "q")
    before = path.read_text()
    assert run() == 0
    assert path.read_text() == before
    assert made.progress.done == []


def test_work_is_resumed_and_the_notes_vanish_when_done(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert session(path, "\n\nq")[2]() == 0
    notes = path.with_name("head.yaml.progress")
    assert json.loads(notes.read_text())["done"] == ["brows", "lids"]
    capsys.readouterr()
    made, _, run = session(path, "\n")
    assert run() == 0
    assert "2 of 4 actuators to do" in capsys.readouterr().out
    assert made.progress.done == ["brows", "lids", "mouth_corners"]
    assert session(path, "\n")[2]() == 0
    assert not notes.exists()


@pytest.mark.parametrize("notes", ["", "[]", '{"done": 3}', "\x00"])
def test_damaged_notes_start_from_the_beginning(path: Path, notes: str) -> None:
    path.with_name("head.yaml.progress").write_text(notes)
    assert CalibrationProgress(path).done == []


def test_x_takes_the_torque_away(path: Path) -> None:
    _, driver, run = session(path, "++x")
    assert run() == 1
    assert not driver.torque_on


def test_torque_is_off_after_an_error(path: Path) -> None:
    rig = load_rig(path)
    driver = mock(rig)

    def keys(timeout: float) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Session(path, rig, driver, keys).run()
    assert not driver.torque_on


def test_edit_keeps_everything_else(path: Path) -> None:
    text = path.read_text()
    changed = with_fields(text, {("actuators", 3, "min"): 1410.0, ("actuators", 0, "neutral"): 1501.25})
    assert "min: 1410" in changed
    assert "neutral: 1501.25" in changed
    assert len(changed.splitlines()) == len(text.splitlines())
    for missing in (("actuators", 9, "min"), ("actuators", 0, "nothing"), ("actuators", 0)):
        with pytest.raises(KeyError):
            with_fields(text, {missing: 1.0})
    with pytest.raises(ConfigError, match="greater than 0"):
        save(path, text.replace("velocity: 3000", "velocity: -1", 1))
    assert path.read_text() == text, "a bad file never replaces a good one"


def test_command_line_refuses_to_write_into_the_examples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "minimal_4servo"]) == 2
    assert "give --out FILE" in capsys.readouterr().err
    assert main(["calibrate", str(EXAMPLE), "--out", str(tmp_path / "a.yaml"), "--actuator", "nose"]) == 2
    assert "it has brows, lids" in capsys.readouterr().err


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    yield master, slave
    os.close(master)


def test_at_a_real_terminal(tmp_path: Path, terminal: tuple[int, int]) -> None:
    master, slave = terminal
    out = tmp_path / "mine.yaml"
    command = [
        sys.executable,
        "-m",
        "emo_face.cli.main",
        "calibrate",
        "minimal_4servo",
        "--out",
        str(out),
        "--driver",
        "mock",
    ]
    with subprocess.Popen(command, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        os.close(slave)
        assert process.stdout is not None
        assert "4 of 4 actuators to do" in process.stdout.readline()
        os.write(master, b"+u\nq")
        shown, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "brows: min 1200, neutral 1500, max 1505  saved" in shown
    assert load_rig(out).limits.upper[0] == 1505


def test_a_bus_lost_while_calibrating_says_that_torque_may_be_on(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = load_rig(path)
    driver = mock(rig)

    def keys(timeout: float) -> str:
        driver.unplugged = True
        return "+"

    with pytest.raises(DriverError, match="unplugged"):
        Session(path, rig, driver, keys).run()
    assert "motors: NOT off: cut the power (brows, lids, mouth_corners, jaw)" in capsys.readouterr().out
