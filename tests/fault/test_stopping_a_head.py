"""A whole head on a bus made from the maker's map: stops, outages, servos that go and come, drivers that break."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_face.bench.emulated.servo_bus import DynamixelBus, FakeBus, FeetechBus
from emo_face.core.paths import share_dir
from emo_face.face.control.controller import FaceController
from emo_face.face.drivers import StopReport, StopState, open_driver
from emo_face.face.drivers.mock import MockDriver
from emo_face.face.drivers.wire import Line
from emo_face.face.motion.motion import FaceMotion
from emo_face.face.rig import load_rig
from emo_face.face.safety import GateState

pytest.importorskip("serial", reason="needs pyserial: scripts/setup.sh feetech")

DT = 0.01
STS_TORQUE, X_TORQUE = 40, 64  # registers of the makers


class Head:
    """The 12-servo head on a Feetech bus, or the 25-channel one on Dynamixel; ``run`` lets ticks pass."""

    def __init__(self, folder: Path, kind: str = "feetech", estop: str = "torque_off", **options: Any) -> None:
        name = "head_12servo" if kind == "feetech" else "head_25channel"
        text = (share_dir() / "config" / "rigs" / f"{name}.yaml").read_text(encoding="utf-8")
        text = text.replace("estop: hold", f"estop: {estop}").replace("estop: torque_off", f"estop: {estop}")
        (folder / "rig.yaml").write_text(text, encoding="utf-8")
        self.rig = load_rig(folder / "rig.yaml")
        bus = FeetechBus if kind == "feetech" else DynamixelBus
        self.bus: FakeBus = bus(self.rig.ids, link=str(folder / "tty"))
        for servo in self.bus.servos.values():
            servo.position = 2048
        self.driver = open_driver(self.rig, DT, port=str(folder / "tty"), timeout=0.02, **options)
        self.make()
        self.now = 0.0

    def make(self, **options: Any) -> None:
        """A controller as a new process makes it."""
        self.control = FaceController(FaceMotion(DT, 1), self.rig, self.driver, DT, 0.05, **options)

    def run(self, ticks: int = 20) -> None:
        for _ in range(ticks):
            self.now += DT
            self.control.step(self.now)

    @contextlib.contextmanager
    def looping(self) -> Iterator[None]:
        """The loop runs in a thread of its own meanwhile."""
        stop = threading.Event()

        def loop() -> None:
            while not stop.wait(DT):
                self.run(1)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def until(self, done: Callable[[], Any], seconds: float = 5.0) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, self.control.stop_report
            self.run(1)
            time.sleep(0.002)

    @property
    def on(self) -> int:
        time.sleep(0.03)
        return sum(self.bus.torques())

    def close(self) -> None:
        self.control.close()
        self.bus.close()


@pytest.fixture(params=["feetech", "dynamixel"])
def head(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Head]:
    made = Head(tmp_path, request.param)
    made.run(5)
    assert made.on == len(made.rig.names)
    yield made
    made.close()


def test_a_stop_on_a_healthy_bus_is_verified_and_quick(head: Head) -> None:
    begin = time.monotonic()
    report = head.control.estop()
    assert time.monotonic() - begin < 0.5
    assert (report, head.on) == (StopReport(StopState.STOPPED), 0)
    head.run(30)
    assert head.on == 0


def test_a_stop_while_unplugged_says_so_and_happens_when_the_bus_is_back(head: Head) -> None:
    head.bus.close()
    head.run(3)
    begin = time.monotonic()
    report = head.control.estop()
    assert time.monotonic() - begin < 0.5
    assert (report.state, report.actuators) == (StopState.NOT_OFF, head.rig.names)
    assert sum(head.bus.torques()) == len(head.rig.names)
    head.bus.plug()
    head.until(lambda: head.control.stop_report == StopReport(StopState.STOPPED))
    assert head.on == 0
    assert head.control.clear_estop()
    head.run(40)
    assert head.on == 0, "a release switches nothing on"
    assert head.control.enable(True)
    head.until(lambda: sum(head.bus.torques()) == len(head.rig.names))


def test_the_stop_opens_the_port_by_itself_while_no_loop_runs(head: Head) -> None:
    head.bus.close()
    head.run(3)
    head.control.estop()
    head.bus.plug()
    end = time.monotonic() + 3
    while sum(head.bus.torques()) and time.monotonic() < end:
        time.sleep(0.01)  # nobody calls step
    assert head.on == 0


def test_a_disable_while_unplugged_happens_when_the_bus_is_back(head: Head) -> None:
    head.bus.close()
    head.run(3)
    assert head.control.enable(False)
    head.bus.plug()
    head.bus.packets.clear()
    head.until(lambda: head.control.health.connected)
    assert head.on == 0
    assert head.bus.packets[0][1] == 0x03, "first of all"


def test_one_silent_servo_of_many_costs_neither_the_bus_nor_the_stop(head: Head) -> None:
    name, servo = head.rig.names[4], head.bus.servos[head.rig.ids[4]]
    servo.mute = True
    head.until(lambda: name in head.control.health.faults)
    assert head.control.health.connected
    assert head.control.output.torque
    report = head.control.estop()
    assert (report.state, report.actuators) == (StopState.NOT_OFF, (name,))
    assert head.on == 0
    servo.mute = False
    head.until(lambda: head.control.stop_report == StopReport(StopState.STOPPED))


def test_a_servo_that_comes_back_does_not_jump(head: Head) -> None:
    i = 4
    name, servo = head.rig.names[i], head.bus.servos[head.rig.ids[i]]
    servo.absent = True
    head.until(lambda: name in head.control.health.faults)
    servo.power_on()
    servo.position = start = 2048 + 150
    servo.absent = False
    path, write = [start], servo.write

    def noted(*packet: Any) -> None:  # after each packet: how often this thread looks does not matter
        write(*packet)
        path.append(servo.position)

    servo.write = noted  # type: ignore[method-assign]
    head.until(lambda: servo.torque and abs(servo.position - 2048) < 30)
    scale = 1.0 if head.rig.units[i] == "ticks" else 4096 / (2 * np.pi)
    fastest = float(head.rig.limits.velocity[i]) * scale * DT
    assert np.abs(np.diff(path)).max() <= fastest + 2


def test_a_servo_that_comes_back_while_disabled_is_switched_off(head: Head) -> None:
    servo = head.bus.servos[head.rig.ids[2]]
    servo.absent = True  # its cable is out: it keeps its torque and hears nothing
    head.control.enable(False)
    head.run(10)
    assert head.on == 1
    servo.absent = False
    head.until(lambda: not servo.torque)


def test_a_slow_bus_does_not_hold_the_answer_up(head: Head) -> None:
    head.bus.delay = 0.018
    loop = threading.Thread(target=head.run, args=(30,))
    loop.start()
    begin = time.monotonic()
    head.control.estop()
    assert time.monotonic() - begin < 0.5
    head.bus.delay = 0.0
    loop.join()
    head.until(lambda: head.control.stop_report == StopReport(StopState.STOPPED))
    assert head.on == 0


def test_a_babbling_bus_does_not_hold_the_answer_up(head: Head) -> None:
    for servo in head.bus.servos.values():
        servo.mute = True
    head.bus.babble = b"\xff\xff\x05\x55" * 30
    loop = threading.Thread(target=head.run, args=(5,))
    loop.start()
    begin = time.monotonic()
    report = head.control.estop()
    assert time.monotonic() - begin < 0.5
    assert not report.success
    loop.join()
    head.until(lambda: not sum(head.bus.torques()))


def test_a_process_that_starts_with_a_latched_stop_moves_nothing(head: Head) -> None:
    head.driver.close()  # killed; the servos go on holding
    head.make(stopped=True)
    head.run(10)
    assert head.on == 0
    assert not head.control.enable(True)
    head.until(lambda: head.control.stop_report == StopReport(StopState.STOPPED))
    assert head.control.clear_estop()
    head.run(10)
    assert head.on == 0
    assert head.control.enable(True)
    head.run(10)
    assert head.on == len(head.rig.names)


def test_a_servo_that_switches_itself_on_again_is_switched_off_again(head: Head) -> None:
    assert head.control.estop().success
    for _ in range(3):
        head.bus.servos[head.rig.ids[3]].table[STS_TORQUE if isinstance(head.bus, FeetechBus) else X_TORQUE] = 1
        assert sum(head.bus.torques()) == 1
        head.until(lambda: not sum(head.bus.torques()))
    head.until(lambda: head.control.stop_report == StopReport(StopState.STOPPED))


def test_a_port_that_goes_between_opening_and_the_first_packet(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    head.driver.close()
    gone = [OSError(5, "Input/output error")] * 4
    send = Line.send

    def vanishing(line: Line, *args: Any) -> None:
        if gone:
            line._serial.close()
            gone.pop()
        send(line, *args)

    monkeypatch.setattr(Line, "send", vanishing)
    report = head.control.estop()
    assert report.state is StopState.NOT_OFF
    assert "is it unplugged?" in report.detail
    head.until(lambda: head.control.stop_report == StopReport(StopState.STOPPED))
    assert head.on == 0


def test_a_press_does_not_interrupt_the_stop_that_is_under_way(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = head.driver._chain.ask

    def pressed_meanwhile(*args: Any) -> Any:
        head.driver.interrupt()
        return ask(*args)

    monkeypatch.setattr(head.driver._chain, "ask", pressed_meanwhile)
    assert "interrupted" not in head.driver.estop().detail
    assert head.on == 0


def test_fifty_presses_at_once_are_all_answered_and_none_is_lied_to(head: Head) -> None:
    answers: list[tuple[StopReport, int]] = []

    def press() -> None:
        report = head.control.estop(30.0)
        answers.append((report, sum(head.bus.torques())))

    with head.looping():
        presses = [threading.Thread(target=press) for _ in range(50)]
        for one in presses:
            one.start()
        for one in presses:
            one.join()
    assert len(answers) == 50
    assert not [report for report, on in answers if report.success and on]
    head.until(lambda: head.control.stop_report == StopReport(StopState.STOPPED))
    assert head.on == 0


def test_a_port_that_is_not_there_is_not_asked_in_a_circle(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    head.bus.close()
    opened: list[int] = []
    head.driver.close()
    monkeypatch.setattr("emo_face.face.drivers.serial_bus.Line", lambda *_: opened.append(1) or Line(*_))
    assert head.driver.estop(patience=30.0).state is StopState.NOT_OFF
    assert len(opened) == 2


def test_a_release_before_the_stop_came_through_leaves_a_bus_that_works(head: Head) -> None:
    head.control._estop, head.control._wanted = True, False  # pressed; its attempt waits for the bus
    head.driver.interrupt()
    assert head.control.clear_estop()
    assert head.on == 0
    assert head.control.enable(True)
    head.until(lambda: sum(head.bus.torques()) == len(head.rig.names))


def test_a_release_of_nothing_changes_nothing(head: Head) -> None:
    assert not head.control.clear_estop()
    head.run(10)
    assert head.on == len(head.rig.names)
    assert head.control.gate.state is not GateState.DISABLED


# ---- rigs that hold ------------------------------------------------------------------------------------------------


@pytest.fixture
def holding(tmp_path: Path) -> Iterator[Head]:
    made = Head(tmp_path, estop="hold")
    made.run(5)
    yield made
    made.close()


def test_a_rig_that_holds_says_holding_once_it_stands(holding: Head) -> None:
    with holding.looping():
        report = holding.control.estop()
    assert (str(report), report.success) == ("holding", True)
    holding.run(20)
    assert holding.on == 12
    held = [servo.goal for servo in holding.bus.servos.values()]
    assert holding.control.clear_estop()
    holding.run(20)
    assert holding.on == 12, "a release lets nothing fall"
    assert [servo.goal for servo in holding.bus.servos.values()] == held
    holding.control.enable(False)
    assert holding.on == 0


def test_a_hold_with_a_servo_that_does_not_answer_is_no_success(holding: Head) -> None:
    holding.bus.servos[12].mute = True
    with holding.looping():
        report = holding.control.estop()
    assert (report.state, report.actuators) == (StopState.NOT_OFF, ("jaw",))


def test_a_stop_while_disabled_switches_nothing_on(holding: Head) -> None:
    holding.control.enable(False)
    holding.run(5)
    assert holding.control.estop() == StopReport(StopState.STOPPED)
    holding.bus.packets.clear()
    holding.run(20)
    assert holding.on == 0
    assert not holding.bus.written(0x83), "not a goal leaves"


def test_a_bus_that_is_lost_during_a_hold_gets_no_goals_when_it_is_back(holding: Head) -> None:
    with holding.looping():
        assert holding.control.estop().success
    holding.bus.close()
    holding.run(20)
    for servo in holding.bus.servos.values():
        servo.position = 2100  # pushed
    holding.bus.plug()
    holding.bus.packets.clear()
    holding.until(lambda: holding.control.health.connected)
    holding.run(20)
    assert holding.on == 12
    assert not holding.bus.written(0x83)
    assert not holding.bus.written(0x03)


# ---- drivers that break --------------------------------------------------------------------------------------------


class Broken(MockDriver):
    """A driver whose methods raise what nobody expects."""

    def __init__(self, *args: Any, broken: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.broken = broken

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "__dict__").get("broken"):
            raise ZeroDivisionError("a bug in the driver")
        return super().__getattribute__(name)


@pytest.mark.parametrize("method", ["connect", "enable", "write", "read", "estop", "torque", "close", "interrupt"])
def test_no_exception_of_a_driver_escapes(method: str) -> None:
    rig = load_rig("minimal_4servo")
    driver = Broken(rig.names, start=rig.limits.neutral)
    control = FaceController(FaceMotion(DT, 1), rig, driver, DT)
    control.step(0.0)
    driver.broken = method
    for k in range(1, 80):
        control.step(DT * k)
    report = control.estop()
    assert report.success is (method != "estop")
    if method == "estop":
        assert (
            str(report)
            == "NOT off: cut the power (brows, lids, mouth_corners, jaw): ZeroDivisionError: a bug in the driver"
        )
    control.clear_estop()
    control.enable(True)
    control.step(1.0)
    control.enable(False)
    control.close()


class Hung(MockDriver):
    """A bus that never comes back from a call, as an I2C line that is held low."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Event()

    def write(self, position: np.ndarray) -> None:
        if not self.gate.is_set():
            self.inside.set()
        self.gate.wait(5)
        super().write(position)


def test_a_driver_that_hangs_does_not_hold_the_answer_up() -> None:
    rig = load_rig("minimal_4servo")
    driver = Hung(rig.names, start=rig.limits.neutral)
    control = FaceController(FaceMotion(DT, 1), rig, driver, DT)
    control.step(0.0)
    driver.gate.clear()
    loop = threading.Thread(target=control.step, args=(DT,))
    loop.start()
    assert driver.inside.wait(5)
    begin = time.monotonic()
    report = control.estop()
    assert time.monotonic() - begin < 0.5
    assert (report.state, report.actuators) == (StopState.NOT_OFF, rig.names)
    driver.gate.set()
    loop.join()
    end = time.monotonic() + 3
    while control.stop_report != StopReport(StopState.STOPPED):
        assert time.monotonic() < end
        time.sleep(0.005)
    assert not driver.torque_on
