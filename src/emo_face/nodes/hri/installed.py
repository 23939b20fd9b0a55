"""ROS4HRI's messages and tf2, if they are installed; otherwise a message for the user."""

from typing import Any

from rclpy.node import Node

from emo_face.core.errors import ConfigError

GET = "sudo apt-get install ros-$ROS_DISTRO-{package}, or ROS4HRI_SOURCE=FOLDER scripts/setup.sh ros4hri"


def hri_messages(parameter: str, instead: str = "set it to false") -> Any:
    """``hri_msgs.msg``. Raises ConfigError naming the parameter that needs it, what brings it, and what else to do."""
    try:
        import hri_msgs.msg
    except ImportError:
        raise ConfigError(f"{parameter} needs hri_msgs: {GET.format(package='hri-msgs')}, or {instead}") from None
    return hri_msgs.msg


def tf_message() -> Any:
    """``tf2_msgs.msg.TFMessage``, or None if it is not installed."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        return None
    return TFMessage


def tf_buffer(node: Node) -> Any:
    """A tf2_ros buffer that ``node`` fills from now on. Raises LookupError naming the command that brings tf2_ros."""
    try:
        from tf2_ros import Buffer, TransformListener
    except ImportError:
        raise LookupError(
            "tf2_ros is not installed: sudo apt-get install ros-$ROS_DISTRO-tf2-ros-py, or send points in that frame"
        ) from None
    buffer = Buffer()
    buffer.listener = TransformListener(buffer, node)  # ends its subscriptions when nobody holds it
    return buffer
