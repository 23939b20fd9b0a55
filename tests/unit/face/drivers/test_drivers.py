"""PCA9685 on a fake I2C bus, trajectories, the recorder, and the factory that opens what a rig asks for."""

from __future__ import annotations

import csv
import importlib.util
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_face.core.errors import ConfigError
from emo_face.face.drivers import open_driver
from emo_face.face.drivers.base import DriverError
from emo_face.face.drivers.mock import MockDriver
from emo_face.face.drivers.recorder import RecorderDriver
from emo_face.face.drivers.trajectory import TrajectoryDriver, TrajectoryPoint
from emo_face.face.rig.rig import load_rig


class FakeI2C:
    """An I2C bus with one PCA9685: registers of NXP's data sheet, byte by byte."""

    def __init__(self, address: int = 0x40) -> None:
        self.address, self.registers = address, bytearray(256)
        self.registers[0xFE] = 0x1E
        self.gone = False
        self.writes: list[bytes] = []

    def try_lock(self) -> bool:
        return True

    def unlock(self) -> None:
        pass

    def _check(self, address: int) -> None:
        if self.gone or address != self.address:
            raise OSError(121, "Remote I/O error")

    def writeto(self, address: int, buffer: Any, *, start: int = 0, end: int | None = None) -> None:
        self._check(address)
        data = bytes(buffer)[start:end]
        self.writes.append(data)
        if len(data) > 1:
            self.registers[data[0] : data[0] + len(data) - 1] = data[1:]

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
        into[in_start:end] = self.registers[first : first + end - in_start]

    def pulse_us(self, channel: int) -> float | None:
        """Pulse width that the chip makes on a channel, None where it is off."""
        on_low, on_high, off_low, off_high = self.registers[6 + 4 * channel : 10 + 4 * channel]
        if off_high & 0x10 or (off_low | off_high << 8) == 0:
            return None
        period = 4096 * (self.registers[0xFE] + 1) / 25.0
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


def test_pca9685_estop_and_unplugged(pca: tuple[Any, FakeI2C]) -> None:
    driver, i2c = pca
    driver.enable(True)
    driver.write(np.full(4, 1500.0))
    driver.estop()
    assert i2c.pulse_us(2) is None
    driver.write(np.full(4, 1600.0))
    assert i2c.pulse_us(2) is None, "stays off until enabled"
    driver.enable(True)
    i2c.gone = True
    with pytest.raises(DriverError, match=r"0x40: .*unplugged"):
        driver.write(np.full(4, 1700.0))
    with pytest.raises(DriverError, match="i2cdetect"):
        driver.connect()
    i2c.gone = False
    driver.connect()
    driver.enable(True)
    driver.write(np.full(4, 1700.0))
    assert i2c.pulse_us(1) == pytest.approx(1700, abs=5.0)
    with pytest.raises(DriverError, match="finite"):
        driver.write(np.array([np.nan, 1, 1, 1]))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("pca9685", {"channels": 12}, "8 or 16 channels"),
        ("pca9685", {"frequency": 5}, "40 to 333 Hz"),
        ("pca9685", {"speed": 1}, "driver.options for pca9685"),
        ("feetech", {"port": "/dev/null"}, "expected unit ticks or rad"),
        ("teleport", {}, "unknown driver"),
    ],
)
def test_wrong_driver_settings_are_named(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_driver(load_rig("minimal_4servo"), kind=kind, **options)


@pytest.mark.parametrize("module", ["dynamixel_sdk", "scservo_sdk", "adafruit_servokit"])
def test_a_missing_library_names_the_extra(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = {"dynamixel_sdk": "head_25channel", "scservo_sdk": "head_12servo"}.get(module, "minimal_4servo")
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ConfigError, match=r"scripts/setup\.sh \w+"):
        open_driver(load_rig(rig))


def test_trajectories_carry_velocity_and_lead() -> None:
    points: list[TrajectoryPoint] = []
    driver = TrajectoryDriver(["a", "b"], period=0.01)
    with pytest.raises(DriverError, match="publish"):
        driver.connect()
    driver.publish = points.append
    driver.connect()
    driver.measured(["b", "elbow"], [0.25, 9.0])
    np.testing.assert_array_equal(driver.read().position, [np.nan, 0.25])
    driver.enable(True)
    driver.write(np.array([0.0, 0.25]))
    driver.write(np.array([0.01, 0.24]))
    assert points[0].velocities == (0.0, 0.0)
    assert points[1].joint_names == ("a", "b")
    assert points[1].positions == (0.01, 0.24)
    assert points[1].velocities == pytest.approx((1.0, -1.0))
    assert points[1].time_from_start == pytest.approx(0.015)


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
