"""Camera and speech in, emotion scores and a moving face out.

    ros2 launch emo_face bringup.launch.py
    ros2 launch emo_face bringup.launch.py source:=talk.mp4 image:=/my_camera/image_raw camera:=false

Each node is a process of its own, taken through configure and activate from here, started again when it dies.
`autostart:=false` leaves the lifecycle to a manager of yours (the nodes then stay unconfigured).
"""

from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from emo_face.core.paths import share_dir
from emo_face.ros.supervision.graph import GRAPH
from launch import LaunchContext, LaunchDescription

ARGUMENTS = {
    "params_file": (str(share_dir() / "config" / "emo_face.yaml"), "ROS parameter file of all nodes"),
    "namespace": ("", "namespace of all nodes"),
    "source": ("", "what the camera node reads: webcam index, video, picture or folder; empty: as in params_file"),
    "image": ("camera/image_raw", "image topic"),
    "speech": ("speech/text", "topic of what was said"),
    "autostart": ("true", "configure and activate the nodes from here"),
    "log_level": ("info", "debug, info, warn or error"),
    **{spec.name: ("true", f"start the {spec.name} node") for spec in GRAPH},
}


def lifecycle_of(node: LifecycleNode) -> list[RegisterEventHandler]:
    """Configure when the process starts (also after a respawn), activate when configured."""

    def ask(transition: int) -> EmitEvent:
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))

    configure = OnProcessStart(target_action=node, on_start=[ask(Transition.TRANSITION_CONFIGURE)])
    activate = OnStateTransition(
        target_lifecycle_node=node,
        start_state="configuring",
        goal_state="inactive",
        entities=[ask(Transition.TRANSITION_ACTIVATE)],
    )
    return [RegisterEventHandler(configure), RegisterEventHandler(activate)]


def bring_up(context: LaunchContext) -> list:
    """The nodes that the arguments ask for."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    actions = []
    for spec in GRAPH:
        if not is_true(given[spec.name]):
            continue
        source = [{"source": given["source"]}] if spec.name == "camera" and given["source"] else []
        node = LifecycleNode(
            package="emo_face",
            executable=spec.executable,
            name=spec.name,
            namespace=given["namespace"],
            parameters=[given["params_file"], *source],
            remappings=[("image", given["image"]), ("speech", given["speech"])],
            arguments=["--ros-args", "--log-level", given["log_level"]],
            respawn=True,
            respawn_delay=2.0,
            output="screen",
        )
        actions += [*(lifecycle_of(node) if is_true(given["autostart"]) else []), node]
    return actions


def is_true(text: str) -> bool:
    return text.strip().lower() in ("true", "1", "yes", "on")


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=bring_up)])
