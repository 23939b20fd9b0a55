"""nodes/camera.py on real pictures and video, through DDS."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CompressedImage, Image

from emo_face.nodes.camera import CameraNode
from emo_face.ros import qos
from emo_face.ros.clock import seconds
from emo_face.ros.images.compressed import decode_compressed
from emo_face.ros.images.convert import to_bgr
from emo_face.runtime.sources import open_source


@pytest.fixture
def video(assets: Path) -> str:
    return str(assets / "video" / "WolfgangLanger_Pexels_3063838.mp4")


@pytest.fixture
def folder(assets: Path) -> str:
    return str(assets / "images" / "people")


def test_frames_are_the_sources_own_stamped_now_and_in_order(graph: Any, video: str) -> None:
    heard = graph.hear(Image, "camera/image_raw", qos.reliable(50))
    started = graph.now()
    graph.up(graph.start(CameraNode, source=video, width=160))
    graph.until(lambda: len(heard) >= 12)
    source = open_source(video, width=160)
    frames = {frame.tobytes() for frame in (source.read() for _ in range(60))}
    assert all(to_bgr(msg).tobytes() in frames for msg in heard)
    stamps = [seconds(msg.header.stamp) for msg in heard]
    assert started <= stamps[0] <= stamps[-1] <= graph.now()
    assert np.median(np.diff(stamps)) == pytest.approx(1 / 24, rel=0.25)
    assert {msg.header.frame_id for msg in heard} == {"camera_optical_frame"}


@pytest.mark.parametrize("reader", [qos.reliable(10), qos.sensor()])
def test_reliable_and_best_effort_readers_both_hear(graph: Any, folder: str, reader: Any) -> None:
    heard = graph.hear(Image, "camera/image_raw", reader)
    graph.up(graph.start(CameraNode, source=folder, rate=50.0, loop=True, width=64, height=48))
    graph.until(lambda: len(heard) >= 8)
    assert to_bgr(heard[0]).shape == (48, 64, 3)


def test_raw_and_compressed_show_the_same(graph: Any, folder: str) -> None:
    raw = graph.hear(Image, "camera/image_raw", qos.reliable(10))
    jpeg = graph.hear(CompressedImage, "camera/image_raw/compressed", qos.reliable(10))
    graph.up(graph.start(CameraNode, source=folder, rate=20.0, loop=True, width=320, publish="both", jpeg_quality=95))
    graph.until(lambda: raw and jpeg)
    pair = graph.until(lambda: next(((a, b) for a in raw for b in jpeg if a.header.stamp == b.header.stamp), None))
    error = np.abs(to_bgr(pair[0]).astype(int) - decode_compressed(pair[1]))
    assert error.mean() < 6


def test_the_end_finalizes_with_exit_code_0(graph: Any, folder: str) -> None:
    node = graph.up(graph.start(CameraNode, source=folder, rate=200.0, width=64))
    graph.until(lambda: node.exit_code is not None)
    assert (node.exit_code, node.state) == (0, "finalized")
    assert node.health.counts()["frames"] == 5


def test_deactivated_it_is_silent_and_goes_on_later(graph: Any, folder: str) -> None:
    heard = graph.hear(Image, "camera/image_raw", qos.reliable(10))
    node = graph.up(graph.start(CameraNode, source=folder, rate=50.0, loop=True, width=64))
    graph.until(lambda: len(heard) >= 3)
    assert node.trigger_deactivate().name == "SUCCESS"
    frames = node.health.counts()["frames"]
    assert node.trigger_activate().name == "SUCCESS"
    graph.until(lambda: node.health.counts()["frames"] > frames + 3)
    assert node.trigger_deactivate().name == "SUCCESS"
    assert node.trigger_cleanup().name == "SUCCESS"
    graph.up(node)
    graph.until(lambda: node.health.counts()["frames"] > frames + 8)


def test_an_unreadable_source_fails_configure_with_the_reason(graph: Any, tmp_path: Path) -> None:
    heard = graph.hear(DiagnosticArray, "/diagnostics")
    node = graph.start(CameraNode, source=str(tmp_path / "none.mp4"), diagnostics__period=0.1)
    assert node.trigger_configure().name == "FAILURE"
    found = graph.until(lambda: next((a.status[0] for a in heard if a.status[0].level == b"\x02"), None))
    assert "cannot configure: source" in found.message
    assert "no such file" in found.message


class Flaky:
    """A device that is pulled out after every third frame and comes back at the second attempt."""

    live, rate = True, 0.0
    opened = 0
    taken = 0.0
    at = None

    def __init__(self) -> None:
        self.left = 3

    def read(self) -> Any:
        self.left -= 1
        self.taken = time.monotonic() - 0.25  # taken long before it was decoded
        return np.zeros((4, 4, 3), np.uint8) if self.left >= 0 else None

    def rewind(self) -> None:
        raise AssertionError("a device has no beginning")

    def close(self) -> None:
        pass


def test_a_webcam_gone_is_reopened_and_said_so(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from emo_face.nodes import camera
    from emo_face.runtime.sources import SourceError

    def open_flaky(*_: Any, **__: Any) -> Flaky:
        Flaky.opened += 1
        if Flaky.opened % 2 == 0:
            raise SourceError("still gone")
        return Flaky()

    monkeypatch.setattr(camera, "open_source", open_flaky)
    node = graph.up(graph.start(CameraNode, reconnect_period=0.1))
    graph.until(lambda: node.health.counts().get("frames", 0) >= 7)
    assert node.health.counts()["disconnects"] >= 2
    heard = graph.hear(Image, "camera/image_raw", qos.reliable(10))
    graph.until(lambda: heard)
    assert graph.now() - seconds(heard[0].header.stamp) > 0.25  # the stamp is when it was taken
    assert "errors" not in node.health.counts()


class Uneven(Flaky):
    """A film whose frames are due at their own times."""

    live, rate = False, 1.0
    due = (0.0, 0.02, 0.3, 0.32, 0.8)

    def __init__(self) -> None:
        self.frame = 0

    def read(self) -> Any:
        self.frame += 1
        if self.frame > len(self.due):
            return None
        self.at = self.due[self.frame - 1]
        return np.full((4, 4, 3), self.frame, np.uint8)


def test_a_film_of_variable_rate_is_shown_at_its_own_times(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from emo_face.nodes import camera

    monkeypatch.setattr(camera, "open_source", lambda *_, **__: Uneven())
    heard = graph.hear(Image, "camera/image_raw", qos.reliable(10))
    node = graph.start(CameraNode)
    assert node.trigger_configure().name == "SUCCESS"
    graph.until(lambda: node._raw.get_subscription_count())
    assert node.trigger_activate().name == "SUCCESS"
    graph.until(lambda: len(heard) == 5)
    shown = [seconds(msg.header.stamp) - seconds(heard[0].header.stamp) for msg in heard]
    assert np.abs(np.subtract(shown, Uneven.due)).max() < 0.15


class Slow:
    """The clock of a machine on which a frame takes 10 ms to read and 120 ms to send."""

    def __init__(self) -> None:
        self.now = 100.0
        self.film = Uneven()
        self.film.due = tuple(k / 20 for k in range(60))
        self.sent: list[tuple[float, float]] = []

    def monotonic(self) -> float:
        return self.now

    def read(self) -> Any:
        self.now += 0.01
        return Uneven.read(self.film)

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False

    def hand(self, *_: Any) -> None:
        self.sent.append((self.now - 100.01, self.film.at))
        self.now += 0.12


def test_a_film_keeps_its_time_on_a_slow_machine(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from emo_face.nodes import camera

    slow = Slow()
    node = graph.start(CameraNode)
    monkeypatch.setattr(camera, "time", slow)
    monkeypatch.setattr(node.pictures, "hand", slow.hand)
    monkeypatch.setattr(slow.film, "read", slow.read)
    node._source, due = slow.film, -np.inf
    for _ in slow.film.due:
        due = node._read_one(slow, due)
    late = [now - at for now, at in slow.sent]
    assert 15 < len(late) < 30  # of 60
    assert max(late) < 0.15
    assert node.health.counts()["frames_late"] == 60 - len(late)


def test_sim_time_stamps_are_the_clocks(graph: Any, folder: str) -> None:
    from rosgraph_msgs.msg import Clock

    heard = graph.hear(Image, "camera/image_raw", qos.reliable(10))
    graph.up(graph.start(CameraNode, source=folder, rate=50.0, loop=True, width=64, use_sim_time=True))
    clock = graph.talk(Clock, "/clock")
    tick = Clock()
    tick.clock.sec = 1234

    def simulated() -> bool:
        clock.publish(tick)
        return any(m.header.stamp.sec == 1234 for m in heard)

    graph.until(simulated)
