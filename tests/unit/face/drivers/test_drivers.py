"""PCA9685 on a fake I2C bus, trajectories, the recorder, and the factory that opens what a rig asks for."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_face.cli.main import main
from emo_face.core.errors import ConfigError
from emo_face.face.control.controller import FaceController
from emo_face.face.drivers import MissingLibrary, StopState, open_driver
from emo_face.face.drivers.base import DriverError
from emo_face.face.drivers.mock import MockDriver
from emo_face.face.drivers.recorder import RecorderDriver
from emo_face.face.drivers.trajectory import Trajectory, TrajectoryDriver
from emo_face.face.motion.motion import FaceMotion
from emo_face.face.rig.rig import load_rig


class FakeI2C:
    """An I2C bus with PCA9685 boards: registers of NXP's data sheet (table 4), byte by byte."""

    def __init__(self, *addresses: int, clock: float = 25e6) -> None:
        self.boards = {address: bytearray(256) for address in addresses or (0x40,)}
        self.clock = clock
        for registers in self.boards.values():
            registers[0x00], registers[0xFE] = 0x11, 0x1E  # asleep at power-on, prescaler of 200 Hz
        self.gone: set[int] = set()
        self.writes: list[bytes] = []

    def try_lock(self) -> bool:
        return True

    def unlock(self) -> None:
        pass

    def _check(self, address: int) -> None:
        if address in self.gone or address not in self.boards:
            raise OSError(121, "Remote I/O error")

    def writeto(self, address: int, buffer: Any, *, start: int = 0, end: int | None = None) -> None:
        self._check(address)
        data = bytes(buffer)[start:end]
        self.writes.append(data)
        if len(data) > 1:
            self.boards[address][data[0] : data[0] + len(data) - 1] = data[1:]

    def writeto_then_readfrom(
        self,
        address: int,
        out: Any,
        into: Any,
        *,
        out_start: int = 0,
        out_end: int | None = None,
        in_start: int = 0,
        in_end: int | None = None,
    ) -> None:
        self._check(address)
        end = len(into) if in_end is None else in_end
        first = bytes(out)[out_start]
        into[in_start:end] = self.boards[address][first : first + end - in_start]

    def pulse_us(self, channel: int, address: int = 0x40) -> float | None:
        """Pulse width that the chip makes on a channel, None if it is off."""
        registers = self.boards[address]
        on_low, on_high, off_low, off_high = registers[6 + 4 * channel : 10 + 4 * channel]
        if off_high & 0x10 or (off_low | off_high << 8) == 0:
            return None
        period = 4096 * (registers[0xFE] + 1) / (self.clock / 1e6)
        return ((off_low | off_high << 8) - (on_low | on_high << 8)) / 4096 * period


@pytest.fixture
def pca() -> tuple[Any, FakeI2C]:
    if importlib.util.find_spec("adafruit_servokit") is None:
        pytest.skip("adafruit-circuitpython-servokit is not installed")
    i2c = FakeI2C()
    rig = load_rig("minimal_4servo")
    driver = open_driver(rig, i2c=i2c)
    driver.connect()
    return driver, i2c


def test_pca9685_makes_the_pulses_it_is_told(pca: tuple[Any, FakeI2C]) -> None:
    driver, i2c = pca
    driver.write(np.array([1500.0, 1400.0, 1500.0, 1400.0]))
    assert i2c.pulse_us(0) is None, "no pulse before enable"
    driver.enable(True)
    driver.write(np.array([1200.0, 1900.0, 1503.0, 1400.0]))
    for channel, us in enumerate((1200, 1900, 1503, 1400)):
        assert i2c.pulse_us(channel) == pytest.approx(us, abs=5.0), "one step of the chip is 4.9 us at 50 Hz"
    assert i2c.pulse_us(4) is None
    before = len(i2c.writes)
    driver.write(np.array([1200.2, 1900.2, 1503.2, 1400.2]))
    assert len(i2c.writes) == before, "less than a step is not sent"
    driver.enable(False)
    assert [i2c.pulse_us(c) for c in range(4)] == [None] * 4
    assert np.isnan(driver.read().position).all()


def test_pca9685_sleeps_after_a_clean_end_and_never_while_a_servo_is_held(pca: tuple[Any, FakeI2C]) -> None:
    driver, i2c = pca

    def asleep() -> bool:
        return bool(i2c.boards[0x40][0x00] & 0x10)

    assert not asleep()
    driver.enable(True)
    driver.write(np.full(4, 1500.0))
    driver.close()
    assert not asleep(), "a head that holds its pose"
    driver.connect(keep_torque=True)
    driver.close()
    assert not asleep(), "nor one whose pulses came from a process before"
    driver.connect()
    driver.enable(True)
    driver.write(np.full(4, 1500.0))
    driver.enable(False)
    driver.close()
    assert asleep()
    driver.connect()
    assert not asleep()
    driver.enable(True)
    driver.write(np.full(4, 1500.0))
    driver.estop()
    i2c.gone.add(0x40)
    driver.close()  # unplugged meanwhile
    i2c.gone.clear()
    driver.connect()
    driver.estop()
    driver.close()
    assert asleep()


def test_pca9685_estop_and_unplugged(pca: tuple[Any, FakeI2C]) -> None:
    driver, i2c = pca
    driver.enable(True)
    driver.write(np.full(4, 1500.0))
    driver.estop()
    assert i2c.pulse_us(2) is None
    driver.write(np.full(4, 1600.0))
    assert i2c.pulse_us(2) is None, "stays off until enabled"
    driver.enable(True)
    i2c.gone.add(0x40)
    with pytest.raises(DriverError, match=r"0x40: .*unplugged"):
        driver.write(np.full(4, 1700.0))
    with pytest.raises(DriverError, match="i2cdetect"):
        driver.connect()
    i2c.gone.clear()
    driver.connect()
    driver.enable(True)
    driver.write(np.full(4, 1700.0))
    assert i2c.pulse_us(1) == pytest.approx(1700, abs=5.0)
    with pytest.raises(DriverError, match="finite"):
        driver.write(np.array([np.nan, 1, 1, 1]))


@pytest.mark.parametrize("keep", [True, False])
def test_after_a_killed_process_motion_begins_where_the_board_still_holds_the_servos(
    pca: tuple[Any, FakeI2C], keep: bool
) -> None:
    driver, i2c = pca
    driver.enable(True)
    held = np.array([1250.0, 1720.0, 1400.0, 1610.0])
    driver.write(held)  # and the process is killed
    rig = load_rig("minimal_4servo")
    control = FaceController(FaceMotion(0.01), rig, open_driver(rig, i2c=i2c), enabled=keep)
    control.step(0.0)
    assert i2c.pulse_us(0) is None or keep, "the pulses stop until somebody enables them"
    control.enable(True)
    paths = []
    for tick in range(1, 200):
        control.step(tick * 0.01)
        paths.append([i2c.pulse_us(channel) for channel in range(4)])
    moved = np.diff(np.vstack([held, np.array(paths, np.float64)]), axis=0)
    limits = rig.limits.velocity * 0.01
    assert (np.abs(moved) <= limits + 10.0).all(), "two steps of the chip, 4.9 us each, are rounding"
    assert np.abs(paths[-1] - held).max() > 100, "and it does go to neutral"


def test_a_board_that_is_gone_or_was_reset_is_noticed_while_the_face_stands_still(pca: tuple[Any, FakeI2C]) -> None:
    driver, i2c = pca
    driver.enable(True)
    pose = np.array([1500.0, 1600.0, 1500.0, 1400.0])
    driver.write(pose)
    driver.read()
    i2c.gone.add(0x40)
    driver.write(pose)  # nothing changed, so nothing is sent
    with pytest.raises(DriverError, match=r"0x40: .*unplugged"):
        driver.read()
    i2c.gone.clear()
    i2c.boards[0x40] = FakeI2C().boards[0x40]  # a brown-out: registers as at power-on
    with pytest.raises(DriverError, match="it was reset and makes no pulses"):
        driver.read()
    driver.close()  # what the controller does after an error
    driver.connect(keep_torque=True)
    driver.enable(True)
    driver.write(pose)
    assert i2c.pulse_us(1) == pytest.approx(1600, abs=5.0)
    driver.read()


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (
            "pca9685",
            {"channels": 12},
            r"minimal_4servo\.yaml:\d+: field driver.options: pca9685: channels: expected 8 or 16",
        ),
        ("pca9685", {"frequency": 5}, "frequency: expected a number from 40 to 333, got 5"),
        (
            "pca9685",
            {"speed": 1},
            r"minimal_4servo\.yaml:\d+: field driver.options: the pca9685 driver has no option 'speed'",
        ),
        ("pca9685", {"addresses": [64, 64]}, "each board has its own address"),
        ("pca9685", {"addresses": 65}, r"addresses: expected a list such as \[64, 65\]"),
        ("pca9685", {"addresses": [64, 0x70]}, "0x70 is every board's"),
        ("pca9685", {"address": 300}, "address: expected a number from 64 to 127"),
        ("pca9685", {"reference_clock_speed": 25}, "reference_clock_speed: expected a number from 2e"),
        ("pca9685", {"i2c_bus": -1}, "i2c_bus: expected"),
        ("feetech", {"port": "/dev/null"}, "expected unit ticks or rad"),
        ("teleport", {}, "unknown driver"),
    ],
)
def test_wrong_driver_settings_are_named(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_driver(load_rig("minimal_4servo"), kind=kind, **options)


@pytest.mark.parametrize("rig", ["head_25channel", "head_12servo", "minimal_4servo"])
def test_a_missing_library_names_the_extra_and_rig_check_still_checks(
    rig: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("serial", "adafruit_servokit"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingLibrary, match=r"scripts/setup\.sh \w+"):
        open_driver(load_rig(rig))
    assert main(["rig", "check", rig]) == 0
    assert "not on this machine yet: " in capsys.readouterr().out


BOARDS = """\
name: head
driver: {{kind: pca9685, options: {{{options}}}}}
actuators:
  - {{name: brows, id: 0, unit: us, min: 1200, max: 1800, neutral: 1500,
      velocity: 3000, acceleration: 40000, jerk: 1000000, drive: [{{channel: browDown, gain: -1.0}}]}}
  - {{name: jaw, id: {jaw}, unit: us, min: 1400, max: 2000, neutral: 1400,
      velocity: 4000, acceleration: 60000, jerk: 1500000, drive: [{{channel: jawOpen, gain: 1.0}}]}}
"""


def board_rig(tmp_path: Path, options: str, jaw: int) -> Path:
    path = tmp_path / "boards.yaml"
    path.write_text(BOARDS.format(options=options, jaw=jaw))
    return path


@pytest.mark.parametrize(
    ("options", "jaw", "message"),
    [
        ("address: 64", 19, r"'jaw': expected id 0 to 15, got 19; a second board is `addresses: \[64, 65\]`"),
        ("addresses: [64, 65]", 32, "'jaw': expected id 0 to 31, got 32"),
        ("adress: 64", 1, "no option 'adress'"),
        ("addresses: [64, two]", 1, "driver.options.addresses"),
        ("i2c_bus: seven", 1, "i2c_bus: expected"),
    ],
)
def test_rig_check_refuses_what_the_driver_would(
    tmp_path: Path, options: str, jaw: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = board_rig(tmp_path, options, jaw)
    assert main(["rig", "check", str(path)]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert re.search(r"boards\.yaml:\d+: field ", error), error


def test_two_boards_share_a_bus_and_one_that_dies_costs_its_own_actuators_only(tmp_path: Path) -> None:
    pytest.importorskip("adafruit_servokit")
    i2c = FakeI2C(0x40, 0x41)
    driver = open_driver(load_rig(board_rig(tmp_path, "addresses: [64, 65]", 19)), i2c=i2c)
    driver.connect()
    driver.enable(True)
    driver.write(np.array([1500.0, 1700.0]))
    assert i2c.pulse_us(0, 0x40) == pytest.approx(1500, abs=5)
    assert i2c.pulse_us(3, 0x41) == pytest.approx(1700, abs=5)
    assert [c for c in range(16) if i2c.pulse_us(c, 0x41) is not None] == [3], "and nothing else there"
    i2c.gone.add(0x41)
    report = driver.estop()
    assert (report.state, report.actuators) == (StopState.NOT_OFF, ("jaw",))
    assert "0x41" in report.detail
    assert i2c.pulse_us(0, 0x40) is None, "the other board stopped"
    i2c.gone.clear()
    assert i2c.pulse_us(3, 0x41) == pytest.approx(1700, abs=5), "the chip repeats its last pulse for ever"
    report = driver.estop()
    assert report.state is StopState.SENT, "found again by itself"
    assert not report.success
    assert i2c.pulse_us(3, 0x41) is None


def test_the_clock_that_is_told_makes_the_pulse_that_is_asked() -> None:
    pytest.importorskip("adafruit_servokit")
    i2c = FakeI2C(0x40, clock=26_075_000)
    rig = load_rig("minimal_4servo")
    for options, off in (({}, True), ({"reference_clock_speed": 26_075_000}, False)):
        driver = open_driver(rig, i2c=i2c, **options)
        driver.connect()
        driver.enable(True)
        driver.write(np.full(4, 1500.0))
        assert (abs(i2c.pulse_us(0) - 1500) > 50) is off


def test_another_i2c_bus_is_opened_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("adafruit_servokit")
    i2c, asked = FakeI2C(), []
    monkeypatch.setattr("emo_face.face.drivers.pca9685.linux_i2c", lambda number: asked.append(number) or i2c)
    driver = open_driver(load_rig("minimal_4servo"), i2c_bus=7)
    assert asked == [], "not before it connects"
    driver.connect()
    assert asked == [7]


def test_an_i2c_bus_that_is_not_there_is_named() -> None:
    pytest.importorskip("adafruit_servokit")
    driver = open_driver(load_rig("minimal_4servo"), i2c_bus=97)
    with pytest.raises(DriverError, match=r"on I2C bus 97: .*i2cdetect -y 97"):
        driver.connect()
    report = driver.estop()
    assert (report.state, report.actuators) == (StopState.NOT_OFF, tuple(driver.names))


def test_trajectories_end_at_rest_and_pass_the_pose_with_its_velocity() -> None:
    sent: list[Trajectory] = []
    limits = [-1.0, -1.0], [1.0, 0.3], 9.0, [5.0, 5.0]
    driver = TrajectoryDriver(["a", "b"], period=0.01, limits=limits, clock=lambda: 0.0)
    with pytest.raises(DriverError, match="publish"):
        driver.connect()
    driver.publish = sent.append
    driver.connect()
    driver.measured(["b", "elbow"], [0.25, 9.0])
    np.testing.assert_array_equal(driver.read().position, [np.nan, 0.25])
    driver.enable(True)
    driver.measured(["a"], [0.0])
    driver.write(np.array([0.0, 0.25]))
    driver.write(np.array([0.01, 0.26]))
    assert sent[1].joint_names == ("a", "b")
    assert sent[0].points[0].velocities == (0.0, 0.0)
    pose, rest = sent[1].points
    assert pose.positions == (0.01, 0.26)
    assert pose.velocities == pytest.approx((1.0, 1.0))
    assert pose.time_from_start == pytest.approx(0.015)
    assert rest.velocities == sent[1].velocities == (0.0, 0.0), "or the controller refuses the message"
    assert rest.time_from_start == pytest.approx(0.015 + 0.2), "1 unit/s at 5 unit/s^2"
    assert rest.positions == pytest.approx((0.11, 0.3)), "inside the range"
    report = driver.estop()
    assert (report.state, report.success) == (StopState.CANNOT, False)


def follow(sent: list[tuple[float, Trajectory]], stands: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Times and positions of what joint_trajectory_controller commands: cubic splines from point to point.

    The joint stands at the first pose, or at ``stands``.

    Facts: ros2_controllers, trajectory.cpp (a new trajectory starts from the state of the old one; points with
    velocities are joined by cubics) and ``interpolate_from_desired_state``.
    """
    first = np.array(sent[0][1].points[0].positions if stands is None else [stands])
    state, times, places = (first, np.zeros(1)), [], []
    for k, (begin, trajectory) in enumerate(sent):
        end = sent[k + 1][0] if k + 1 < len(sent) else begin + 1.0
        knots = [(0.0, *state)] + [
            (p.time_from_start, np.array(p.positions), np.array(p.velocities)) for p in trajectory.points
        ]
        for t in np.arange(0.0, end - begin, 0.001):
            (t0, p0, v0), (t1, p1, v1) = next(
                ((a, b) for a, b in itertools.pairwise(knots) if a[0] <= t < b[0]), (knots[-1], knots[-1])
            )
            h = max(t1 - t0, 1e-9)
            u = (t - t0) / h if t1 > t0 else 0.0
            place = (1 + 2 * u) * (1 - u) ** 2 * p0 + u * (1 - u) ** 2 * h * v0
            place = place + u * u * (3 - 2 * u) * p1 + u * u * (u - 1) * h * v1
            times.append(begin + t)
            places.append(place)
        state = places[-1], (places[-1] - places[-2]) / 0.001
    return np.array(times), np.array(places)[:, 0]


def test_a_controller_moves_smoothly_along_them_and_stops_by_itself() -> None:
    sent: list[tuple[float, Trajectory]] = []
    now, period = 0.0, 0.01
    limits = (-1.0, 1.0, 4.0, 10.0)
    driver = TrajectoryDriver(["a"], lambda t: sent.append((now, t)), period, limits, lambda: now)
    driver.enable(True)
    driver.measured(["a"], [0.0])
    for step in range(150):
        now = step * period
        driver.write(np.array([0.5 * np.sin(2 * np.pi * now)]))
    times, places = follow(sent)
    moving = (times > 0.1) & (times < 1.4)
    wanted = 0.5 * np.sin(2 * np.pi * (times - 1.5 * period))
    assert np.abs(places - wanted)[moving].max() < 0.02
    speed = np.abs(np.diff(places[times > 0.1])) / 0.001
    assert speed.max() < 1.1 * np.pi, "no jerks between messages"
    assert np.abs(np.diff(places[-300:])).max() == 0, "nobody talks any more: at rest"
    assert -1.0 <= places.min() <= places.max() <= 1.0


@pytest.mark.parametrize("why", ["no joint states yet", "old joint states", "a gap of the loop"])
def test_a_joint_that_may_stand_elsewhere_is_fetched_without_a_jump(why: str) -> None:
    sent: list[tuple[float, Trajectory]] = []
    now, period, speed = 0.0, 0.01, 2.0
    limits = (-1.0, 1.0, speed, 30.0)
    driver = TrajectoryDriver(["a"], lambda t: sent.append((now, t)), period, limits, lambda: now)
    pose, stands = np.array([-0.5]), 0.9
    if why == "old joint states":
        driver.measured(["a"], pose)  # two seconds ago; somebody moved it since
        now = 2.0
        assert np.isnan(driver.read().position).all(), "where it was is not where it is"
    driver.enable(True)
    if why == "a gap of the loop":  # the gate has braked on paper, the controller by itself
        driver.measured(["a"], [stands])
        driver.write(np.array([stands]))
        now += 50 * period
    for _ in range(200):
        driver.write(pose)
        now += period
    _, places = follow(sent, stands)
    assert np.abs(np.diff(places)).max() / 0.001 < 1.01 * speed
    assert places[-1] == pytest.approx(-0.5), "and it gets there"


def test_a_late_tick_asks_for_no_more_speed_than_the_path_has() -> None:
    sent: list[Trajectory] = []
    now, period = 0.0, 0.01
    driver = TrajectoryDriver(["a"], sent.append, period, (-1.0, 1.0, 2.0, 30.0), lambda: now)
    driver.enable(True)
    driver.measured(["a"], [0.0])
    for now in (0.0, 0.01, 0.02, 0.05, 0.06):  # the third is 30 ms late
        driver.write(np.array([1.5 * now]))
    assert [t.points[0].velocities[0] for t in sent[1:]] == pytest.approx([1.5] * 4)


def test_the_recorder_keeps_and_saves_what_was_written(tmp_path: Path) -> None:
    clock = itertools.count(10.0, 0.5)
    inner = MockDriver(["a", "b"])
    driver = RecorderDriver(["a", "b"], inner, clock=lambda: next(clock))
    driver.connect()
    driver.enable(True)
    for k in range(3):
        driver.write(np.array([0.1 * k, -0.1 * k]))
    times, positions = driver.frames()
    np.testing.assert_allclose(times, [10.0, 10.5, 11.0])
    np.testing.assert_allclose(positions[2], [0.2, -0.2])
    assert inner.writes == 3
    driver.save(tmp_path / "moves.csv")
    rows = list(csv.reader((tmp_path / "moves.csv").open()))
    assert rows[0] == ["time", "a", "b"]
    assert [float(v) for v in rows[3]] == pytest.approx([1.0, 0.2, -0.2])
    with pytest.raises(ValueError, match="around a driver"):
        RecorderDriver(["x"], inner)


def test_the_recorder_forgets_the_oldest() -> None:
    driver = RecorderDriver(["a"], limit=100)
    for k in range(250):
        driver.write(np.array([float(k)]))
    _, positions = driver.frames()
    assert len(positions) <= 101
    assert positions[-1, 0] == 249.0
