"""MCAP files that were cut off, lost pages, or hold other systems' messages too: a new file of what ROS can read."""

import contextlib
import logging
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer

from emo_face.core.errors import UserError

log = logging.getLogger(__name__)

MAGIC = b"\x89MCAP0\r\n"  # MCAP specification, "Magic": at the start and at the end
ROS = ("ros2msg", "ros2idl", "omgidl", "")
"""Encodings of schemas that rosbags reads; recorders of Foxglove put protobuf, JSON and flatbuffer into one file."""
FOOTER = struct.Struct("<BQQQI8s")
"""MCAP specification, "Footer (op=0x02)": opcode, length, start of the summary, of its offsets, CRC-32; magic."""


def is_whole(path: Path) -> bool:
    """Whether an MCAP file has its end and a sound index. Raises UserError if it is none or cannot be read."""
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise UserError(f"{path} is not an MCAP file")
            if file.seek(0, 2) < len(MAGIC) + FOOTER.size:
                return False
            file.seek(-FOOTER.size, 2)
            opcode, length, start, _, crc, magic = FOOTER.unpack(file.read())
            if (opcode, length, magic) != (2, 20, MAGIC):
                return False
            file.seek(min(start, file.tell()))
            # it covers the summary and, of the footer, all but itself; 0: there is none
            return not (start and crc) or zlib.crc32(file.read()[: -4 - len(MAGIC)]) == crc
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def repair(path: Path, spare: Path) -> Path:
    """Write what can be read of ``path`` beside it as ``NAME.repaired.mcap``, or into ``spare`` if that cannot be.

    Raises:
        UserError: not one message can be read.
    """
    for target in (path.with_suffix(".repaired.mcap"), spare / f"{path.stem}.repaired.mcap"):
        try:
            with target.open("wb") as file:
                count, why = _copy(path, Writer(file, compression=CompressionType.NONE))
        except OSError as error:
            log.debug("%s: %s", target, error)
            with contextlib.suppress(OSError):  # half of it is in the way of a disk that is full
                target.unlink()
            continue
        if not count:
            target.unlink()
            raise UserError(f"{path} was cut off before its first whole message ({why})")
        log.warning("%s was cut off (%s): %d messages of it are whole, now in %s", path, why, count, target)
        return target
    raise UserError(f"{path} was cut off, and there is no room to repair it")


def ros_part(path: Path, spare: Path) -> Path:
    """Write the ROS messages of a whole file into ``spare``. Raises UserError if there are none."""
    target = spare / path.name
    try:
        with target.open("wb") as file:
            count, _ = _copy(path, Writer(file, compression=CompressionType.NONE))
    except OSError as error:
        raise UserError(f"{path} holds messages of other systems, and {target} has no room: {error.strerror}") from None
    if not count:
        raise UserError(f"{path} holds no messages of ROS 2 (CDR), only of other systems")
    log.warning("%s is not of ROS 2 alone: what ROS 2 wrote is read", path)
    return target


def _copy(path: Path, writer: Writer) -> tuple[int, str]:
    """(number of messages copied, why no more)."""
    writer.start(profile="ros2", library="emo_face")
    schemas: dict[int, int] = {0: 0}
    channels: dict[int, int] = {}
    count, why = 0, "no end mark"
    with path.open("rb") as file:
        # a power loss may leave zeros inside a chunk: its checksum tells
        records = StreamReader(file, validate_crcs=True, record_size_limit=path.stat().st_size).records
        while True:
            try:
                record = next(records, None)
            except Exception as error:  # mcap, struct, zstd and lz4 each have their own for a file that ends early
                why = type(error).__name__
                break
            if record is None:
                break
            if isinstance(record, Schema) and record.id not in schemas and record.encoding in ROS:
                schemas[record.id] = writer.register_schema(record.name, record.encoding, record.data)
            elif isinstance(record, Channel) and record.id not in channels and _is_ros(record, schemas):
                channels[record.id] = writer.register_channel(
                    record.topic, record.message_encoding, schemas[record.schema_id], record.metadata
                )
            elif isinstance(record, Message) and record.channel_id in channels:
                channel = channels[record.channel_id]
                writer.add_message(channel, record.log_time, record.data, record.publish_time, record.sequence)
                count += 1
    writer.finish()
    return count, why


def _is_ros(channel: Channel, schemas: Mapping[int, int]) -> bool:
    return channel.message_encoding == "cdr" and channel.schema_id in schemas
