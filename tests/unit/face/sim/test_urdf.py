"""URDF and controllers of a rig, read by a parser that is not ours where it is installed."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from emo_face.cli.main import main
from emo_face.core.paths import share_dir
from emo_face.face.drivers import open_driver
from emo_face.face.rig.rig import Rig, load_rig
from emo_face.face.sim.urdf import controllers, urdf

RADIANS = ("head_25channel",)


@pytest.fixture(scope="module", params=RADIANS)
def rig(request: pytest.FixtureRequest) -> Rig:
    return load_rig(request.param)


def test_the_joints_are_those_that_the_driver_commands(rig: Rig) -> None:
    driver = open_driver(rig, kind="trajectory")
    robot = ElementTree.fromstring(urdf(rig))
    joints = {joint.get("name"): joint.find("limit") for joint in robot.findall("joint")}
    assert tuple(joints) == driver.names
    for i, (name, limit) in enumerate(joints.items()):
        assert limit is not None
        given = [float(limit.get(key, "nan")) for key in ("lower", "upper", "velocity")]
        assert given == pytest.approx([rig.limits.lower[i], rig.limits.upper[i], rig.limits.velocity[i]]), name
    hardware = robot.find("ros2_control")
    assert hardware is not None
    assert tuple(joint.get("name") for joint in hardware.findall("joint")) == driver.names
    settings = yaml.safe_load(controllers(rig))["face_controller"]["ros__parameters"]
    assert tuple(settings["joints"]) == driver.names
    assert settings["allow_nonzero_velocity_at_trajectory_end"] is False
    assert settings["cmd_timeout"] > settings["constraints"]["goal_time"] > 0, "or the controller ignores it"


def test_a_parser_of_ros_takes_it(rig: Rig, recwarn: pytest.WarningsRecorder) -> None:
    parser = pytest.importorskip("urdf_parser_py.urdf", reason="pip install urdf-parser-py")
    robot = parser.URDF.from_xml_string(urdf(rig).encode())
    assert robot.get_root() == "head"
    assert [joint.name for joint in robot.joints] == list(rig.names)
    assert robot.get_chain("head", f"{rig.names[-1]}_link")[1] == rig.names[-1]


def test_a_pointer_tips_the_way_the_face_goes(rig: Rig) -> None:
    """The joint turned towards the end that opens the jaw lowers its tip, and the one that raises a brow lifts it."""
    robot = ElementTree.fromstring(urdf(rig))
    for name, channel, up in (("jaw", "jawOpen", False), ("brow_outer_left", "browOuterUpLeft", True)):
        joint = next(j for j in robot.findall("joint") if j.get("name") == name)
        axis = np.array([float(v) for v in joint.find("axis").get("xyz").split()])  # type: ignore[union-attr]
        arkit = np.zeros(52)
        from emo_face.core.arkit import ARKIT_INDEX

        arkit[ARKIT_INDEX[channel]] = 1.0
        i = rig.names.index(name)
        turned = (rig.targets(arkit) - rig.limits.neutral)[i]
        tip = np.cross(turned * axis, [1.0, 0.0, 0.0])  # where a point ahead goes, to first order
        assert (tip[2] > 0) == up, name


def test_the_files_beside_the_rig_are_made_of_it(rig: Rig) -> None:
    folder = share_dir() / "config" / "ros2_control"
    assert (folder / f"{rig.name}.urdf").read_text(encoding="utf-8") == urdf(rig)
    assert (folder / "controllers.yaml").read_text(encoding="utf-8") == controllers(rig)


def test_other_units_are_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rig", "urdf", "minimal_4servo"]) == 2
    assert "actuator brows: expected unit rad, got us" in capsys.readouterr().err
    assert main(["rig", "urdf", RADIANS[0], "--out", str(tmp_path / "head.urdf")]) == 0
    assert (tmp_path / "head.urdf").read_text().startswith("<?xml")
