"""What the soak pulls and how it judges: a camera and a bus whose cables are out for a while, stops that lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("serial", reason="needs pyserial: scripts/setup.sh feetech")

from emo_face.bench.emulated.cables import Head, NetworkEye
from emo_face.bench.probes.troubles import PATIENCE, Stops
from emo_face.face.drivers import open_driver
from emo_face.face.drivers.base import DriverError
from emo_face.face.rig import load_rig
from emo_face.runtime.sources import SourceError, open_source


def test_a_camera_that_is_unplugged_ends_and_comes_back_at_the_same_address() -> None:
    pictures = [cv2.imencode(".jpg", np.full((48, 64, 3), level, np.uint8))[1].tobytes() for level in (40, 200)]
    eye = NetworkEye(pictures, rate=50.0)
    camera = open_source(eye.url)
    seen = {round(float(frame.mean()), -1) for frame in (camera.read() for _ in range(8)) if frame is not None}
    assert seen == {40.0, 200.0}
    eye.unplug()
    while camera.read() is not None:
        pass
    with pytest.raises(SourceError):
        open_source(eye.url)
    eye.plug()
    again = open_source(eye.url)
    assert again.read() is not None
    again.close()
    camera.close()
    eye.unplug()


@pytest.fixture
def head(tmp_path: Path) -> Iterator[Head]:
    made = Head(tmp_path)
    yield made
    if made.plugged:
        made.unplug()


def test_servos_keep_their_torque_while_the_cable_is_out(head: Head) -> None:
    driver = open_driver(load_rig(head.rig), 0.01)
    driver.connect()
    driver.enable(True)
    assert head.stiff
    head.unplug()
    with pytest.raises(DriverError):
        driver.read()
    driver.close()
    assert head.stiff
    head.plug()
    assert driver.estop().success
    assert head.limp
    driver.close()


class Visitor:
    """Says what it is told to, and counts releases."""

    def __init__(self) -> None:
        self.answer: Any = None
        self.releases = 0

    def stop(self) -> tuple[float, Any]:
        return 0.02, self.answer

    def release(self) -> None:
        self.releases += 1


def test_stops_are_judged_by_what_the_servos_hold(head: Head, capsys: pytest.CaptureFixture[str]) -> None:
    visitor: Any = Visitor()
    stops = Stops(visitor, head)

    def switch(value: int) -> None:
        for servo in head.bus.servos.values():
            servo.table[servo.TORQUE] = value

    def settle(seconds: float) -> None:
        stops.settle(stops._since + seconds)

    switch(1)
    settle(0.0)
    assert stops.idle
    visitor.answer = SimpleNamespace(success=True, message="stopped")
    stops.press()  # torque is on: a lie
    settle(PATIENCE + 0.1)
    settle(PATIENCE + 0.1)
    visitor.answer = SimpleNamespace(success=False, message="NOT off: cut the power")
    head.unplug()
    stops.press()  # the truth
    settle(PATIENCE + 0.1)
    assert visitor.releases == 1, "nothing is missed while the cable is out"
    head.plug()
    switch(0)
    settle(0.0)
    assert visitor.releases == 2
    settle(PATIENCE + 0.1)  # enabled, and torque stays off
    visitor.answer = None
    stops.press()
    found = stops.figures()
    assert (found["stops_tried"], found["stops_that_lied"], found["stops_verified_at_once"]) == (3, 1, 1)
    assert found["stops_missed"] == 2  # torque that stayed on, and no answer
    assert found["not_back"] == 1
    assert "lied: stopped" in capsys.readouterr().err
