"""The face driver's emergency stop over ROS and pages: what it answers, what it remembers, who may release it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
pytest.importorskip("serial", reason="needs pyserial: scripts/setup.sh feetech")
from facing import Face
from std_srvs.srv import SetBool

from emo_face.bench.emulated.servo_bus import FeetechBus
from emo_face.core.paths import share_dir
from emo_face.face.control.latch import Latch, state_file
from emo_face.nodes import face_driver
from emo_face.nodes.face_driver import FaceDriverNode

ESTOP, ENABLE = "/face_driver/estop", "/face_driver/enable"


class Bus:
    """A 12-servo Feetech head: its bus and its rig file."""

    def __init__(self, folder: Path, estop: str = "torque_off") -> None:
        rig = yaml.safe_load((share_dir() / "config" / "rigs" / "head_12servo.yaml").read_text(encoding="utf-8"))
        rig["estop"] = estop
        rig["driver"] = {"kind": "feetech", "options": {"port": str(folder / "tty"), "timeout": 0.05}}
        self.rig = folder / "rig.yaml"
        self.rig.write_text(yaml.safe_dump(rig), encoding="utf-8")
        self.line = FeetechBus([a["id"] for a in rig["actuators"]], link=str(folder / "tty"))
        for servo in self.line.servos.values():
            servo.position = 2048

    @property
    def on(self) -> int:
        return sum(self.line.torques())


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    made = Bus(tmp_path)
    yield made
    made.line.close()


def start(graph: Any, bus: Bus, **params: Any) -> Face:
    return Face(graph, rig=str(bus.rig), **params)


def crash(graph: Any, face: Face) -> None:
    """End a driver as a kill does: nothing is switched off, nothing is noted but what is on its way to the disk."""
    latch = face.node.face.latch
    graph.until(lambda: Latch(latch.path).memory == latch.memory)
    face.node.face.loop.stop()
    face.node.face.control.driver.close()
    face.node.face.control._stopper.release()
    face.node.face = None
    graph.remove(face.node)


def test_the_answer_is_what_the_motors_read_back(graph: Any, bus: Bus) -> None:
    face = start(graph, bus)
    graph.until(lambda: bus.on == 12)
    bus.line.servos[12].mute = True
    begin = time.monotonic()
    answer = graph.call(SetBool, ESTOP, data=True)
    assert time.monotonic() - begin < 1.0
    assert (answer.success, answer.message) == (False, "NOT off: cut the power (jaw): no answer")
    assert bus.on == 0
    face.complaint("emergency stop: NOT off: cut the power (jaw)")
    bus.line.servos[12].mute = False
    face.complaint("emergency stop: stopped")
    assert face.values()["estop"] == "stopped"
    answer = graph.call(SetBool, ESTOP, data=True)
    assert (answer.success, answer.message) == (True, "stopped")
    refused = graph.call(SetBool, ENABLE, data=True)
    assert not refused.success
    assert "emergency stop is latched: release it first" in refused.message
    assert face.node.health.counts().get("errors", 0) == 0
    assert graph.call(SetBool, ESTOP, data=False).message == "released; nothing moves until ~/enable"
    graph.until(lambda: face.values()["estop"] == "")
    assert bus.on == 0
    assert graph.call(SetBool, ENABLE, data=True).success
    graph.until(lambda: bus.on == 12)


def test_releasing_what_is_not_stopped_changes_nothing(graph: Any, bus: Bus) -> None:
    start(graph, bus)
    graph.until(lambda: bus.on == 12)
    answer = graph.call(SetBool, ESTOP, data=False)
    assert (answer.success, answer.message) == (True, "nothing was stopped")
    graph.until(lambda: bus.on == 12)


def test_a_stop_outlives_the_process(graph: Any, bus: Bus) -> None:
    first = start(graph, bus)
    graph.until(lambda: bus.on == 12)
    assert graph.call(SetBool, ESTOP, data=True).success
    crash(graph, first)
    second = start(graph, bus)
    second.complaint("emergency stop: stopped")
    assert not graph.call(SetBool, ENABLE, data=True).success
    assert bus.on == 0
    assert second.node.face.player.stopped
    assert graph.call(SetBool, ESTOP, data=False).success
    assert bus.on == 0
    assert graph.call(SetBool, ENABLE, data=True).success
    graph.until(lambda: bus.on == 12)


def test_a_kill_between_the_memory_of_a_stop_and_its_first_packet(graph: Any, bus: Bus) -> None:
    """The memory says stopped, the servos still hold: the next driver finishes it, whatever it may resume."""
    Latch(state_file("/face_driver", bus.rig)).note(stopped=True, driving=True)
    for servo in bus.line.servos.values():
        servo.table[40] = 1
    face = start(graph, bus, resume_after_crash=True)
    face.complaint("emergency stop: stopped")
    assert bus.on == 0
    assert not graph.call(SetBool, ENABLE, data=True).success


def test_motors_wait_after_a_crash_unless_they_are_told_to_resume(graph: Any, bus: Bus) -> None:
    first = start(graph, bus)
    graph.until(lambda: bus.on == 12)
    crash(graph, first)
    assert bus.on == 12
    second = start(graph, bus)
    second.complaint("motors stay off until ~/enable: the driver before this one ended")
    graph.until(lambda: bus.on == 0)
    assert graph.call(SetBool, ENABLE, data=True).success
    graph.until(lambda: bus.on == 12)
    graph.until(lambda: "stay off" not in second.status[-1].status[0].message)
    crash(graph, second)
    start(graph, bus, resume_after_crash=True)
    graph.until(lambda: bus.on == 12)


def test_a_clean_end_is_no_crash(graph: Any, bus: Bus) -> None:
    face = start(graph, bus)
    graph.until(lambda: bus.on == 12)
    face.node.trigger_deactivate()
    graph.until(lambda: bus.on == 0)
    face.node.trigger_cleanup()
    graph.remove(face.node)
    start(graph, bus)
    graph.until(lambda: bus.on == 12)


def test_the_mock_comes_back_by_itself(graph: Any, bus: Bus) -> None:
    first = start(graph, bus, rig_driver="mock")
    graph.until(lambda: first.node.face.control.output.torque)
    crash(graph, first)
    second = start(graph, bus, rig_driver="mock")
    graph.until(lambda: second.node.face.control.output.torque)


def test_a_stop_works_before_configure_and_after_cleanup(graph: Any, bus: Bus) -> None:
    for servo in bus.line.servos.values():
        servo.table[40] = 1  # left on by somebody
    node = graph.start(FaceDriverNode, screen__enabled=False, rig=str(bus.rig))
    answer = graph.call(SetBool, ESTOP, data=True)
    assert (answer.success, answer.message, bus.on) == (True, "stopped", 0)
    graph.up(node)
    graph.until(lambda: node.face.control.health.connected)
    assert bus.on == 0, "and it is latched"
    assert graph.call(SetBool, ESTOP, data=False).success
    node.trigger_deactivate()
    node.trigger_cleanup()
    bus.line.close()
    answer = graph.call(SetBool, ESTOP, data=True)
    assert not answer.success
    assert "NOT off: cut the power (brow_left, " in answer.message
    bus.line.plug()


def test_a_release_while_the_node_is_configured_is_of_the_face_that_took_over(graph: Any, bus: Bus) -> None:
    node = graph.start(FaceDriverNode, screen__enabled=False, rig=str(bus.rig))
    assert graph.call(SetBool, ESTOP, data=True).success
    control, latch = node._bare
    clear = control.clear_estop

    def configured_meanwhile() -> bool:
        cleared = bool(clear())
        node.trigger_configure()
        return cleared

    control.clear_estop = configured_meanwhile
    assert graph.call(SetBool, ESTOP, data=False).success
    assert node.face is not None
    assert node._bare is None
    assert not node.face.player.stopped
    graph.until(lambda: not Latch(latch.path).memory.stopped)
    assert bus.on == 0


def test_a_stop_in_the_middle_of_a_release_wins(graph: Any, bus: Bus) -> None:
    face = start(graph, bus)
    graph.until(lambda: bus.on == 12)
    assert graph.call(SetBool, ESTOP, data=True).success
    control = face.node.face.control
    clear = control.clear_estop

    def pressed_meanwhile() -> bool:
        control.clear_estop = clear
        cleared = bool(clear())
        assert face.node._on_command({"type": "estop"})["success"], "on a page"
        return cleared

    control.clear_estop = pressed_meanwhile
    answer = graph.call(SetBool, ESTOP, data=False)
    assert (answer.success, answer.message) == (False, "not released: the stop was pressed again meanwhile")
    assert control.stopped
    assert face.node.face.player.stopped
    assert not graph.call(SetBool, ENABLE, data=True).success
    crash(graph, face)
    start(graph, bus).complaint("emergency stop: stopped")
    assert bus.on == 0


def test_a_stop_while_the_driver_is_configured_is_not_forgotten(
    graph: Any, bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where its memory cannot be written."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    for servo in bus.line.servos.values():
        servo.table[40] = 1
    node = graph.start(FaceDriverNode, screen__enabled=False, rig=str(bus.rig))
    made = face_driver.ConfiguredFace

    def pressed_meanwhile(*args: Any) -> Any:
        face = made(*args)
        assert node.emergency_stop().success
        return face

    monkeypatch.setattr(face_driver, "ConfiguredFace", pressed_meanwhile)
    graph.up(node)
    graph.until(lambda: node.face.control.health.connected)
    assert str(node.stop_report) == "stopped"
    assert not graph.call(SetBool, ENABLE, data=True).success
    assert bus.on == 0


def test_a_stop_that_is_not_confirmed_goes_on_after_cleanup(graph: Any, bus: Bus) -> None:
    node = start(graph, bus).node
    graph.until(lambda: bus.on == 12)
    bus.line.close()
    assert not graph.call(SetBool, ESTOP, data=True).success
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert "NOT off: cut the power" in str(node.stop_report)
    assert bus.on == 12
    bus.line.plug()
    graph.until(lambda: bus.on == 0 and str(node.stop_report) == "stopped")
    assert node.release_stop() == (True, "released; nothing moves until ~/enable")
    assert node.stop_report is None


def test_a_memory_that_cannot_be_read_keeps_the_motors_off_whatever_is_set(
    graph: Any, bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    place = state_file("/face_driver", bus.rig)
    place.parent.mkdir(parents=True)
    place.write_text("\0" * 60, encoding="utf-8")  # as a power loss leaves files: nobody knows what it said
    start(graph, bus, resume_after_crash=True).complaint("motors stay off until ~/enable: ")
    assert bus.on == 0
    assert graph.call(SetBool, ENABLE, data=True).success
    graph.until(lambda: bus.on == 12)


@pytest.mark.parametrize(
    ("environment", "allowed", "released"),
    [
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, False, True),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, False, False),
        ({}, False, False),
        ({"ROS_LOCALHOST_ONLY": "1"}, False, True),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_STATIC_PEERS": "10.0.0.7"}, False, False),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, True, True),
    ],
)
def test_who_may_release_over_ros(
    graph: Any, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], allowed: bool, released: bool
) -> None:
    face = Face(graph, rig="minimal_4servo", rig_driver="mock", estop__release_by_service=allowed)
    graph.until(lambda: face.node.face.control.output.torque)
    assert graph.call(SetBool, ESTOP, data=True).success, "everybody may stop"
    for name in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    answer = graph.call(SetBool, ESTOP, data=False)
    assert answer.success is released
    assert face.node.face.control.stopped is not released
    if not released:
        assert "estop.release_by_service" in answer.message
        page = face.node._on_command({"type": "clear_estop"})
        assert page == {"type": "stop", "success": True, "message": "released; nothing moves until ~/enable"}
        assert not face.node.face.control.stopped


def test_a_page_may_stop_in_every_state(graph: Any, bus: Bus) -> None:
    face = start(graph, bus)
    graph.until(lambda: bus.on == 12)
    answers: list[Any] = []
    press = threading.Thread(target=lambda: answers.append(face.node._on_command({"type": "estop"})))
    press.start()
    press.join(2.0)
    assert answers == [{"type": "stop", "success": True, "message": "stopped"}]
    assert bus.on == 0
    face.node.trigger_deactivate()
    assert face.node._on_command({"type": "estop"})["message"] == "stopped"
    assert face.node._on_command({"type": "release"}) == "the face driver is not active"
