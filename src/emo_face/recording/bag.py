"""Write and read rosbag2 MCAP files with `rosbags`: no ROS installation needed to read one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from emo_face.core.errors import UserError


def message_definitions() -> dict[str, str]:
    """Type name -> .msg text of ``emo_face_msgs``, from where it is installed.

    Raises:
        UserError: the package is not built.
    """
    try:
        import emo_face_msgs
    except ImportError:
        raise UserError(
            "emo_face_msgs is not built: run scripts/setup.sh, or colcon build in ros2_ws and source it"
        ) from None
    package = Path(emo_face_msgs.__file__ or "").resolve()
    for prefix in package.parents:
        folder = prefix / "share" / "emo_face_msgs" / "msg"
        if folder.is_dir():
            return {f"emo_face_msgs/msg/{f.stem}": f.read_text(encoding="utf-8") for f in sorted(folder.glob("*.msg"))}
    raise UserError(f"no share/emo_face_msgs/msg above {package}: build emo_face_msgs again")


def typestore() -> Any:
    """A `rosbags` type store that knows the common interfaces and ``emo_face_msgs``."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for name, text in message_definitions().items():
        types.update(get_types_from_msg(text, name))
    store.register(types)
    return store


class BagWriter:
    """Write serialised messages to one ``.mcap`` file. Use as a context manager.

    `rosbags` writes a rosbag2 folder; on closing, its storage file takes the place of ``path`` and the
    folder's ``metadata.yaml`` is dropped: MCAP carries all of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = path.with_name(f".{path.name}.part")
        self._store = typestore()
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> BagWriter:
        shutil.rmtree(self._folder, ignore_errors=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = Writer(self._folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        return self

    def write(self, topic: str, msgtype: str, stamp_ns: int, data: bytes) -> None:
        """Append one CDR-serialised message of type ``pkg/msg/Name``."""
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, msgtype, typestore=self._store)
        self._writer.write(self._connections[topic], stamp_ns, data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        storage = next(self._folder.glob("*.mcap"))
        storage.replace(self.path)
        shutil.rmtree(self._folder, ignore_errors=True)


def read_bag(path: Path, topics: set[str] | None = None) -> Iterator[tuple[str, int, Any]]:
    """Yield (topic, receive time in ns, message) in the order of time.

    Raises:
        UserError: no such file, or not a bag.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist")
    store = typestore()
    try:
        with Reader(path) as reader:
            wanted = [c for c in reader.connections if topics is None or c.topic in topics]
            for connection, stamp, data in reader.messages(connections=wanted):
                yield connection.topic, stamp, store.deserialize_cdr(data, connection.msgtype)
    except UserError:
        raise
    except Exception as error:
        if type(error).__module__.startswith("rosbags"):
            raise UserError(f"{path} is not a readable rosbag2 file: {error}") from error
        raise
