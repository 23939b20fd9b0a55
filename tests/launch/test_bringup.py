"""`ros2 launch emo_face bringup.launch.py` for real, where launch is installed; CONTRIBUTING.md says how to get it."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="run scripts/setup.sh")
pytest.importorskip("launch_ros", reason="launch_ros is not on PyPI: scripts/setup_launch.sh, or a ROS distribution")
pytest.importorskip("ros2launch", reason="ros2launch is not on PyPI: scripts/setup_launch.sh, or a ROS distribution")

from emo_face.bench.probes.machine import command_of, descendants
from emo_face.core.errors import ConfigError

LAUNCH_FILE = Path(__file__).resolve().parents[2] / "launch" / "bringup.launch.py"
DOMAIN = 62
OTHER = "import os, time\nwhile not os.path.exists({!r}): time.sleep(0.1)\nprint('the other one ended by itself')"
pytestmark = pytest.mark.ros


def bringup():
    spec = importlib.util.spec_from_file_location("bringup", LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def description():
    return bringup().generate_launch_description()


def test_arguments_become_words_of_emo_face_up():
    module = bringup()
    given = {name: default for name, (default, _) in module.ARGUMENTS.items()} | dict.fromkeys(module.SHORTHANDS, "")
    assert "--compose" not in module.words_of(given)
    words = module.words_of(given | {"compose": "true", "camera": "false", "port": "0"})
    assert {"--compose", "--without", "camera", "face_driver.screen.port=0"} <= set(words)


def test_what_launch_would_pass_over_is_refused_with_the_nearest_name():
    module = bringup()
    known = (*module.ARGUMENTS, *module.SHORTHANDS)
    typed = ["/opt/ros/bin/ros2", "launch", "emo_face", "bringup.launch.py", "port:=0"]
    module.refuse_unknown(typed, known)
    module.refuse_unknown(["ros2", "launch", "mine", "robot.launch.py", "sorce:=0"], known)
    with pytest.raises(ConfigError, match=r"sorce:= is no argument.*did you mean source:="):
        module.refuse_unknown([*typed, "sorce:=0"], known)
    assert module.is_true("compose", " ON ")
    with pytest.raises(ConfigError, match="compose:=ture: expected true or false"):
        module.is_true("compose", "ture")


def test_every_argument_explains_itself():
    arguments = {argument.name: argument for argument in description().get_launch_arguments()}
    named = {
        "params_file",
        "source",
        "image",
        "speech",
        "namespace",
        "autostart",
        "camera",
        "port",
        "tier",
        "dashboard",
        "views",
    }
    assert named <= set(arguments)
    assert all(argument.description for argument in arguments.values())


@pytest.fixture
def launch(tmp_path, monkeypatch):
    """``launch(*words, file=...)``: `ros2 launch` with these words; its output goes to ``launch.log``."""
    import cv2

    picture = tmp_path / "grey.png"
    cv2.imwrite(str(picture), np.full((48, 64, 3), 90, np.uint8))
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
    started = []
    log = tmp_path / "launch.log"

    def start(*words: str, file: Path = LAUNCH_FILE) -> subprocess.Popen:
        ros2 = Path(sys.executable).with_name("ros2")
        command = [str(ros2 if ros2.exists() else "ros2"), "launch", str(file), "port:=0", *words]
        command = [word.replace("PICTURE", str(picture)) for word in command]
        with log.open("wb") as output:
            started.append(subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True))
        return started[-1]

    start.log = log
    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def until(condition, seconds: float = 60.0, log: Path | None = None) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s; {log.read_text() if log else ''}")
        time.sleep(0.1)


def says(launch, text: str) -> bool:
    return text in launch.log.read_text(errors="replace")


def nodes_of(process: subprocess.Popen) -> dict[str, int]:
    """{node: pid} below `ros2 launch`."""
    found = {}
    for pid in descendants(process.pid):
        for word in command_of(pid).split():
            if word.startswith("emo_face.nodes."):
                found[word.rsplit(".", 1)[1]] = pid
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_all_become_active_are_replaced_and_end_cleanly(launch):
    process = launch("source:=PICTURE")
    until(lambda: says(launch, "all 4 nodes active"), log=launch.log)
    first = nodes_of(process)
    assert set(first) == {"camera", "perception", "expression", "face_driver"}
    os.kill(first["camera"], signal.SIGSTOP)  # hangs
    until(lambda: nodes_of(process).get("camera", first["camera"]) != first["camera"], log=launch.log)
    until(lambda: launch.log.read_text().count("all 4 nodes active") == 2, log=launch.log)
    process.send_signal(signal.SIGINT)
    process.wait(30)
    assert says(launch, "process has finished cleanly"), launch.log.read_text()
    assert not any(map(alive, nodes_of(process).values()))
    assert "Traceback" not in launch.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_killed_launch(launch, number):
    process = launch("source:=PICTURE", "perception:=false", "expression:=false")
    until(lambda: says(launch, "all 2 nodes active"), log=launch.log)
    pids = nodes_of(process).values()
    process.send_signal(number)
    until(lambda: not any(map(alive, pids)), 20.0, launch.log)


def test_a_webcam_that_is_not_there_is_waited_for(launch):
    launch("source:=77", "perception:=false", "expression:=false")
    until(lambda: says(launch, "1 of 2 nodes active; camera waiting (webcam 77: cannot be opened"), log=launch.log)


def test_a_killed_manager_is_started_again(launch):
    process = launch("source:=PICTURE", "perception:=false", "expression:=false", "face_driver:=false")
    until(lambda: says(launch, "all 1 nodes active"), log=launch.log)
    manager = next(pid for pid in descendants(process.pid) if "--params" in command_of(pid))
    os.kill(manager, signal.SIGKILL)
    until(lambda: launch.log.read_text().count("all 1 nodes active") == 2, log=launch.log)


@pytest.mark.parametrize(
    "word", ["log_level:=loud", "namespace:=a!b", "params_file:=/none", "port:=high", "compose:=ture", "sorce:=0"]
)
def test_a_mistake_is_one_line_and_an_error(launch, word):
    process = launch("source:=PICTURE", word)
    assert process.wait(30) != 0
    errors = [line for line in launch.log.read_text().splitlines() if "ERROR" in line]
    assert len(errors) == 1, errors
    assert "Traceback" not in launch.log.read_text()


INCLUDING = """
from launch import LaunchDescription
from launch.actions import ExecuteProcess, GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace, SetParameter, SetRemap

def generate_launch_description():
    mine = {{"source": "{picture}", "port": "0", "perception": "false", "expression": "false"}}
    include = IncludeLaunchDescription(PythonLaunchDescriptionSource("{file}"), launch_arguments=mine.items())
    group = [PushRosNamespace("robot"), SetRemap("face/blendshapes", "face/shapes"), SetParameter("frame_id", "eye")]
    other = ExecuteProcess(cmd=["env"], output="screen")
    return LaunchDescription([GroupAction([*group, include]), other])
"""


def test_an_including_launch_file_keeps_its_say_and_its_network(launch, tmp_path):
    file = tmp_path / "robot.launch.py"
    file.write_text(INCLUDING.format(picture=tmp_path / "grey.png", file=LAUNCH_FILE))
    process = launch(file=file)
    until(lambda: says(launch, "all 2 nodes active"), log=launch.log)
    from rclpy.context import Context

    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = rclpy.create_node("observer", context=context)
    try:
        until(lambda: "/robot/camera/image_raw" in dict(node.get_topic_names_and_types()), 20.0, launch.log)
        until(lambda: "/robot/face/shapes" in dict(node.get_topic_names_and_types()), 20.0, launch.log)
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
        context.destroy()
    assert "frame_id:=eye" in command_of(nodes_of(process)["camera"])
    others = launch.log.read_text()
    assert "FASTDDS_DEFAULT_PROFILES_FILE" not in others
    assert "[env-" in others


def test_a_node_that_is_given_up_later_is_an_error_too(launch, tmp_path):
    """Not found by looking at the words: the node itself refuses its parameters. What else is launched goes on."""
    bad, whole = tmp_path / "bad.yaml", tmp_path / "whole.launch.py"
    bad.write_text("camera:\n  ros__parameters:\n    rate: -5.0\n")
    whole.write_text(
        "import sys\n"
        "from launch import LaunchDescription\n"
        "from launch.actions import ExecuteProcess, IncludeLaunchDescription\n"
        "def generate_launch_description():\n"
        f"    ours = IncludeLaunchDescription({str(LAUNCH_FILE)!r}, launch_arguments=[('source', '0'),\n"
        f"        ('params_file', {str(bad)!r}), ('perception', 'false'), ('expression', 'false'), ('port', '0')])\n"
        f"    cmd = [sys.executable, '-c', {OTHER.format(str(tmp_path / 'go'))!r}]\n"
        "    other = ExecuteProcess(cmd=cmd, output='screen')\n"
        "    return LaunchDescription([ours, other])\n"
    )
    process = launch(file=whole)
    until(lambda: says(launch, "emo_face has been given up; its log above says why"), log=launch.log)
    assert process.poll() is None, "the other one is still there"
    (tmp_path / "go").touch()
    assert process.wait(30) == 1
    assert says(launch, "the other one ended by itself")
    assert "Traceback" not in launch.log.read_text()
