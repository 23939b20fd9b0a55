"""Message definitions for bags: those of ``emo_face_msgs`` as installed, and those that a bag brings along."""

from pathlib import Path
from typing import Any

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


def schema_text(store: Any, msgtype: str) -> str:
    """Definition of ``msgtype`` with all that it is made of, as MCAP keeps it (schema encoding ``ros2msg``)."""
    text, _ = store.generate_msgdef(msgtype, ros_version=2)
    return str(text)


def typestore_of(connections: Any) -> tuple[Any, set[str]]:
    """A type store for a bag, and the types of it that nobody knows.

    What the bag says about a type wins over what is installed: a type may have changed since. The common interfaces
    are those of ROS 2 itself.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    unknown = set()
    installed: dict[str, str] | None = None
    for connection in connections:
        if connection.msgtype in store.fielddefs:
            continue
        definition = connection.msgdef
        types: dict[str, Any] = {}
        try:
            if definition is not None and definition.format.name == "MSG" and definition.data.strip():
                types = get_types_from_msg(definition.data, connection.msgtype)
            else:
                installed = installed if installed is not None else _installed()
                for name, text in installed.items():
                    types.update(get_types_from_msg(text, name))
            store.register({name: fields for name, fields in types.items() if name not in store.fielddefs})
        except Exception as error:  # rosbags: any of several for a definition that is broken; the topic is passed by
            unknown.add(f"{connection.msgtype} ({type(error).__name__})")
        if connection.msgtype not in store.fielddefs:
            unknown.add(connection.msgtype)
    return store, unknown


def _installed() -> dict[str, str]:
    try:
        return message_definitions()
    except UserError:
        return {}
