"""A bag written here is read back to the same figures, page and film, by rosbags alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from emo_face.core.arkit import ARKIT_52
from emo_face.core.errors import UserError
from emo_face.core.labels import basic7

pytest.importorskip("rosbags")
pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="run scripts/setup.sh")
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from emo_face.core.types import Box, Emotion, ExpressionTarget, Face, Keyframe, Person, Shown
from emo_face.recording.bag import BagWriter
from emo_face.recording.definitions import typestore
from emo_face.recording.read import read_bag
from emo_face.recording.recording import load
from emo_face.recording.summary import summarise
from emo_face.ros.clock import stamp_message
from emo_face.ros.messages import convert
from emo_face.ros.recorder import type_name


def header(store, stamp: float):
    time_type = store.types["builtin_interfaces/msg/Time"]
    return store.types["std_msgs/msg/Header"](
        stamp=time_type(sec=int(stamp), nanosec=round(stamp % 1 * 1e9)), frame_id="camera"
    )


def scores_message(stamp: float, top: str, latency: float):
    labels = basic7().labels
    p = np.full(7, 0.05, np.float32)
    p[labels.index(top)] = 0.7
    person = Person("p00001", 0.9, Box(10, 20, 100, 200), Face(Box(40, 30, 50, 60), 0.9))
    emotion = Emotion("basic7", p, p > 0.5, 0.1, 0.2, {"face": 0.8}, 0.9)
    head = Header(stamp=stamp_message(stamp), frame_id="camera")
    return convert.scores_message([person], [emotion], header=head, size=(160, 120), model="nano", latency=latency)


def expression_message(stamp: float, emotion: str, shown: str, latency: float):
    p = np.array([float(label == emotion) for label in basic7().labels])
    feels = Emotion("basic7", p, p > 0.5, 0.0, 0.0, quality=1.0)
    rest = Keyframe(0.0, np.zeros(100), np.zeros(3), np.zeros(2))
    target = ExpressionTarget(
        stamp,
        "p00001",
        "listener",
        feels,
        Shown(shown, 0.5, 0.5),
        (rest,),
        "open-ict-1",
        np.zeros(2),
        0.75,
        0.5,
        "prototypes",
    )
    return convert.expression_message(target, frame_id="camera", latency=latency)


def compressed_image(store, stamp: float, level: int):
    import cv2

    jpeg = cv2.imencode(".jpg", np.full((120, 160, 3), level, np.uint8))[1].ravel()
    return store.types["sensor_msgs/msg/CompressedImage"](header=header(store, stamp), format="jpeg", data=jpeg)


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """Two seconds of a run: 20 frames, scores, expressions, blendshapes, a line of speech, diagnostics."""
    path = tmp_path_factory.mktemp("bag") / "run.mcap"
    store = typestore()
    with BagWriter(path) as writer:

        def put(topic: str, message, at: float) -> None:
            kind = message.__msgtype__
            writer.write(topic, kind, round(at * 1e9), bytes(store.serialize_cdr(message, kind)))

        def put_ours(topic: str, message, at: float) -> None:
            writer.write(topic, type_name(type(message)), round(at * 1e9), serialize_message(message))

        for i in range(20):
            at = 100.0 + i * 0.1
            put("/camera/image_raw/compressed", compressed_image(store, at, 10 * i), at + 0.01)
            felt, shown = ("Happy", "Happy") if i < 10 else ("Sad", "Sympathy")
            put_ours("/emotion/scores", scores_message(at, felt, 0.02), at + 0.02)
            put_ours("/face/expression", expression_message(at, felt, shown, 0.03 + 0.001 * i), at + 0.03)
            joints = store.types["sensor_msgs/msg/JointState"](
                header=header(store, at),
                name=list(ARKIT_52),
                position=np.full(52, i / 20),
                velocity=np.zeros(0),
                effort=np.zeros(0),
            )
            put("/face/blendshapes", joints, at + 0.04)
        put("/speech/text", store.types["std_msgs/msg/String"](data="grüß dich"), 100.5)
        pair = store.types["diagnostic_msgs/msg/KeyValue"]
        status = store.types["diagnostic_msgs/msg/DiagnosticStatus"](
            level=0,
            name="perception: graph",
            message="active",
            hardware_id="",
            values=[
                pair("frames_in", "60"),
                pair("frames_dropped", "40"),
                pair("frames_processed", "20"),
                pair("detector", "yolo11n+yunet"),
                pair("model:nano_face.onnx", "ab" * 32),
            ],
        )
        put(
            "/diagnostics",
            store.types["diagnostic_msgs/msg/DiagnosticArray"](header=header(store, 101.0), status=[status]),
            101.0,
        )
    return path


def test_rosbags_reads_the_single_file(bag):
    topics = {topic for topic, _, _ in read_bag(bag)}
    assert topics == {
        "/camera/image_raw/compressed",
        "/emotion/scores",
        "/face/expression",
        "/face/blendshapes",
        "/speech/text",
        "/diagnostics",
    }
    assert [p.name for p in bag.parent.iterdir()] == ["run.mcap"]


def test_messages_come_back_as_written(bag):
    recording = load(bag)
    assert len(recording.frames) == 20
    assert recording.scores[0].people[0].body.width == 100
    assert recording.scores[0].emotions[0].probabilities[basic7().index("Happy")] == pytest.approx(0.7)
    first, last = recording.expressions[0], recording.expressions[-1]
    assert (first.person_emotion, first.shown, first.confidence) == ("Happy", "Happy", 0.75)
    assert (last.person_emotion, last.shown, last.strength) == ("Sad", "Sympathy", 0.5)
    assert recording.speech == [(100.5, "grüß dich")]
    np.testing.assert_allclose(recording.blendshapes[10][1], 0.5)


def test_summary_has_every_promised_key_and_true_figures(bag):
    summary = summarise(load(bag), peak_rss_mb=321.04)
    assert summary["frames_in"] == 60
    assert summary["frames_dropped"] == 40
    assert summary["persons_max"] == 1
    assert summary["scores_msgs"] == summary["expression_msgs"] == 20
    assert summary["latency_ms"]["p50"] == pytest.approx(39.5, abs=0.1)
    assert summary["models"] == {"nano_face.onnx": "ab" * 32}
    assert summary["emotion_backend"] == "nano"
    assert summary["expression_backend"] == "prototypes"
    assert summary["peak_rss_mb"] == 321.0


def test_report_writes_figures_page_and_film(bag, tmp_path):
    pytest.importorskip("plotly")
    av = pytest.importorskip("av")
    from emo_face.recording.report import write_report

    figures, page, film = write_report(bag, tmp_path, "demo")
    assert json.loads(figures.read_text())["scores_msgs"] == 20
    text = page.read_text()
    assert 'src="http' not in text
    assert "<script src" not in text
    assert "jawOpen" in text
    assert "shows Sympathy" in text
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(stream)]
        assert stream.codec_context.name == "h264"
    assert 28 <= len(frames) <= 30  # 1.9 s at 15 frames/s
    assert frames[0].shape == (540, 720 + 540, 3)
    assert abs(frames[-1][:, 720:].astype(int) - frames[0][:, 720:]).mean() > 1.0, "the robot's face does not move"


def test_a_missing_or_damaged_bag_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.mcap does not exist"):
        list(read_bag(tmp_path / "nothing.mcap"))
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"\x89MCAP0\r\nnot a bag at all")
    with pytest.raises(UserError, match=r"broken\.mcap"):
        list(read_bag(broken))


def test_the_page_follows_the_person_the_robot_attended_to():
    from emo_face.recording.page import _attended
    from emo_face.recording.recording import Recording, Scores
    from emo_face.recording.recording import Shown as Told

    def scores(stamp: float, **people: float) -> Scores:
        read = [Emotion("basic7", np.full(7, p), np.zeros(7, bool), 0.0, 0.0) for p in people.values()]
        return Scores(stamp, 0.0, tuple(Person(i, 1.0, Box(0, 0, 1, 1)) for i in people), tuple(read), ())

    def shown(stamp: float, who: str) -> Told:
        return Told(stamp, 0.0, who, "Happy", 1.0, "Happy", 1.0, 1.0, "", "")

    seen = [scores(0.0, a=0.1), scores(1.0, a=0.2, b=0.3), scores(2.0, b=0.4), scores(3.0, b=0.5)]
    recording = Recording(scores=seen, expressions=[shown(0.0, "a"), shown(2.5, "b")])
    assert [p if p is None else p[0] for _, p in _attended(recording)] == [0.1, 0.2, None, 0.5]
    assert [p if p is None else p[0] for _, p in _attended(Recording(scores=seen))] == [0.1, 0.2, 0.4, 0.5]
