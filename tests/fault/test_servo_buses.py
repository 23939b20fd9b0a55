"""Dynamixel and Feetech drivers against buses made from the makers' maps, which fail in every way buses fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from emo_face.bench.emulated.servo_bus import DynamixelBus, FakeBus, FeetechBus
from emo_face.bench.emulated.servos import ScsServo, Servo, XServo
from emo_face.core.errors import ConfigError
from emo_face.face.drivers.base import DriverError, Interrupted
from emo_face.face.drivers.dynamixel import DynamixelDriver
from emo_face.face.drivers.feetech import FeetechDriver
from emo_face.face.drivers.serial_bus import SerialBusDriver
from emo_face.face.drivers.stop_report import StopState

pytest.importorskip("serial", reason="needs pyserial: scripts/setup.sh feetech")

NAMES, IDS = ("brow", "lid", "jaw"), (1, 2, 7)
KINDS: dict[str, tuple[type[FakeBus], type[SerialBusDriver]]] = {
    "feetech": (FeetechBus, FeetechDriver),
    "dynamixel": (DynamixelBus, DynamixelDriver),
}


class Xl320Servo(XServo):
    """XL-320 (e-Manual): another table altogether: 51 bytes, model 0 (350), torque 24, goal 30, position 37."""

    TORQUE, GOAL, POSITION, SPEED, SIZE = 24, (30, 2), (37, 2), (32, 2), 51
    WATCHDOG, MODEL = 50, 350

    def power_on(self) -> None:
        self.store((0, 2), self.MODEL)
        self._heard = 0.0

    def fed(self, now: float) -> None:
        pass


class Bench:
    """A fake bus, its driver, and where both keep things."""

    def __init__(self, kind: str, servo: type[Servo] | None = None, **options: Any) -> None:
        bus, driver = KINDS[kind]
        self.kind, self.bus = kind, bus(IDS, servo)
        self.driver = driver(NAMES, IDS, ["ticks"] * 3, self.bus.path, **{"timeout": 0.06, **options})
        for i, each in self.bus.servos.items():
            each.position = 2000 + i

    def __getitem__(self, i: int) -> Servo:
        return self.bus.servos[i]

    def goals(self) -> list[int]:
        self.settle()
        return [servo.goal for servo in self.bus.servos.values()]

    def torques(self) -> list[int]:
        self.settle()
        return self.bus.torques()

    def settle(self) -> None:
        """Wait until the bus has eaten what was sent."""
        seen = -1
        while seen != len(self.bus.packets):
            seen = len(self.bus.packets)
            time.sleep(0.03)

    def close(self) -> None:
        self.driver.close()
        self.bus.close()


@pytest.fixture(params=list(KINDS))
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(request.param)
    yield made
    made.close()


# ---- numbers on the wire ------------------------------------------------------------------------------------------


def test_goals_arrive_byte_by_byte(bench: Bench) -> None:
    bench.driver.connect()
    bench.driver.enable(True)
    assert bench.torques() == [1, 1, 1]
    assert bench.goals() == [2001, 2002, 2007], "torque comes on at the present pose"
    bench.driver.write(np.array([1000.0, 2047.6, 3000.4]))
    assert bench.goals() == [1000, 2048, 3000]
    registers = [p[2][0] for p in bench.bus.written(0x83)]
    goal, torque = bench[1].GOAL[0], bench[1].TORQUE
    assert registers.index(goal) < registers.index(torque), "goals first, torque after"
    assert bench.bus.damaged == 0
    bench.driver.enable(False)
    assert bench.torques() == [0, 0, 0]


def test_the_exact_packet_of_a_write(bench: Bench) -> None:
    bench.driver.connect()
    bench.settle()
    bench.bus.packets.clear()
    bench.driver.write(np.array([1.0, 2.0, 515.0]))
    bench.settle()
    if bench.kind == "feetech":
        expected = bytes([42, 2, 1, 1, 0, 2, 2, 0, 7, 3, 2])
    else:
        expected = bytes([116, 0, 4, 0, 1, 1, 0, 0, 0, 2, 2, 0, 0, 0, 7, 3, 2, 0, 0])
    assert bench.bus.packets == [(0xFE, 0x83, expected)]


@pytest.mark.parametrize("ticks", [2000, 0, -5, -300, -20, 4095, -4095])
def test_positions_and_goals_are_read_and_written_with_the_makers_sign(bench: Bench, ticks: int) -> None:
    bench[2].position = ticks
    bench[2].load(-500)
    bench.driver.connect()
    state = bench.driver.read()
    assert (state.position[1], state.load[1], state.faults) == (ticks, -0.5, {})
    bench.driver.enable(True)
    assert bench.goals()[1] == ticks, "switching on moves nothing"
    bench.driver.write(np.full(3, float(-ticks)))
    assert bench.goals() == [-ticks] * 3


def test_radians_are_counted_from_the_middle(bench: Bench) -> None:
    bench.driver.close()
    driver = type(bench.driver)(NAMES, IDS, ["rad"] * 3, bench.bus.path, timeout=0.06)
    for servo in IDS:
        bench[servo].position = 2048 + 1024
    driver.connect()
    np.testing.assert_allclose(driver.read().position, np.pi / 2)
    driver.write(np.array([0.0, -np.pi / 2, np.pi / 4]))
    assert bench.goals() == [2048, 1024, 2560]
    driver.close()


def test_stuffed_bytes_survive() -> None:
    bench = Bench("dynamixel")
    bench[1].position = 0x00FDFFFF
    bench.driver.connect()
    assert bench.driver.read().position[0] == 0x00FDFFFF
    bench.driver.write(np.array([float(0x00FDFFFF), 0.0, -1.0]))
    assert bench.goals() == [0x00FDFFFF, 0, -1]
    bench.close()


@pytest.mark.parametrize(("kind", "unit"), [("feetech", 1.0), ("dynamixel", 0.229 * 4096 / 60)])
def test_the_goal_speed_is_set_before_torque(kind: str, unit: float) -> None:
    bench = Bench(kind, speed=[600.0, 1200.0, 0.0])
    bench.driver.connect()
    bench.driver.enable(True)
    bench.settle()
    speeds = [bench[i].raw(bench[i].SPEED) for i in IDS]
    assert speeds == [int(np.ceil(600 / unit)), int(np.ceil(1200 / unit)), 0]
    bench.close()


# ---- families -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "servo", "name"),
    [("feetech", ScsServo, "SCS0009.*model 1284"), ("dynamixel", Xl320Servo, "XL-320.*X series")],
)
def test_a_servo_of_another_family_is_refused_by_name_and_gets_no_goal(
    kind: str, servo: type[Servo], name: str
) -> None:
    bench = Bench(kind, servo)
    for each in bench.bus.servos.values():
        each.position = 512
    with pytest.raises(DriverError, match=rf"servo 1 \(brow\) is a.*{name}"):
        bench.driver.connect()
    bench.settle()
    assert not bench.bus.written(0x83), "no goal was sent"
    assert [p[2][:1] for p in bench.bus.written(0x03)] == [bytes([40 if kind == "feetech" else 64])], "only torque off"
    bench.close()


def test_a_family_without_our_table_is_refused_by_number() -> None:
    class Pro(XServo):
        MODEL = 2010

    bench = Bench("dynamixel", Pro)
    with pytest.raises(DriverError, match=r"PH54-100 \(P series\)"):
        bench.driver.connect()
    bench.close()


@pytest.mark.parametrize(
    ("kind", "register", "value", "reason"),
    [
        ("feetech", 33, 1, "wheel mode"),
        ("feetech", 33, 3, "step mode"),
        ("dynamixel", 11, 1, "operating mode 1"),
        ("dynamixel", 11, 16, "operating mode 16"),
        ("dynamixel", 10, 4, "time-based profile"),
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_a_servo_that_understands_goals_otherwise_is_refused(
    kind: str, register: int, value: int, reason: str, later: bool
) -> None:
    """SMS_STS.h: mode 33, a wheel turns at goal speed 46. e-Manual: operating mode 11; drive mode 10, bit 2: ms."""
    bench = Bench(kind)
    bench[2].absent = later
    bench[2].table[register] = value
    if later:  # a loose cable: it comes after all others were looked at
        bench.driver.connect()
        bench[2].absent = False
    with pytest.raises(DriverError, match=rf"servo 2 \(lid\) .*{reason}"):
        bench.driver.enable(True) if later else bench.driver.connect()
    assert bench.torques() == [0, 0, 0]
    assert not bench.bus.written(0x83), "no speed, goal or torque was sent"
    bench.close()


# ---- faults on the wire -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [{"mute": True}, {"corrupt": True}, {"cut": 5}, {"cut": 1}, {"answers_as": 9}, {"short_data": True}],
    ids=str,
)
def test_one_bad_servo_costs_neither_the_others_nor_the_stop(bench: Bench, fault: dict[str, Any]) -> None:
    bench.driver.connect()
    bench.driver.enable(True)
    for key, value in fault.items():
        setattr(bench[2], key, value)
    begin = time.monotonic()
    bench.driver.read()
    state = bench.driver.read()
    assert time.monotonic() - begin < 0.6
    assert state.faults["lid"].startswith("does not answer: check its cable")
    np.testing.assert_array_equal(state.position, [2001, np.nan, 2007])
    bench.driver.write(np.array([1.0, 2.0, 3.0]))
    assert bench.goals() == [1, 2002, 3], "who is silent gets no goal that could make it jump later"
    report = bench.driver.estop()
    assert (report.state, report.actuators) == (StopState.NOT_OFF, ("lid",))
    assert bench.torques() == [0, 0, 0], "it heard, we cannot know"
    for key in fault:
        setattr(bench[2], key, {"cut": None, "answers_as": None}.get(key, False))
    assert bench.driver.estop().state is StopState.STOPPED


def test_a_servo_that_comes_back_is_taken_in_where_it_stands(bench: Bench) -> None:
    bench.driver.connect()
    bench.driver.enable(True)
    bench[2].absent = True
    for _ in range(3):
        bench.driver.read()
    bench[2].absent = False
    bench[2].power_on()
    bench[2].position = 1234  # somebody turned it
    assert bench.driver.read().strays == ("lid",)
    bench.driver.write(np.array([1.0, 2.0, 3.0]))
    assert bench.torques()[1] == 0
    assert bench[2].position == 1234
    bench.driver.enable(True)
    assert bench.torques() == [1, 1, 1]
    assert bench.goals() == [1, 1234, 3], "the others are left alone"
    assert bench.driver.read().strays == ()


def test_torque_that_went_off_by_itself_is_told(bench: Bench) -> None:
    bench.driver.connect()
    bench.driver.enable(True)
    bench[7].table[bench[7].TORQUE] = 0
    faults = [bench.driver.read().faults for _ in range(2)]
    assert any("torque went off by itself" in found.get("jaw", "") for found in faults)
    bench.driver.write(np.array([1.0, 2.0, 3.0]))
    assert bench.goals() == [1, 2, 2007]


def test_a_servo_missing_at_the_start_is_a_fault_and_an_empty_bus_an_error(bench: Bench) -> None:
    bench[1].absent = True
    bench.driver.connect()
    assert bench.driver.read().faults == {"brow": "does not answer: check its cable, id, power and baud rate"}
    for servo in bench.bus.servos.values():
        servo.absent = True
    with pytest.raises(DriverError, match="no servo answers: check power, cable, ids and baud rate"):
        bench.driver.connect()


@pytest.mark.parametrize("noise", [b"\x00\xff\x13\xfd", b"\xff\xff", b"\xff\xff\xfd\x00\x01"])
def test_noise_before_answers_is_skipped(bench: Bench, noise: bytes) -> None:
    bench.bus.garbage = noise
    bench.driver.connect()
    np.testing.assert_array_equal(bench.driver.read().position, [2001, 2002, 2007])


def test_an_adapter_that_echoes_is_not_taken_for_a_servo(bench: Bench) -> None:
    bench.bus.echo = True
    bench.driver.connect()
    np.testing.assert_array_equal(bench.driver.read().position, [2001, 2002, 2007])
    bench.driver.enable(True)
    assert bench.driver.estop().state is StopState.STOPPED
    for servo in bench.bus.servos.values():
        servo.mute = True
    assert bench.driver.estop().actuators == NAMES, "our own packet is no answer"


BABBLE = {"headers": b"\xff\xff" * 40, "noise": b"\x55" * 200, "all": bytes(range(256))}


@pytest.mark.parametrize("babble", list(BABBLE.values()), ids=list(BABBLE))
def test_a_line_that_babbles_holds_nobody_up(bench: Bench, babble: bytes) -> None:
    bench.driver.connect()
    bench.driver.enable(True)
    for servo in bench.bus.servos.values():
        servo.mute = True
    bench.bus.babble = babble
    begin = time.monotonic()
    with pytest.raises(DriverError, match="no servo answers"):
        bench.driver.read()
    report = bench.driver.estop(0.1)
    assert time.monotonic() - begin < 1.5
    assert (report.state, report.actuators) == (StopState.NOT_OFF, NAMES)
    assert bench.torques() == [0, 0, 0], "the packets went out all the same"


def test_overload_flags_become_faults(bench: Bench) -> None:
    bench.driver.connect()
    bench[7].error = 0x20 | 0x04 if bench.kind == "feetech" else 0x80
    if bench.kind == "dynamixel":
        bench[7].table[70] = 0x24
    assert bench.driver.read().faults == {"jaw": "overheating, overload"}


def test_a_half_written_packet_is_an_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.driver.connect()
    port = bench.driver._chain.line._serial  # type: ignore[union-attr]
    whole = port.write
    monkeypatch.setattr(port, "write", lambda packet: whole(packet[:4]))
    with pytest.raises(DriverError, match="not sent whole"):
        bench.driver.write(np.array([1.0, 2.0, 3.0]))
    monkeypatch.undo()
    bench.driver.write(np.array([4.0, 5.0, 6.0]))
    bench.driver.write(np.array([4.0, 5.0, 6.0]))  # the half packet swallows at most the one behind it
    assert bench.goals() == [4, 5, 6]


@pytest.mark.parametrize("bad", [np.array([1.0, np.nan, 2.0]), np.zeros(2)])
def test_bad_positions_never_reach_the_wire(bench: Bench, bad: np.ndarray) -> None:
    bench.driver.connect()
    bench.settle()
    before = len(bench.bus.packets)
    with pytest.raises(DriverError, match="finite"):
        bench.driver.write(bad)
    bench.settle()
    assert len(bench.bus.packets) == before


# ---- stops --------------------------------------------------------------------------------------------------------


def test_estop_reads_back_and_no_goal_leaves_after_it(bench: Bench) -> None:
    bench.driver.connect()
    bench.driver.enable(True)
    bench.settle()
    bench.bus.packets.clear()
    assert bench.driver.estop().state is StopState.STOPPED
    bench.driver.write(np.array([1.0, 2.0, 3.0]))  # a goal switches the torque of some servos on
    assert bench.torques() == [0, 0, 0]
    assert [p[:2] for p in bench.bus.packets] == [(0xFE, 0x03), (0xFE, 0x83), (0xFE, 0x82)]


def test_a_silent_servo_costs_two_waits_when_it_falls_silent_and_one_afterwards(bench: Bench) -> None:
    bench.driver.connect()
    bench.driver.enable(True)
    bench.settle()
    middle = 2
    bench[middle].mute = True
    bench.bus.packets.clear()
    assert np.isnan(bench.driver.torque()).sum() == 1, "nobody else is lost behind it"
    assert [p[:2] for p in bench.bus.packets] == [(0xFE, 0x82), (0xFE, 0x82), (middle, 0x02)]
    assert bench.driver.estop().state is StopState.NOT_OFF
    bench.bus.packets.clear()
    assert bench.driver.estop().state is StopState.NOT_OFF
    assert [p[:2] for p in bench.bus.packets] == [(0xFE, 0x03), (0xFE, 0x83), (0xFE, 0x82), (middle, 0x02)]


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_lost_packets_are_repeated(bench: Bench, lost: int) -> None:
    bench.driver.connect()
    bench.driver.enable(True)
    bench.settle()
    bench.bus.drop = lost
    assert bench.driver.estop().state is StopState.STOPPED
    assert bench.torques() == [0, 0, 0]


def test_torque_that_reads_on_is_named(bench: Bench) -> None:
    bench.driver.connect()
    bench.driver.enable(True)
    bench[7].stuck = True
    report = bench.driver.estop(0.05)
    assert str(report) == "NOT off: cut the power (jaw): torque reads on"
    assert not report.success
    assert bench.torques() == [0, 0, 1]


def test_estop_opens_the_port_itself(bench: Bench) -> None:
    bench.driver.connect()
    bench.driver.enable(True)
    bench.driver.close()
    assert bench.torques() == [1, 1, 1]
    assert bench.driver.estop().state is StopState.STOPPED
    assert bench.torques() == [0, 0, 0]


def test_estop_says_it_when_another_program_has_the_port(bench: Bench) -> None:
    bench.driver.connect()
    bench.driver.enable(True)
    second = type(bench.driver)(NAMES, IDS, ["ticks"] * 3, bench.bus.path)
    with pytest.raises(DriverError, match="the port is in use"):
        second.connect()
    report = second.estop()
    assert (report.state, report.actuators) == (StopState.NOT_OFF, NAMES)
    assert "in use" in report.detail
    assert bench.torques() == [1, 1, 1]


def test_an_interrupted_read_gives_up_at_once(bench: Bench) -> None:
    bench.driver.close()
    driver = type(bench.driver)(NAMES, IDS, ["ticks"] * 3, bench.bus.path, timeout=1.0)
    driver.connect()
    for servo in bench.bus.servos.values():
        servo.mute = True
    threading.Timer(0.05, driver.interrupt).start()
    begin = time.monotonic()
    with pytest.raises(Interrupted):
        driver.read()
    assert time.monotonic() - begin < 0.5
    driver.close()


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
    report = bench.driver.estop()
    assert (report.state, report.actuators) == (StopState.NOT_OFF, NAMES)
    assert "cannot open" in report.detail


def test_the_first_packet_of_a_connection_is_torque_off_unless_it_is_kept(bench: Bench) -> None:
    bench.driver.connect()
    bench.driver.enable(True)
    bench.settle()
    bench.bus.packets.clear()
    bench.driver.connect(keep_torque=True)
    assert bench.torques() == [1, 1, 1]
    assert not bench.bus.written(0x03)
    bench.bus.packets.clear()
    bench.driver.connect()
    assert bench.torques() == [0, 0, 0]
    assert bench.bus.packets[0][:2] == (0xFE, 0x03)


# ---- Dynamixel's bus watchdog -------------------------------------------------------------------------------------


def test_the_watchdog_is_armed_after_torque_and_a_frozen_host_stops_the_servos() -> None:
    bench = Bench("dynamixel", watchdog=0.1)
    bench.driver.connect()
    bench.driver.enable(True)
    bench.settle()
    assert [bench[i].table[98] for i in IDS] == [5, 5, 5], "20 ms a count"
    assert bench.driver.read().faults == {}
    time.sleep(0.15)  # the host freezes
    bench.driver.write(np.array([1.0, 2.0, 3.0]))
    assert bench.goals() == [2001, 2002, 2007], "goals are locked"
    seen = [bench.driver.read() for _ in range(2)]
    assert any("bus watchdog stopped it" in s.faults.get("lid", "") for s in seen)
    assert set(seen[-1].strays) == set(NAMES)
    bench.driver.enable(True)
    bench.driver.write(np.array([1.0, 2.0, 3.0]))
    assert bench.goals() == [1, 2, 3]
    bench.close()


def test_old_firmware_without_a_watchdog_is_told() -> None:
    class Old(XServo):
        FIRMWARE = 37

    bench = Bench("dynamixel", Old)
    bench.driver.connect()
    bench.driver.enable(True)
    assert "no bus watchdog (firmware before 38)" in bench.driver.read().faults["brow"]
    bench.close()


def test_feetech_never_writes_where_dynamixel_has_its_watchdog() -> None:
    bench = Bench("feetech", watchdog=0.1)
    bench.driver.connect()
    bench.driver.enable(True)
    bench.settle()
    assert {p[2][0] for p in bench.bus.written(0x83)} == {40, 42, 46}
    bench.close()


# ---- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": ["us"] * 3}, "expected unit ticks or rad, got 'us'"),
        ({"baud": 300}, "baud: expected a number from 9600"),
        ({"timeout": 0}, "timeout: expected"),
        ({"watchdog": 9.0}, "watchdog: expected a number from 0.04 to 2.5"),
        ({"port": ""}, "port: expected a serial device"),
        ({"ids": (1, 2, 253)}, "id: expected a number from 0 to 252"),
    ],
)
@pytest.mark.parametrize("kind", list(KINDS))
def test_settings_that_a_bus_cannot_have(kind: str, options: dict[str, Any], message: str) -> None:
    settings = {"ids": IDS, "units": ["ticks"] * 3, "port": "/dev/null", **options}
    with pytest.raises(ConfigError, match=message):
        KINDS[kind][1](NAMES, **settings)
