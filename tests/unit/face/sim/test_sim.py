"""The simulated head: servos with limits and friction, and a face that shows where they are."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.face.drivers import SIMULATED, DriverError, open_driver
from emo_face.face.expressions.facs import default_facs
from emo_face.face.rig.rig import load_rig
from emo_face.face.sim.head import face_joints, model_xml, pose

HAS_MUJOCO = pytest.mark.skipif(find_spec("mujoco") is None, reason="run scripts/setup.sh sim")
RIGS = ("minimal_4servo", "head_12servo", "head_25channel")


def face(**channels: float) -> np.ndarray:
    values = np.zeros(52)
    for name, value in channels.items():
        for full in (name,) if name in ARKIT_INDEX else (f"{name}Left", f"{name}Right"):
            values[ARKIT_INDEX[full]] = value
    return values


def at(values: np.ndarray, name: str) -> float:
    return float(values[[joint.name for joint in face_joints()].index(name)])


def test_parts_go_where_the_face_says() -> None:
    rest = pose(face())
    assert not rest.any()
    smile, angry = pose(face(mouthSmile=1.0)), pose(face(browDown=1.0))
    assert at(smile, "cornerLeft.z") == at(smile, "cornerRight.z") > 0.01
    assert at(smile, "cornerLeft.x") == -at(smile, "cornerRight.x") > 0
    assert at(angry, "browLeft.z") < 0
    assert at(angry, "browLeft.turn") == -at(angry, "browRight.turn")
    assert at(pose(face(eyeBlink=1.0)), "lidLeft.turn") == at(pose(face(eyeBlink=1.0)), "lidRight.turn") > 1.0
    assert at(pose(face(jawOpen=1.0)), "lower_lip.z") < -0.02


@pytest.mark.parametrize("name", RIGS)
def test_a_model_has_a_servo_for_each_actuator(name: str) -> None:
    rig = load_rig(name)
    text = model_xml(rig)
    assert text.count("<position ") == len(rig.names)
    assert len(text) < 40_000


@HAS_MUJOCO
@pytest.mark.parametrize("name", RIGS)
def test_servos_follow_stop_at_their_ends_and_hold_without_torque(name: str) -> None:
    rig = load_rig(name)
    driver = open_driver(rig, 0.01, "sim")
    assert "sim" in SIMULATED
    with pytest.raises(DriverError, match="not connected"):
        driver.write(rig.limits.neutral)
    driver.connect()
    driver.enable(True)
    np.testing.assert_allclose(driver.read().position, rig.limits.neutral, atol=1e-6)
    way = rig.limits.upper - rig.limits.lower
    driver.write(rig.limits.upper + way)
    early = driver.read()
    assert (early.position < rig.limits.upper - 0.3 * way * (rig.limits.upper - rig.limits.neutral > 0.4 * way)).all()
    assert np.abs(early.load).max() > 0.2, "a servo that is far from its goal works"
    for _ in range(200):
        driver.write(rig.limits.upper)
    np.testing.assert_allclose(driver.read().position, rig.limits.upper, atol=0.02 * way.max())
    assert driver.estop().success
    assert not driver.torque().any()
    held = driver.read().position
    for _ in range(50):
        driver.write(rig.limits.lower)
    np.testing.assert_allclose(driver.read().position, held, atol=0.02 * way.max())


@HAS_MUJOCO
def test_a_smile_is_seen() -> None:
    from emo_face.core.errors import UserError
    from emo_face.face.sim.picture import SimHead

    try:
        head = SimHead(load_rig("head_12servo"), (160, 180))
    except UserError as error:
        pytest.skip(str(error))
    with head:
        rest = head.draw()
        assert rest.shape == (180, 160, 3)
        assert rest.std() > 20, "an empty picture"
        head.advance(default_facs().arkit({"Happy": 1.0}, 1.0), 1.0)
        smile = head.draw()
        changed = np.abs(smile.astype(int) - rest).max(axis=2) > 40
        assert changed[110:].mean() > 0.01, "the mouth stands still"
        assert changed[:60].mean() < 0.02, "the forehead moved"
        head.advance(np.zeros(52), 2.0)
        assert (np.abs(head.draw().astype(int) - rest).max(axis=2) > 40).mean() < 0.01
