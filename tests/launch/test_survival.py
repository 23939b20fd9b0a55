"""Short forms of `emo-face bench safety --graph` and `bench soak`; docs/benchmarks.md has the long ones."""

from __future__ import annotations

import argparse

import pytest

pytest.importorskip("rclpy", reason="run scripts/setup.sh")
pytest.importorskip("emo_face_msgs", reason="run scripts/setup.sh")

from emo_face.bench import soak
from emo_face.bench.probes.survival import figures

pytestmark = pytest.mark.ros


@pytest.fixture(autouse=True)
def a_domain_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "63")


def test_the_graph_comes_up_and_replaces_what_hangs_or_dies() -> None:
    found = figures(bringups=1, loops=2, hangs=1, kills=1)
    assert found["bringups_all_active"] == found["bringups"] == 1
    assert found["kills"] == 1
    assert found["hang_noticed_s"] <= 3.0


@pytest.mark.slow  # ten minutes
@pytest.mark.timeout(900)
def test_ten_minutes_of_trouble_leave_no_trace() -> None:
    parser = argparse.ArgumentParser()
    soak.add_arguments(parser)
    found = soak.measure(parser.parse_args(["--minutes", "10"]))
    assert found["stops_tried"] > 10
    assert found["stops_missed"] == found["stops_that_lied"] == found["not_back"] == 0, found
    assert found["torque_after_kill"] == 0
    assert min(found["faults"].values()) >= 1
    assert len(found["faults"]) == 5, found["faults"]
    assert found["camera_back"]["times"] == found["faults"]["camera unplugged"]
    for key in ("descriptors", "threads"):
        assert found[key]["growth_percent"] < 5.0, found
    assert found["memory_mb"]["growth_percent"] < 10.0, found
    assert found["disk_mb"]["last"] < found["disk_mb"]["first"] + 20.0, found
