"""Camera and speech in, emotion scores and a moving face out.

    ros2 launch emo_face bringup.launch.py
    ros2 launch emo_face bringup.launch.py source:=talk.mp4 image:=/my_camera/image_raw camera:=false

Each node is a process of its own, taken through configure and activate from here, started again when it dies.
`autostart:=false` leaves the lifecycle to a manager of yours (the nodes then stay unconfigured).
"""

from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from emo_face.core.paths import share_dir
from emo_face.ros.graph import GRAPH
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, RegisterEventHandler
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import AndSubstitution, LaunchConfiguration

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


def lifecycle_of(node: LifecycleNode, condition: IfCondition) -> list[RegisterEventHandler]:
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
    return [RegisterEventHandler(configure, condition=condition), RegisterEventHandler(activate, condition=condition)]


def bring_up(name: str, executable: str) -> list:
    """One node with its lifecycle."""
    enabled = LaunchConfiguration(name)
    node = LifecycleNode(
        package="emo_face",
        executable=executable,
        name=name,
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file"), *([{"source": LaunchConfiguration("source")}] if name == "camera" else [])],
        remappings=[("image", LaunchConfiguration("image")), ("speech", LaunchConfiguration("speech"))],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        respawn=True,
        respawn_delay=2.0,
        output="screen",
        condition=IfCondition(enabled),
    )
    autostart = IfCondition(AndSubstitution(LaunchConfiguration("autostart"), enabled))
    return [*lifecycle_of(node, autostart), node]


def generate_launch_description() -> LaunchDescription:
    arguments = [DeclareLaunchArgument(name, default_value=default, description=text) for name, (default, text) in ARGUMENTS.items()]
    nodes = [action for spec in GRAPH for action in bring_up(spec.name, spec.executable)]
    return LaunchDescription([*arguments, *nodes])
