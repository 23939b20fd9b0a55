"""nodes/perception.py with the real detectors on real pictures and video."""

from __future__ import annotations

import array
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
from diagnostic_msgs.msg import DiagnosticArray
from emo_face_msgs.msg import EmotionScoresArray
from rclpy import create_node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String

from emo_face.core.install import how_to_install
from emo_face.nodes.perception import PerceptionNode
from emo_face.ros import qos
from emo_face.ros.clock import duration_seconds, stamp_message
from emo_face.ros.images.convert import compressed_message, image_message, to_bgr


@pytest.fixture(autouse=True)
def models(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMO_FACE_MODELS", str(assets))


@pytest.fixture(scope="module")
def pilots(assets: Path) -> np.ndarray:
    """Three people."""
    return cv2.resize(cv2.imread(str(assets / "images" / "people" / "apollo11_pilots.jpg")), (640, 480))


class Camera:
    """Shows pictures to a perception node and hears what it says."""

    def __init__(self, graph: Any, kind: Any = Image, profile: Any = 1, **params: Any) -> None:
        self.graph = graph
        self.scores = graph.hear(EmotionScoresArray, "emotion/scores")
        self.status = graph.hear(DiagnosticArray, "/diagnostics")
        # fixed unless a test is about it: the first image would fall into the change of the subscription
        defaults = {"diagnostics__period": 0.1, "image_reliability": "best_effort"}
        self.node = graph.up(graph.start(PerceptionNode, **{**defaults, **params}))
        self.topic = "image/compressed" if kind is CompressedImage else "image"
        self.out = graph.talk(kind, self.topic, profile)

    def header(self, offset: float = 0.0) -> Header:
        return Header(stamp=stamp_message(self.graph.now() + offset), frame_id="camera")

    def show(self, picture: np.ndarray, offset: float = 0.0) -> None:
        """Publish and wait until it has been looked at."""
        counts = self.node.health.counts
        before = counts().get("frames_processed", 0) + counts().get("frames_dropped", 0)
        make = compressed_message if self.topic.endswith("compressed") else image_message
        self.out.publish(make(picture, self.header(offset)))
        self.graph.until(
            lambda: counts().get("frames_processed", 0) + counts().get("frames_dropped", 0) > before, why="no verdict"
        )

    def count(self, name: str) -> int:
        return int(self.node.health.counts().get(name, 0))

    def complaint(self, text: str) -> None:
        self.graph.until(
            lambda: any(text in a.status[0].message for a in self.status),
            why=f"{text!r} not in {[a.status[0].message for a in self.status][-3:]}",
        )


def test_everybody_is_seen_with_lasting_ids_and_the_images_header(graph: Any, pilots: np.ndarray) -> None:
    camera = Camera(graph)
    for _ in range(5):
        camera.show(pilots)
    graph.until(lambda: len(camera.scores) == 5)
    last = camera.scores[-1]
    assert (last.header.frame_id, last.width, last.height, last.model) == ("camera", 640, 480, "nano")
    ids = [p.person_id for p in last.people]
    assert len(set(ids)) == 3
    assert ids == [p.person_id for p in camera.scores[-2].people]
    for person in last.people:
        assert sum(person.probabilities) == pytest.approx(1.0, abs=1e-4)
        assert person.top in person.labels
        assert person.face.width > 0
        assert person.body.x_offset + person.body.width <= 640
    assert 0 < duration_seconds(last.latency) < 1.0


def test_nobody_is_an_empty_array(graph: Any) -> None:
    camera = Camera(graph)
    camera.show(np.full((240, 320, 3), 90, np.uint8))
    graph.until(lambda: camera.scores)
    assert camera.scores[0].people == []


def reliability(graph: Any) -> str:
    found = graph.helper.get_subscriptions_info_by_topic("/image")
    return str(found[0].qos_profile.reliability.name) if len(found) == 1 else ""


def test_every_camera_is_heard_as_reliably_as_it_offers(graph: Any, pilots: np.ndarray) -> None:
    camera = Camera(graph, profile=qos.reliable(1), image_reliability="auto")
    graph.until(lambda: reliability(graph) == "RELIABLE")
    graph.until(lambda: camera.out.get_subscription_count() == 1)
    camera.show(pilots)
    graph.until(lambda: camera.scores)
    second = graph.helper.create_publisher(Image, "image", qos.sensor())  # a best-effort camera joins
    graph.until(lambda: reliability(graph) == "BEST_EFFORT")
    graph.until(lambda: second.get_subscription_count() == 1)
    camera.scores.clear()
    camera.out = second
    camera.show(pilots)
    graph.until(lambda: camera.scores)


def test_two_cameras_on_one_topic_are_told(graph: Any) -> None:
    camera = Camera(graph)
    other = create_node("other_camera", context=graph.context)
    graph.at_end.append(other.destroy_node)
    other.create_publisher(Image, "image", 1)
    graph.until(lambda: graph.helper.count_publishers("image") == 2)
    graph.until(lambda: camera.node.count_publishers("image") == 2)
    camera.node._images._look_for_others()
    camera.complaint("2 publishers on /image, taken for one camera")


def test_a_fixed_reliability_that_hears_nothing_is_diagnosed(graph: Any) -> None:
    status = graph.hear(DiagnosticArray, "/diagnostics")
    graph.up(graph.start(PerceptionNode, diagnostics__period=0.1, image_reliability="reliable", detector__yolo="off"))
    graph.helper.create_publisher(Image, "image", qos.sensor())
    graph.until(lambda: any("no data on /image" in a.status[0].message for a in status))


def test_compressed_images_are_read_and_corrupt_ones_counted(graph: Any, pilots: np.ndarray) -> None:
    camera = Camera(graph, CompressedImage, image_transport="compressed")
    for _ in range(3):
        camera.show(pilots)
    assert len(graph.until(lambda: [s for s in camera.scores if s.people])[0].people) == 3
    broken = compressed_message(pilots, camera.header())
    broken.data = broken.data[:2000]
    camera.out.publish(broken)
    camera.complaint("truncated JPEG of 2000 bytes")
    assert camera.count("dropped.bad_image") == 1
    camera.show(pilots)
    assert "errors" not in camera.node.health.counts()


def test_a_camera_of_12_bits_is_seen_and_its_depth_stated(graph: Any, pilots: np.ndarray) -> None:
    camera = Camera(graph)
    for _ in range(3):
        msg = image_message(pilots, camera.header())
        grey = cv2.cvtColor(pilots, cv2.COLOR_BGR2GRAY).astype("<u2") * 16 + 8
        msg.encoding, msg.step, msg.data = "mono16", 2 * grey.shape[1], array.array("B", grey.tobytes())
        before = camera.count("frames_processed")
        camera.out.publish(msg)
        graph.until(lambda seen=before: camera.count("frames_processed") > seen)
    assert len(graph.until(lambda: [s for s in camera.scores if s.people])[0].people) == 3
    values = camera.node.health.report("active", time.monotonic()).values
    assert (values["image_encoding"], values["image_depth"][:13]) == ("mono16", "12 bits of 16")


def spoilt(picture: np.ndarray, header: Header, **changes: Any) -> Image:
    msg = image_message(picture, header)
    for name, value in changes.items():
        setattr(msg, name, value)
    return msg


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"height": 0, "width": 0, "step": 0, "data": b""}, "holds no pixel"),
        ({"data": b"12345"}, "truncated, got 5 bytes"),
        ({"step": 7}, "step: got 7"),
        ({"encoding": "yuv9"}, "unknown 'yuv9'"),
    ],
)
def test_broken_images_are_counted_and_named(graph: Any, changes: dict[str, Any], says: str) -> None:
    camera = Camera(graph, detector__yolo="off")
    grey = np.full((48, 64, 3), 90, np.uint8)
    camera.out.publish(spoilt(grey, camera.header(), **changes))
    camera.complaint(says)
    assert camera.count("dropped.bad_image") == 1
    camera.show(grey)
    assert camera.count("frames_processed") == 1


@pytest.mark.parametrize(
    ("stamp", "reason"), [("zero", "no_stamp"), ("invalid", "invalid_stamp"), (-20.0, "stale"), (20.0, "future")]
)
def test_untimely_images_are_counted_with_the_fix(graph: Any, stamp: Any, reason: str) -> None:
    camera = Camera(graph, detector__yolo="off")
    grey = np.full((48, 64, 3), 90, np.uint8)
    header = camera.header(stamp if isinstance(stamp, float) else 0.0)
    if stamp == "zero":
        header.stamp.sec = header.stamp.nanosec = 0
    elif stamp == "invalid":
        header.stamp.nanosec = 4_000_000_000
    camera.out.publish(image_message(grey, header))
    camera.complaint(f"image not used: {reason}: ")
    assert camera.count(f"dropped.{reason}") == 1
    camera.show(grey)
    assert camera.count("frames_processed") == 1


def test_an_8k_image_is_read(graph: Any, pilots: np.ndarray) -> None:
    camera = Camera(graph, max_age=10.0)
    camera.show(cv2.resize(pilots, (7680, 4320)))
    graph.until(lambda: camera.scores)
    assert (camera.scores[0].width, camera.scores[0].height) == (7680, 4320)


def test_a_fast_camera_never_queues(graph: Any, pilots: np.ndarray) -> None:
    camera = Camera(graph)
    small = cv2.resize(pilots, (320, 240))
    for _ in range(1000):
        camera.out.publish(image_message(small, camera.header()))
        graph.executor.spin_once(timeout_sec=0)
    graph.until(lambda: camera.count("frames_in") == camera.count("frames_processed") + camera.count("frames_dropped"))
    assert camera.count("frames_dropped") > camera.count("frames_processed")
    # a queue would make it the age of the storm; max_age allows 0.5 s before the work on a frame begins
    assert max(duration_seconds(s.latency) for s in camera.scores) < 1.5


def test_the_debug_image_is_drawn_only_when_asked_for(graph: Any, pilots: np.ndarray) -> None:
    camera = Camera(graph, debug_image__rate=60.0)
    for _ in range(3):
        camera.show(pilots)
    pictures = graph.hear(Image, "perception/debug_image", qos.sensor())

    def drawn() -> bool:
        camera.show(pilots)
        return bool(pictures)

    graph.until(drawn)
    assert to_bgr(pictures[0]).shape == pilots.shape
    assert np.abs(to_bgr(pictures[0]).astype(int) - pilots).max() > 50


def test_a_backward_clock_forgets_everybody(graph: Any, pilots: np.ndarray) -> None:
    clock = graph.talk(Clock, "/clock", readers=0)
    camera = Camera(graph, use_sim_time=True, track__min_hits=1)

    def show_at(time: float) -> EmotionScoresArray:
        def ticked() -> bool:
            clock.publish(Clock(clock=stamp_message(time)))
            return abs(camera.node.clock.now() - time) < 1e-3

        graph.until(ticked)
        camera.scores.clear()
        camera.out.publish(image_message(pilots, Header(stamp=stamp_message(time))))
        return graph.until(lambda: camera.scores)[0]

    before = {p.person_id for p in show_at(100.0).people}
    assert {p.person_id for p in show_at(100.05).people} == before
    after = show_at(20.0)
    assert after.people
    assert not before & {p.person_id for p in after.people}  # an id never comes back for somebody else
    assert camera.count("resets") >= 1


def test_a_camera_gone_is_named_and_one_that_is_back_is_heard(graph: Any, pilots: np.ndarray) -> None:
    camera = Camera(graph, input_timeout=0.3)
    camera.show(pilots)
    graph.helper.destroy_publisher(camera.out)
    camera.complaint("no image on /image for over 0.3 s; publishers: nobody")
    camera.out = graph.talk(Image, "image", 1)
    camera.show(pilots)
    camera.status.clear()

    def heard_again() -> bool:
        camera.show(pilots)
        return bool(camera.status) and "no image" not in camera.status[-1].status[0].message

    graph.until(heard_again)


def test_speech_in_a_language_that_is_not_known_is_counted_and_moves_nothing(graph: Any, pilots: np.ndarray) -> None:
    camera = Camera(graph)
    speech = graph.talk(String, "speech")
    for _ in range(3):
        camera.show(pilots)
    graph.until(lambda: len(camera.scores) >= 3)
    before = {p.person_id: p.quality for p in camera.scores[-1].people}
    speech.publish(String(data='{"text": "Jag är så arg på dig just nu", "language": "sv"}'))  # Whisper servers
    graph.until(lambda: camera.count("dropped.speech_language") == 1)
    heard = len(camera.scores)
    camera.show(pilots)
    graph.until(lambda: len(camera.scores) > heard)
    assert {p.person_id: p.quality for p in camera.scores[-1].people} == pytest.approx(before, abs=0.05)
    camera.complaint("speech tagged 'sv': read only if its words are en")


def test_speech_of_every_kind_is_harmless(graph: Any, pilots: np.ndarray) -> None:
    camera = Camera(graph)
    said = graph.talk(String, "speech")
    for text in ("", "\x00\x1b[2J", "x" * 100_000, "我很难过", "I am so happy!"):
        said.publish(String(data=text))
    graph.until(lambda: camera.count("speech_in") + camera.count("dropped.speech_empty") == 5)
    assert camera.count("speech_in") == 3
    for _ in range(3):
        camera.show(pilots)
    assert "errors" not in camera.node.health.counts()


def test_a_missing_model_degrades_and_says_how_to_get_it(
    graph: Any, pilots: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EMO_FACE_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    camera = Camera(graph)
    camera.complaint("no person detector")
    camera.complaint("emo-face models pull yunet")
    for _ in range(3):
        camera.show(pilots)
    assert graph.until(lambda: [s for s in camera.scores if s.people])  # Haar still finds faces


def test_a_corrupt_model_is_refused_by_name(graph: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "yolo11n_dequant.onnx").write_bytes(b"not a model")
    monkeypatch.setenv("EMO_FACE_MODELS", str(tmp_path))
    node = graph.start(PerceptionNode)
    assert node.trigger_configure().name == "FAILURE"
    report = node.health.report("", time.monotonic()).message
    assert "yolo11n" in report
    assert "wrong sha256" in report


def test_diagnostics_carry_what_the_figures_need(graph: Any, pilots: np.ndarray) -> None:
    camera = Camera(graph)
    for _ in range(3):
        camera.show(pilots)
    camera.status.clear()
    graph.until(lambda: camera.status)
    values = {v.key: v.value for v in camera.status[-1].status[0].values}
    assert values["detector"] == "yolo11n+yunet"
    assert values["emotion_backend"] == "nano"
    assert len(values["model:yolo11n"]) == 64
    on = {name: values[f"engine:{name}"] for name in ("yolo11n", "yunet", "nano_face", "nano_text")}
    assert all(text.partition("/")[0] in ("onnxruntime", "tensorrt") for text in on.values())
    assert "int8 at run time" in on["nano_text"]  # why, not only what
    assert (values["frames_in"], values["frames_processed"], values["state"]) == ("3", "3", "active")
    assert {"latency.p50_ms", "latency.p95_ms", "stage.bodies.p95_ms", "image.rate_hz", "scores.age_s"} <= set(values)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"tier": "full"}, "multiview.folder is empty"),
        ({"tier": "full", "multiview__folder": "/nowhere"}, "/nowhere"),
        ({"multiview__ask": True}, "multiview.ask needs multiview.base"),
        ({"multiview__ask": True, "multiview__base": "/nowhere"}, "/nowhere"),
    ],
)
def test_the_full_tier_without_its_model_or_libraries_says_what_is_missing(
    graph: Any, params: dict[str, Any], says: str
) -> None:
    node = graph.start(PerceptionNode, **params)
    assert node.trigger_configure().name == "FAILURE"
    report = node.health.report("", time.monotonic()).message
    assert says in report or how_to_install("full") in report
