"""Camera and speech in, emotion scores and a moving face out.

    ros2 launch emo_face bringup.launch.py
    ros2 launch emo_face bringup.launch.py source:=talk.mp4 image:=/my_camera/image_raw camera:=false

Starts `emo-face up`, the one manager of the graph: it takes each node, a process of its own, through configure and
activate, waits for what is not there yet, and replaces what dies or hangs. It hands on what this launch file is
included with (namespaces, SetRemap, SetParameter), and keeps DDS on this host for its own nodes only, unless
`network:=true`. `autostart:=false` leaves the lifecycle to a manager of yours; `compose:=true` puts all nodes but the
face driver into one process. A node that is given up, at once or later, makes `ros2 launch` end with 1 when it ends;
`required:=true` makes it end then.
"""

import os
import sys
from collections.abc import Collection
from difflib import get_close_matches

from launch.actions import DeclareLaunchArgument, OpaqueFunction, TimerAction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from emo_face.cli import up
from emo_face.core.errors import ConfigError
from emo_face.core.paths import share_dir
from emo_face.ros.supervision.graph import NODE_NAMES
from emo_face.runtime.process import PARENT
from launch import LaunchContext, LaunchDescription

ARGUMENTS = {
    "params_file": (str(share_dir() / "config" / "emo_face.yaml"), "ROS parameter file of all nodes"),
    "namespace": ("", "namespace of all nodes"),
    "source": ("", "what the camera node reads: webcam index, video, picture or folder; empty: as in params_file"),
    "also": ("", "further cameras, NAME=SOURCE or NAME=topic:/its/image_raw each, with spaces between"),
    "tier": ("", "nano, medium or full, of the whole graph; empty: as in params_file"),
    "image": ("camera/image_raw", "image topic"),
    "speech": ("speech/text", "topic of what was said"),
    "autostart": ("true", "configure and activate the nodes from here"),
    "compose": ("false", "camera, perception and expression in one process: less memory, sooner"),
    "network": ("false", "let other hosts take part in the graph"),
    "dashboard": ("", "port of the dashboard; empty: none"),
    "views": ("false", "people as RViz markers and as an overlay for Foxglove's image panel"),
    "exit_on_end": ("false", "end when the camera's source has ended"),
    "log_level": ("info", "debug, info, warn or error"),
    "required": ("false", "end the whole launch, with an error, when a node is given up"),
    **{name: ("true", f"start the {name} node") for name in NODE_NAMES},
}
SHORTHANDS = {
    "port": ("face_driver.screen.port", "port of the face page"),
    "theme": ("face_driver.screen.theme", "face on the page"),
    "rig": ("face_driver.rig", "motors of the face"),
    "rig_driver": ("face_driver.rig_driver", "what moves them instead of the rig's own driver: sim, mock, ..."),
    "perspective": ("expression.perspective", "mirror or listener"),
}
TRUTHS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)
RESTART_DELAY = 2.0  # s


def words_of(given: dict[str, str]) -> list[str]:
    """The arguments of `emo-face up`."""
    wanted = {name: is_true(name, given[name]) for name, (default, _) in ARGUMENTS.items() if default in TRUTHS}
    without = [name for name in NODE_NAMES if not wanted[name]]
    words = ["--params", given["params_file"], *(["--without", ",".join(without)] if without else [])]
    words += ["--log-level", given["log_level"]]
    for name in ("namespace", "source", "tier"):
        words += [f"--{name}", given[name]] if given[name] else []
    words += [word for camera in given["also"].split() for word in ("--also", camera)]
    for flag, on in (
        ("--network", wanted["network"]),
        ("--compose", wanted["compose"]),
        ("--no-autostart", not wanted["autostart"]),
        ("--exit-on-end", wanted["exit_on_end"]),
    ):
        words += [flag] if on else []
    words += ["--dashboard", given["dashboard"]] if given["dashboard"] else []
    for name, (parameter, _) in SHORTHANDS.items():
        words += ["--set", f"{parameter}={given[name]}"] if given[name] else []
    return words


def bring_up(context: LaunchContext) -> list:
    """The manager, started again if it is killed."""
    given = {name: LaunchConfiguration(name).perform(context) for name in (*ARGUMENTS, *SHORTHANDS)}
    refuse_unknown(sys.argv, given)
    words = words_of(given)
    up.commands(up.parse(words))  # a mistake is named before anything starts, and ends the launch with an error

    def ended(event, context) -> list:
        if event.returncode < 0 and not context.is_shutdown:
            return [TimerAction(period=RESTART_DELAY, actions=[OpaqueFunction(function=bring_up)])]
        if event.returncode and is_true("required", given["required"]):
            raise RuntimeError("emo_face is required and has been given up; its log above says why")
        if event.returncode and not context.is_shutdown:
            # whatever else this launch runs goes on; `ros2 launch` ends with an error when it ends
            text = "emo_face has been given up; its log above says why"
            context.asyncio_loop.call_exception_handler({"message": text})
        return []

    return [
        Node(
            package="emo_face",
            executable="bringup",
            arguments=words,
            remappings=[("image", given["image"]), ("speech", given["speech"])],
            additional_env={PARENT: str(os.getpid())},
            sigterm_timeout="15",  # the face eases to neutral first
            output="screen",
            on_exit=ended,
        )
    ]


def is_true(name: str, text: str) -> bool:
    """Raises ConfigError for anything but yes and no."""
    if text.strip().lower() not in TRUTHS:
        raise ConfigError(f"{name}:={text}: expected true or false")
    return TRUTHS[text.strip().lower()]


def refuse_unknown(typed: list[str], known: Collection[str]) -> None:
    """Raises ConfigError for a word of ``ros2 launch ... bringup.launch.py`` that launch itself would pass over.

    Not if another launch file includes this one: its arguments are not known here.
    """
    if not any(word.endswith("bringup.launch.py") for word in typed):
        return
    for name in (word.partition(":=")[0] for word in typed if ":=" in word):
        if name not in known:
            near = "".join(f"; did you mean {guess}:=?" for guess in get_close_matches(name, known, 1))
            raise ConfigError(f"{name}:= is no argument of this launch file{near} (--show-args lists them)")


def generate_launch_description() -> LaunchDescription:
    declared = {**ARGUMENTS, **{n: ("", f"{text}; empty: as in params_file") for n, (_, text) in SHORTHANDS.items()}}
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in declared.items()
    ]
    views = Node(
        package="emo_face",
        executable="views_node",
        namespace=LaunchConfiguration("namespace"),
        condition=IfCondition(LaunchConfiguration("views")),
        additional_env={PARENT: str(os.getpid())},
        output="screen",
    )
    return LaunchDescription([*arguments, OpaqueFunction(function=bring_up), views])
