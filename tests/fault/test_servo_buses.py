"""Dynamixel and Feetech drivers against buses that check every byte, and that fail in every way buses fail."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from emo_face.core.errors import ConfigError
from emo_face.face.drivers.base import DriverError
from emo_face.face.drivers.dynamixel import DynamixelDriver
from emo_face.face.drivers.feetech import FeetechDriver
from emo_face.face.drivers.serial_bus import SerialBusDriver

sys.path.insert(0, str(Path(__file__).parent))
from fake_bus import DynamixelBus, FakeBus, FeetechBus

NAMES, IDS = ("brow", "lid", "jaw"), (1, 2, 7)
KINDS = {
    "feetech": (FeetechBus, FeetechDriver, "scservo_sdk"),
    "dynamixel": (DynamixelBus, DynamixelDriver, "dynamixel_sdk"),
}


class Bench:
    """A fake bus, its driver, and where both keep things."""

    def __init__(self, kind: str) -> None:
        make, driver, sdk = KINDS[kind]
        if importlib.util.find_spec(sdk) is None:
            pytest.skip(f"{sdk} is not installed")
        self.kind = kind
        self.bus: FakeBus = make(list(IDS))
        self.driver: SerialBusDriver = driver(NAMES, IDS, ["ticks"] * 3, self.bus.path, timeout=0.02)  # type: ignore[arg-type]
        self.torque, self.goal, self.size = (40, 42, 2) if kind == "feetech" else (64, 116, 4)
        for servo in IDS:
            self.place(servo, 2000 + servo)

    def place(self, servo: int, ticks: int, load: int = 0) -> None:
        table = self.bus.servos[servo].table
        if self.kind == "feetech":
            table[56:58] = ticks.to_bytes(2, "little")
            table[60:62] = (abs(load) | (0x400 if load < 0 else 0)).to_bytes(2, "little")
        else:
            table[132:136] = ticks.to_bytes(4, "little", signed=True)
            table[126:128] = load.to_bytes(2, "little", signed=True)

    def goals(self) -> list[int]:
        self.settle()
        tables = [self.bus.servos[i].table for i in IDS]
        return [int.from_bytes(t[self.goal : self.goal + self.size], "little", signed=True) for t in tables]

    def torques(self) -> list[int]:
        self.settle()
        return [self.bus.servos[i].table[self.torque] for i in IDS]

    def settle(self) -> None:
        """Wait until the bus has eaten what was sent: an answered read comes after everything before it."""
        seen = -1
        while seen != len(self.bus.packets):
            seen = len(self.bus.packets)
            time.sleep(0.03)


@pytest.fixture(params=list(KINDS))
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(request.param)
    yield made
    made.driver.close()
    made.bus.close()


def test_goals_arrive_byte_by_byte(bench: Bench) -> None:
    bench.driver.connect()
    bench.driver.enable(True)
    assert bench.torques() == [1, 1, 1]
    assert bench.goals() == [2001, 2002, 2007], "torque comes on at the present pose"
    bench.driver.write(np.array([1000.0, 2047.6, 3000.4]))
    assert bench.goals() == [1000, 2048, 3000]
    writes = bench.bus.written(0x83)
    assert [p[2][0] for p in writes[:2]] == [bench.goal, bench.torque], "goals first, torque after"
    assert bench.bus.damaged == 0
    bench.driver.enable(False)
    assert bench.torques() == [0, 0, 0]


def test_the_exact_packet_of_a_write(bench: Bench) -> None:
    bench.driver.connect()
    bench.bus.packets.clear()
    bench.driver.write(np.array([1.0, 2.0, 515.0]))
    bench.settle()
    if bench.kind == "feetech":
        expected = bytes([42, 2, 1, 1, 0, 2, 2, 0, 7, 3, 2])
    else:
        expected = bytes([116, 0, 4, 0, 1, 1, 0, 0, 0, 2, 2, 0, 0, 0, 7, 3, 2, 0, 0])
    assert bench.bus.packets == [(0xFE, 0x83, expected)]


def test_states_are_decoded_with_sign_and_load(bench: Bench) -> None:
    bench.place(1, 1234, load=250)
    bench.place(2, 0x8005 if bench.kind == "feetech" else -5, load=-500)
    bench.driver.connect()
    state = bench.driver.read()
    np.testing.assert_array_equal(state.position, [1234, -5, 2007])
    np.testing.assert_allclose(state.load, [0.25, -0.5, 0.0])
    assert state.faults == {}


def test_radians_are_counted_from_the_middle(bench: Bench) -> None:
    make = type(bench.driver)
    driver = make(NAMES, IDS, ["rad"] * 3, bench.bus.path, timeout=0.02)  # type: ignore[call-arg, arg-type]
    for servo in IDS:
        bench.place(servo, 2048 + 1024)
    driver.connect()
    np.testing.assert_allclose(driver.read().position, np.pi / 2)
    driver.write(np.array([0.0, -np.pi / 2, np.pi / 4]))
    assert bench.goals() == [2048, 1024, 2560]
    driver.close()


def test_stuffed_bytes_survive() -> None:
    bench = Bench("dynamixel")
    bench.place(1, 0x00FDFFFF)
    bench.driver.connect()
    assert bench.driver.read().position[0] == 0x00FDFFFF
    bench.driver.write(np.array([float(0x00FDFFFF), 0.0, -1.0]))
    assert bench.goals() == [0x00FDFFFF, 0, -1]
    bench.driver.close()
    bench.bus.close()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"mute": True}, r"servo 2 \(lid\) did not answer"),
        ({"corrupt": True}, r"servo 2 \(lid\) did not answer.*[Ii]ncorrect"),
        ({"cut": 5}, r"servo 2 \(lid\) did not answer"),
        ({"cut": 1}, r"servo 2 \(lid\) did not answer"),
        ({"answers_as": 9}, r"servo 2 \(lid\) did not answer"),
        ({"short_data": True}, r"servo 2 \(lid\) sent \d+ of \d+ bytes"),
    ],
)
def test_faults_on_the_wire_are_named_and_bounded_in_time(bench: Bench, fault: dict[str, object], message: str) -> None:
    bench.driver.connect()
    for key, value in fault.items():
        setattr(bench.bus.servos[2], key, value)
    begin = time.monotonic()
    with pytest.raises(DriverError, match=message):
        bench.driver.read()
    assert time.monotonic() - begin < 0.5
    bench.driver.write(np.array([1.0, 2.0, 3.0]))  # the port is not left busy
    assert bench.goals() == [1, 2, 3]
    for key in fault:
        setattr(bench.bus.servos[2], key, {"cut": None, "answers_as": None}.get(key, False))
    bench.driver.connect()
    np.testing.assert_array_equal(bench.driver.read().position, [2001, 2002, 2007])


def test_a_missing_servo_is_named_when_connecting(bench: Bench) -> None:
    bench.bus.servos[7].mute = True
    with pytest.raises(DriverError, match=r"servo 7 \(jaw\) did not answer.*cable, id and baud"):
        bench.driver.connect()


def test_noise_on_the_line_is_skipped(bench: Bench) -> None:
    bench.bus.garbage = b"\x00\xff\x13\xfd"
    bench.driver.connect()
    np.testing.assert_array_equal(bench.driver.read().position, [2001, 2002, 2007])


def test_overload_flags_become_faults(bench: Bench) -> None:
    bench.driver.connect()
    if bench.kind == "feetech":
        bench.bus.servos[7].error = 0x20 | 0x04
    else:
        bench.bus.servos[7].error = 0x80
        bench.bus.servos[7].table[70] = 0x24
    assert bench.driver.read().faults == {"jaw": "overheating, overload"}


def test_a_half_written_packet_is_an_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.driver.connect()
    port = bench.driver._port
    monkeypatch.setattr(port, "writePort", lambda packet: port.ser.write(bytes(packet)[:4]))
    with pytest.raises(DriverError, match="not sent whole"):
        bench.driver.write(np.array([1.0, 2.0, 3.0]))
    monkeypatch.undo()
    bench.driver.write(np.array([4.0, 5.0, 6.0]))
    bench.driver.write(np.array([4.0, 5.0, 6.0]))  # the half packet swallows at most the one behind it
    assert bench.goals() == [4, 5, 6]


def test_estop_is_one_broadcast(bench: Bench) -> None:
    bench.driver.connect()
    bench.driver.enable(True)
    bench.settle()
    bench.bus.packets.clear()
    bench.driver.estop()
    assert bench.torques() == [0, 0, 0]
    assert [p[:2] for p in bench.bus.packets] == [(0xFE, 0x03)]


def test_unplugged_in_the_middle(bench: Bench) -> None:
    bench.driver.connect()
    bench.driver.enable(True)
    bench.bus.close()
    with pytest.raises(DriverError, match=r"unplugged|not sent whole"):
        bench.driver.write(np.array([1.0, 2.0, 3.0]))
    with pytest.raises(DriverError, match="unplugged"):
        bench.driver.read()
    bench.driver.close()
    with pytest.raises(DriverError, match=r"cannot open.*dialout"):
        bench.driver.connect()
    with pytest.raises(DriverError, match="not connected"):
        bench.driver.write(np.array([1.0, 2.0, 3.0]))
    bench.driver.estop()


@pytest.mark.parametrize("bad", [np.array([1.0, np.nan, 2.0]), np.zeros(2)])
def test_bad_positions_never_reach_the_wire(bench: Bench, bad: np.ndarray) -> None:
    bench.driver.connect()
    bench.settle()
    before = len(bench.bus.packets)
    with pytest.raises(DriverError, match="finite"):
        bench.driver.write(bad)
    bench.settle()
    assert len(bench.bus.packets) == before


def test_units_that_a_bus_servo_cannot_have() -> None:
    with pytest.raises(ConfigError, match="expected unit ticks or rad, got 'us'"):
        Bench("feetech").driver.__class__(NAMES, IDS, ["us"] * 3, "/dev/null")  # type: ignore[call-arg, arg-type]
