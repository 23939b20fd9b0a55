"""Recordings that were cut off, filled a disk, or come from other robots: what is whole is read, nothing is lost."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from emo_face.core.errors import UserError

pytest.importorskip("rosbags")
pytest.importorskip("emo_face_msgs", reason="run scripts/setup.sh")

from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg

from emo_face.recording import bag as bag_module
from emo_face.recording.bag import BagWriter, describe
from emo_face.recording.definitions import schema_text, typestore
from emo_face.recording.read import read_bag
from emo_face.recording.recording import camera_topic, load
from emo_face.recording.video import frames
from emo_face.ros.images.convert import raw_to_jpeg

STORE = typestore()
STRING, PICTURE = "std_msgs/msg/String", "sensor_msgs/msg/CompressedImage"
BATTERY = "robot_msgs/msg/Battery"  # a vendor's
STORE.register(get_types_from_msg("std_msgs/Header header\nfloat32 volts\nstring name\n", BATTERY))


def text(number: int, size: int = 2000) -> bytes:
    return bytes(STORE.serialize_cdr(STORE.types[STRING](f"{number} ".ljust(size, "x")), STRING))


def numbers(path: Path) -> list[int]:
    return [int(message.data.split()[0]) for _, _, message in read_bag(path)]


def write(path: Path, count: int) -> Path:
    with BagWriter(path) as bag:
        for number in range(count):
            bag.write("/speech", STRING, number * 10**6, text(number))
    return path


def test_a_file_cut_anywhere_is_read_up_to_there_and_repaired(tmp_path):
    data = write(tmp_path / "whole.mcap", 300).read_bytes()
    assert len(numbers(tmp_path / "whole.mcap")) == 300
    rng = np.random.default_rng(1)
    for cut in rng.integers(80_000, len(data) - 1, 12):
        path = tmp_path / f"cut{cut}.mcap"
        path.write_bytes(data[:cut])
        found = numbers(path)
        assert found == list(range(len(found)))
        assert len(found) >= min(cut // 2100, 290) - 32  # a chunk holds 64 kB
        assert path.stat().st_size == cut
        assert numbers(path.with_suffix(".repaired.mcap")) == found


def test_bytes_turned_over_are_no_crash(tmp_path):
    data = bytearray(write(tmp_path / "whole.mcap", 100).read_bytes())
    rng = np.random.default_rng(2)
    for number in range(15):
        broken = bytearray(data)
        for place in rng.integers(8, len(data), 20):
            broken[place] = rng.integers(256)
        path = tmp_path / f"broken{number}.mcap"
        path.write_bytes(broken[: -rng.integers(1, 9)] if number % 2 else broken)
        found: list[object] = []
        with contextlib.suppress(UserError):  # any other exception fails the test
            found = list(read_bag(path))
        assert len(found) <= 100


def test_a_power_loss_keeps_what_was_synced_and_makes_nothing_up(tmp_path, monkeypatch):
    """Pages behind the last sync reach the disk or not, in any order; the file may have its new length already."""
    synced: list[tuple[Path, int]] = []
    monkeypatch.setattr(bag_module, "SYNC_PERIOD", -1.0)
    monkeypatch.setattr(bag_module, "sync", lambda path: synced.append((path, path.stat().st_size)))
    whole = write(tmp_path / "whole.mcap", 300)
    data, page = whole.read_bytes(), 4096
    assert synced[0][0] == tmp_path, "the name comes first"
    assert synced[-1] == (whole, len(data)), "and the end last"
    rng = np.random.default_rng(4)
    for case in range(12):
        at, safe = rng.choice([(n, size) for n, (_, size) in enumerate(synced) if size > 150_000])
        left = bytearray(data[: rng.integers(safe, len(data) + 1)])
        for start in range(-(-safe // page) * page, len(left), page):
            if rng.random() < 0.3:
                left[start : start + page] = bytes(len(left[start : start + page]))
        path = tmp_path / f"lost{case}.mcap"
        path.write_bytes(left)
        found = [message.data for _, _, message in read_bag(path)]
        assert found == [f"{number} ".ljust(2000, "x") for number in range(len(found))]
        assert len(found) >= at - 1 - 32  # a chunk holds 64 kB


@pytest.mark.parametrize(("start", "end"), [(-900, -100), (-37, -8)], ids=["index", "footer"])
def test_an_index_that_a_power_loss_took_is_made_again(tmp_path, start, end):
    data = bytearray(write(tmp_path / "whole.mcap", 300).read_bytes())
    data[start:end] = bytes(end - start)
    (tmp_path / "lost.mcap").write_bytes(data)
    assert numbers(tmp_path / "lost.mcap") == list(range(300))


@pytest.mark.parametrize("kind", ["log", "metadata beside", "read-only"])
def test_a_killed_recorder_s_sqlite_log_is_read(tmp_path, kind):
    """rosbag2_storage_sqlite3, sqlite_pragmas.hpp: ``--storage-preset-profile resilient`` writes a log ahead (WAL)."""
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.SQLITE3) as bag:
        speech = bag.add_connection("/speech", STRING, typestore=STORE)
        bag.write(speech, 1, text(0))
    (file,) = (tmp_path / "bag").glob("*.db3")
    database = sqlite3.connect(file)
    database.execute("PRAGMA journal_mode=WAL")
    rows = [(1, number, text(number)) for number in range(1, 100)]
    database.executemany("INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)", rows)
    database.commit()
    killed = Path(shutil.copytree(tmp_path / "bag", tmp_path / "killed"))
    database.close()
    if kind != "metadata beside":
        (killed / "metadata.yaml").unlink()
    before = {path: path.read_bytes() for path in killed.iterdir()}
    if kind == "read-only":
        killed.chmod(0o555)
    assert numbers(killed) == list(range(100))
    assert {path: path.read_bytes() for path in killed.iterdir()} == before
    killed.chmod(0o755)


def test_a_packed_bag_that_would_fill_the_disk_is_refused(tmp_path, monkeypatch):
    import zstandard

    (tmp_path / "bomb.mcap.zstd").write_bytes(zstandard.compress(bytes(50_000_000)))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 0, 40_000_000))
    with pytest.raises(UserError, match=r"bomb\.mcap\.zstd needs more than half of what is free"):
        numbers(tmp_path / "bomb.mcap.zstd")


def test_a_repair_that_fills_the_disk_leaves_no_half_of_it(small_disk):
    path = small_disk / "cut.mcap"
    path.write_bytes(write(small_disk / "whole.mcap", 85).read_bytes()[:-3])
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    with pytest.raises(UserError, match="no room to repair it"):
        numbers(path)
    assert not list(small_disk.glob("*.repaired.mcap"))


KILLED = """
import sys
from pathlib import Path
from emo_face.recording.bag import BagWriter
from test_survival import STRING, text
with BagWriter(Path(sys.argv[1])) as bag:
    for number in range(10**9):
        bag.write("/speech", STRING, number * 10**6, text(number))
        if number == 500:
            print("there", flush=True)
            sys.stdin.read()
"""


def test_kill_9_loses_a_chunk_at_most_and_the_next_run_keeps_it(tmp_path):
    path = tmp_path / "demo.mcap"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], env=environment, **pipes)
    assert process.stdout.readline() == b"there\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(numbers(path)) >= 501 - 32
    with BagWriter(path) as again:
        again.write("/speech", STRING, 0, text(7))
    assert numbers(path) == [7]
    assert again.kept is not None
    assert len(numbers(again.kept)) >= 501 - 32
    assert describe(again) == [f"the recording that was there is now {again.kept}"]


@pytest.fixture
def small_disk(tmp_path):
    """A limit on the size of files, which answers like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_stops_the_recording_with_one_line_and_no_exception(small_disk):
    with BagWriter(small_disk / "demo.mcap") as bag:
        for number in range(400):
            bag.write("/speech", STRING, number, text(number))
    assert "recording stopped" in bag.error
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert len(numbers(small_disk / "demo.mcap")) > 50


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        BagWriter(tmp_path / "file" / "demo.mcap").__enter__()


def robots_bag(folder: Path, plugin: StoragePlugin, mode: CompressionMode | None = None) -> Path:
    """As `ros2 bag record -a` leaves it: pictures, speech, a vendor's type."""
    jpeg = np.frombuffer(b"\xff\xd8\xff\xd9", np.uint8)
    stamp = STORE.types["builtin_interfaces/msg/Time"]
    writer = Writer(folder, version=9, storage_plugin=plugin)
    if mode:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connections = {
            topic: writer.add_connection(topic, kind, typestore=STORE)
            for topic, kind in (("/eye/compressed", PICTURE), ("/speech", STRING), ("/battery", BATTERY))
        }
        for number in range(20):
            header = STORE.types["std_msgs/msg/Header"](stamp(number, 0), "eye")
            picture = STORE.types[PICTURE](header, "jpeg", jpeg)
            battery = STORE.types[BATTERY](header, 12.0, "main")
            for topic, kind, message in (("/eye/compressed", PICTURE, picture), ("/battery", BATTERY, battery)):
                writer.write(connections[topic], number * 10**9, STORE.serialize_cdr(message, kind))
    return folder


@pytest.mark.parametrize("mode", [None, CompressionMode.FILE, CompressionMode.MESSAGE, CompressionMode.STORAGE])
@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_any_storage_and_compression(tmp_path, plugin, mode):
    if plugin is StoragePlugin.SQLITE3 and mode is CompressionMode.STORAGE:
        pytest.skip("SQLite has no compression of its own")
    folder = robots_bag(tmp_path / "bag", plugin, mode)
    assert len(load(folder).frames) == 20
    if mode is not CompressionMode.MESSAGE:  # told by metadata.yaml alone
        (folder / "metadata.yaml").unlink()  # written last: a killed recorder leaves none
        assert len(load(folder).frames) == 20


def test_a_split_bag_of_a_killed_recorder(tmp_path):
    """`ros2 bag record --max-bag-duration`: name_0.mcap ... name_10.mcap, the last without end, no metadata.yaml."""
    folder = tmp_path / "split"
    folder.mkdir()
    for part in range(11):
        with BagWriter(folder / f"split_{part}.mcap") as bag:
            for number in range(40):
                bag.write("/speech", STRING, (part * 40 + number) * 10**6, text(part * 40 + number))
    last = folder / "split_10.mcap"
    last.write_bytes(last.read_bytes()[:-3])
    assert numbers(folder) == list(range(440))
    assert numbers(folder) == list(range(440))  # the repaired part is not read a second time


def test_a_foreign_type_without_definition_is_passed_by(tmp_path, caplog):
    folder = robots_bag(tmp_path / "bag", StoragePlugin.SQLITE3)
    with sqlite3.connect(next(folder.glob("*.db3"))) as database:
        database.execute("DELETE FROM message_definitions WHERE topic_type = ?", (BATTERY,))
    assert len(load(folder).frames) == 20
    assert not caplog.records  # nobody asked for it
    assert {topic for topic, _, _ in read_bag(folder)} == {"/eye/compressed"}
    assert BATTERY in caplog.text


def test_the_bags_own_definition_wins_over_the_installed_one(tmp_path):
    from rosbags.typesys import Stores, get_typestore

    old = get_typestore(Stores.ROS2_JAZZY)
    old.register(get_types_from_msg("std_msgs/Header header\nstring model\n", "emo_face_msgs/msg/EmotionScoresArray"))
    kind = "emo_face_msgs/msg/EmotionScoresArray"
    with Writer(tmp_path / "old", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/emotion/scores", kind, typestore=old)
        header = old.types["std_msgs/msg/Header"](old.types["builtin_interfaces/msg/Time"](1, 0), "")
        writer.write(connection, 10**9, old.serialize_cdr(old.types[kind](header, "of last year"), kind))
    ((_, _, message),) = read_bag(tmp_path / "old")
    assert message.model == "of last year"


def test_another_robots_joints_and_texts_are_not_the_faces(tmp_path):
    joints = "sensor_msgs/msg/JointState"
    with BagWriter(tmp_path / "robot.mcap") as bag:
        header = STORE.types["std_msgs/msg/Header"](STORE.types["builtin_interfaces/msg/Time"](1, 0), "")
        arm = STORE.types[joints](header, ["elbow"], np.zeros(1), np.zeros(0), np.zeros(0))
        bag.write("/joint_states", joints, 1, bytes(STORE.serialize_cdr(arm, joints)))
        bag.write("/robot_description", STRING, 1, text(1))
        picture = STORE.types[PICTURE](header, "jpeg", np.zeros(4, np.uint8))
        bag.write("/eye/compressed", PICTURE, 1, bytes(STORE.serialize_cdr(picture, PICTURE)))
    recording = load(tmp_path / "robot.mcap")
    assert (len(recording.frames), recording.speech, recording.blendshapes) == (1, [], [])


# the profile is optional (MCAP, "Header"); rosbag2_storage_mcap's profiles `fastwrite` (no chunks, no index) and
# `zstd_fast`; Foxglove's own recorders put protobuf and JSON beside CDR (MCAP, "Well-known message encodings"); service
# events carry a srv type without text
@pytest.mark.parametrize("kind", ["fastwrite", "zstd", "lz4", "no profile", "mixed", "foreign alone"])
def test_mcap_as_other_writers_leave_it(tmp_path, kind):
    bare = {"use_chunking": False, "index_types": IndexType.NONE, "use_statistics": False, "repeat_channels": False}
    options = {"fastwrite": bare, "zstd": {"compression": CompressionType.ZSTD}}
    with (tmp_path / "x.mcap").open("wb") as file:
        writer = McapWriter(file, **options.get(kind, {"compression": CompressionType.LZ4}))
        writer.start(profile="" if kind == "no profile" else "ros2", library="foxglove")
        if kind != "foreign alone":
            schema = writer.register_schema(PICTURE, "ros2msg", schema_text(STORE, PICTURE).encode())
            channel = writer.register_channel("/eye/compressed", "cdr", schema)
            header = STORE.types["std_msgs/msg/Header"](STORE.types["builtin_interfaces/msg/Time"](1, 0), "")
            message = STORE.types[PICTURE](header, "jpeg", np.zeros(4, np.uint8))
            writer.add_message(channel, 1, bytes(STORE.serialize_cdr(message, PICTURE)), 1)
        if kind in ("mixed", "foreign alone"):
            event = writer.register_schema("example_interfaces/srv/AddTwoInts_Event", "ros2msg", b"")
            proto = writer.register_schema("foxglove.Log", "protobuf", b"\x0a\x80\x01")
            others = (("/log", "protobuf", proto), ("/state", "json", 0), ("/add/_service_event", "cdr", event))
            for topic, encoding, number in others[: 2 if kind == "foreign alone" else 3]:
                writer.add_message(writer.register_channel(topic, encoding, number), 1, b"{}", 1)
        writer.finish()
    if kind == "foreign alone":
        with pytest.raises(UserError, match="holds no messages of ROS 2"):
            load(tmp_path / "x.mcap")
    else:
        assert len(load(tmp_path / "x.mcap").frames) == 1


def test_a_bag_of_ros_1_is_told_how_it_is_converted(tmp_path):
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(UserError, match=r"old\.bag is not .*: rosbags-convert --src .*old\.bag --dst"):
        load(tmp_path / "old.bag")


RAW = "sensor_msgs/msg/Image"


def raw_bag(path: Path, stamps: list[tuple[int, int]], encoding: str = "rgb8") -> Path:
    """As `ros2 bag record -a` beside usb_cam: red raw pictures by (stamp, receive time) in s; a depth camera."""
    red = np.tile(np.array([255, 0, 0], np.uint8), 48 * 64)
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        for topic, number in (("/image_raw", 1), ("/camera/depth/image_rect_raw", 3)):
            connection = writer.add_connection(topic, RAW, typestore=STORE)
            for sec, received in stamps * number:
                header = STORE.types["std_msgs/msg/Header"](STORE.types["builtin_interfaces/msg/Time"](sec, 0), "eye")
                kind = encoding if topic == "/image_raw" else "16UC1"
                picture = STORE.types[RAW](header, 48, 64, kind, 0, 192, red)
                writer.write(connection, received * 10**9, STORE.serialize_cdr(picture, RAW))
    return path


def test_raw_pictures_of_a_foreign_bag(tmp_path):
    bag = raw_bag(tmp_path / "raw", [(1, 1), (2, 2)])
    recording = load(bag, raw_to_jpeg)
    assert [stamp for stamp, _ in recording.frames] == [1, 2]
    blue, green, red = cv2.imdecode(np.frombuffer(recording.frames[0][1], np.uint8), cv2.IMREAD_COLOR)[20, 20]
    assert red > 240
    assert max(blue, green) < 15
    with pytest.raises(UserError, match=r"neither pictures nor scores: it has /image_raw \(sensor_msgs/msg/Image\)"):
        load(bag)


def test_pictures_that_cannot_be_read_are_left_out_with_a_word(tmp_path, caplog):
    with pytest.raises(UserError, match="neither pictures nor scores"):
        load(raw_bag(tmp_path / "raw", [(1, 1)], "h264"), raw_to_jpeg)
    assert "1 messages were left out, the first because of encoding: unknown 'h264'" in caplog.text


def test_stamps_of_zero_and_a_clock_that_is_set_meanwhile(tmp_path):
    """Drivers that leave the stamp empty; a Raspberry Pi without a clock that meets its time server."""
    zero = load(raw_bag(tmp_path / "zero", [(0, 5), (0, 6)]), raw_to_jpeg)
    assert [stamp for stamp, _ in zero.frames] == [5, 6]
    jump = load(raw_bag(tmp_path / "jump", [(1, 1), (2, 2), (1_800_000_000, 3), (1_800_000_001, 4)]), raw_to_jpeg)
    assert sum(1 for _ in frames(jump, 0.1)) == 8  # the last picture of the old time stands still for a minute


def test_a_damaged_picture_repeats_the_one_before(tmp_path):
    recording = load(raw_bag(tmp_path / "raw", [(1, 1), (2, 2), (3, 3)]), raw_to_jpeg)
    recording.frames[1] = (2.0, b"\xff\xd8 cut off")
    assert len({picture.shape for picture in frames(recording, 1.0)}) == 1
    recording.frames = [(1.0, b"\0\0\0\1\x67 H.264")]
    with pytest.raises(UserError, match="none of 1 pictures decodes: the first begins with 00000001"):
        list(frames(recording, 1.0))


def test_image_transports_other_topics_are_no_pictures():
    there = {"/eye/compressedDepth": 9, "/eye/zstd": 8, "/depth/compressed": 7, "/eye/compressed": 6}
    assert camera_topic({topic: (PICTURE, number) for topic, number in there.items()}) == "/eye/compressed"


def test_what_a_bag_without_pictures_holds_is_said(tmp_path):
    with pytest.raises(UserError, match=r"neither pictures nor scores: it has /speech \(std_msgs/msg/String\)"):
        load(write(tmp_path / "words.mcap", 3))


@pytest.mark.parametrize("content", [b"", b"\x89MCAP0\r\n", b"not a bag at all" * 9])
def test_what_is_no_bag_is_named(tmp_path, content):
    path = tmp_path / "x.mcap"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.mcap"):
        list(read_bag(path))
    with pytest.raises(UserError, match="is no rosbag2"):
        list(read_bag(Path(shutil.copytree(tmp_path, tmp_path.parent / "empty", ignore=lambda *_: ["x.mcap"]))))
    shutil.rmtree(tmp_path.parent / "empty")
