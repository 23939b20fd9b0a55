"""A face whose bus fails, whose stop is pressed, whose clock jumps: told as stories with an injected clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.paths import share_dir
from emo_face.face.control.controller import FIRST_WAIT, LONGEST_WAIT, FaceController
from emo_face.face.drivers import open_driver
from emo_face.face.drivers.mock import MockDriver
from emo_face.face.motion.motion import FaceMotion
from emo_face.face.rig.rig import Rig, load_rig
from emo_face.face.safety.state import GateState

DT = 0.01
SMILE = np.zeros(52)
SMILE[[ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]] = 0.9
SMILE[ARKIT_INDEX["jawOpen"]] = 0.5


class Story:
    """A face on a mock bus; ``run`` lets seconds pass."""

    def __init__(self, rig_name: str = "minimal_4servo", **options: Any) -> None:
        self.rig: Rig = load_rig(rig_name)
        self.motion = FaceMotion(DT, layers=())
        driver = open_driver(self.rig, DT, "mock", **options)
        assert isinstance(driver, MockDriver)
        self.bus: MockDriver = driver
        self.face = FaceController(self.motion, self.rig, driver, DT)
        self.now, self.sent = 0.0, [driver.target]

    def run(self, seconds: float, smile: bool = False) -> None:
        for _ in range(round(seconds / DT)):
            self.now += DT
            if smile:
                self.motion.set_target(SMILE, self.now, 0.5)
            self.face.step(self.now)
            self.sent.append(self.bus.target)

    @property
    def corners(self) -> float:
        """How far the mouth corners are up, 0 to 1."""
        return float(self.rig.drive(self.bus.target)[self.rig.names.index("mouth_corners")])


@pytest.fixture
def story() -> Iterator[Story]:
    made = Story()
    yield made
    made.face.close()


def test_it_smiles_and_goes_back_to_neutral_without_targets(story: Story) -> None:
    story.run(1.5, smile=True)
    assert story.corners == pytest.approx(0.9, abs=0.02)
    story.run(2.5)
    assert story.corners == pytest.approx(0.0, abs=0.01)
    steps = np.abs(np.diff(np.array(story.sent), axis=0))
    assert (steps <= story.rig.limits.velocity * DT * (1 + 1e-9)).all()


def test_flame_coefficients_move_a_rig_that_names_them_and_ease_out(tmp_path: Path) -> None:
    text = (share_dir() / "config" / "rigs" / "minimal_4servo.yaml").read_text(encoding="utf-8")
    file = tmp_path / "flame.yaml"
    file.write_text(
        text.replace("{channel: mouthSmile, gain: 1.0}", "{channel: flame_007, gain: 0.5}"), encoding="utf-8"
    )
    story, coefficients = Story(str(file)), np.zeros(100)
    coefficients[7] = 1.5
    for _ in range(100):
        story.motion.set_target(np.zeros(52), story.now, 0.5, flame=coefficients)
        story.run(DT)
    assert story.corners == pytest.approx(0.75, abs=0.03)
    assert not story.motion.set_target(np.zeros(52), story.now, 0.5, flame=np.zeros(99))
    assert not story.motion.set_target(np.zeros(52), story.now, 0.5, flame=np.full(100, np.nan))
    story.run(2.5)
    assert story.corners == pytest.approx(0.0, abs=0.01)
    story.face.close()


def test_unplugged_in_motion_then_back(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    story.run(0.3, smile=True)
    moving = story.bus.target
    story.bus.unplugged = True
    story.run(1.0, smile=True)
    assert story.face.output.state is GateState.DISABLED
    assert not story.face.output.torque
    health = story.face.health
    assert not health.connected
    assert "unplugged" in health.error
    assert health.failures <= 4, "it waits longer each time"
    assert sum("unplugged" in r.message for r in caplog.records) == 1, "and complains once"
    pushed = moving + np.array([100.0, 0.0, -50.0, 20.0])
    story.bus.push(pushed)  # somebody moved the face meanwhile
    story.bus.unplugged = False
    first = len(story.sent)
    story.run(2 * FIRST_WAIT * 4, smile=True)
    assert story.face.health.connected
    assert story.face.health.reconnects == 1
    after = np.array(story.sent[first:])
    started = after[np.argmax((after != moving).any(axis=1))]
    np.testing.assert_allclose(started, pushed, atol=1.0, err_msg="starts again from the present position")
    steps = np.abs(np.diff(after[np.argmax((after != moving).any(axis=1)) :], axis=0))
    assert (steps <= story.rig.limits.velocity * DT * (1 + 1e-9)).all(), "and does not jump"
    story.run(1.0, smile=True)
    assert story.corners == pytest.approx(0.9, abs=0.02)


def test_a_killed_driver_restarted_begins_where_the_head_stands(story: Story) -> None:
    story.run(0.4, smile=True)  # in the middle of a smile; then the process is gone, torque still on
    stood = story.bus.read().position
    assert story.corners > 0.2
    story.face = FaceController(FaceMotion(DT, layers=()), story.rig, story.bus, DT)
    before = len(story.sent)
    story.run(3.0)
    sent = np.array(story.sent[before:])
    limits = story.rig.limits
    assert (np.abs(sent[0] - stood) <= limits.velocity * DT).all()
    assert (np.abs(np.diff(sent, axis=0)) <= limits.velocity * DT * (1 + 1e-9)).all()
    assert story.corners == pytest.approx(0.0, abs=0.01), "and eases to neutral, as nobody asks for anything"


def test_a_bus_that_is_never_there_costs_little(story: Story) -> None:
    story.bus.unplugged = True
    story.run(60.0)
    assert 5 <= story.face.health.failures <= 60 / LONGEST_WAIT + 8


def test_estop_in_a_transition_and_the_way_back(story: Story) -> None:
    story.run(0.25, smile=True)
    story.face.estop()
    assert not story.bus.torque_on, "at once, not at the next tick"
    held = story.bus.target
    story.run(0.5, smile=True)
    np.testing.assert_array_equal(story.bus.target, held)
    story.face.enable(True)
    story.run(0.2, smile=True)
    assert not story.bus.torque_on, "enable alone does not release the stop"
    story.face.clear_estop()
    story.run(0.5, smile=True)
    assert not story.bus.torque_on, "nor does releasing it start the motors"
    story.face.enable(True)
    story.run(1.5, smile=True)
    assert story.bus.torque_on
    assert story.corners == pytest.approx(0.9, abs=0.02)


def test_estop_while_the_bus_is_away_survives_the_reconnect(story: Story) -> None:
    story.run(0.2, smile=True)
    story.bus.unplugged = True
    story.run(0.1, smile=True)
    story.face.estop()
    story.bus.unplugged = False
    story.run(2.0, smile=True)
    assert story.face.health.connected
    assert not story.bus.torque_on
    assert story.face.output.state is GateState.ESTOP


def test_estop_hold_brakes_and_keeps_torque() -> None:
    story = Story("head_12servo")
    story.run(0.25, smile=True)
    story.face.estop()
    story.run(1.0, smile=True)
    held = story.bus.target
    story.run(1.0, smile=True)
    assert story.bus.torque_on
    np.testing.assert_array_equal(story.bus.target, held)


def test_disable_and_enable(story: Story) -> None:
    story.run(1.0, smile=True)
    story.face.enable(False)
    assert not story.bus.torque_on
    story.bus.push(story.rig.limits.neutral)
    story.run(0.5, smile=True)
    story.face.enable(True)
    story.run(0.02, smile=True)
    np.testing.assert_allclose(story.bus.target, story.rig.limits.neutral, atol=2.0, err_msg="from where it is now")
    story.run(1.5, smile=True)
    assert story.corners == pytest.approx(0.9, abs=0.02)


def test_a_target_storm_and_a_clock_that_jumps_back(story: Story) -> None:
    story.run(0.5, smile=True)
    for k in range(5000):
        story.motion.set_target(SMILE if k % 2 else np.zeros(52), story.now + k * 1e-6, 1.0)
    story.run(0.5, smile=True)
    story.now = -100.0
    story.run(1.5, smile=True)
    assert story.corners == pytest.approx(0.9, abs=0.02)


def test_a_mock_sticks_where_friction_holds_it() -> None:
    story = Story(friction=20.0)
    story.run(1.0, smile=True)
    error = np.abs(story.bus.target - story.bus.read().position)
    assert error.max() < 20.0
    assert error.max() > 0.5


def test_driver_and_rig_must_agree() -> None:
    rig = load_rig("minimal_4servo")
    with pytest.raises(ValueError, match="driver has actuators"):
        FaceController(FaceMotion(DT), rig, MockDriver(["a", "b"]), DT)
