"""config/views: every topic and field that they name exists, in the structure of the tools' own files.

Foxglove: studio-base, ``defaultLayout.ts``; diagnostic_aggregator: ``example/example_analyzers.yaml``.
"""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
from diagnostic_msgs.msg import DiagnosticArray
from emo_face_msgs.msg import EmotionScoresArray, FaceExpression
from rosidl_parser.definition import AbstractNestedType, NamespacedType
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String

from emo_face.core.labels import basic7
from emo_face.ros.parameters.schema import load_schema
from emo_face.ros.supervision.graph import NODE_NAMES

VIEWS = Path(__file__).resolve().parents[3] / "config" / "views"
TOPICS = {
    "/emotion/scores": EmotionScoresArray,
    "/face/expression": FaceExpression,
    "/speech/text": String,
    "/diagnostics": DiagnosticArray,
    "/camera/image_raw/compressed": CompressedImage,
}


def leads_to_a_field(path: str) -> bool:
    """Whether ``/topic.field[0].field`` exists."""
    topic, *fields = re.sub(r"\[\d+\]", "", path).split(".")
    kind: Any = TOPICS[topic]
    for name in fields:
        of = dict(zip(kind.get_fields_and_field_types(), kind.SLOT_TYPES, strict=True)).get(name)
        if of is None:
            return False
        of = of.value_type if isinstance(of, AbstractNestedType) else of
        kind = getattr(import_module(".".join(of.namespaces)), of.name) if isinstance(of, NamespacedType) else None
    return True


def leaves(layout: Any) -> list[str]:
    return [layout] if isinstance(layout, str) else [*leaves(layout["first"]), *leaves(layout["second"])]


def test_the_foxglove_layout_shows_what_is_there() -> None:
    layout = json.loads((VIEWS / "foxglove.json").read_text())
    assert set(layout) == {"configById", "globalVariables", "userNodes", "playbackConfig", "layout"}
    assert sorted(leaves(layout["layout"])) == sorted(layout["configById"])
    paths = [path["value"] for panel in layout["configById"].values() for path in panel.get("paths", ())]
    paths += [panel["topicPath"] for panel in layout["configById"].values() if "topicPath" in panel]
    image = layout["configById"]["Image!camera"]["imageMode"]
    paths += [image["imageTopic"]]
    assert set(image["annotations"]) == {"/views/annotations"}  # foxglove-sdk: layouts, ImageModeConfig
    assert [path for path in paths if not leads_to_a_field(path)] == []
    assert not leads_to_a_field("/face/expression.smile")
    names = [path["label"] for path in layout["configById"]["Plot!scores"]["paths"]]
    assert tuple(names) == basic7().labels


def test_every_node_has_its_place_in_the_aggregator() -> None:
    told = yaml.safe_load((VIEWS / "diagnostics.yaml").read_text())["analyzers"]["ros__parameters"]
    groups = {name: group for name, group in told.items() if isinstance(group, dict)}
    assert {start for group in groups.values() for start in group["startswith"]} == set(NODE_NAMES)
    assert {group["type"] for group in groups.values()} == {"diagnostic_aggregator/GenericAnalyzer"}


def test_the_plotjuggler_layout_names_fields() -> None:
    """Curves are ``/topic/field[0]/field``: PlotJuggler's ROS 2 parser."""
    root = ElementTree.parse(VIEWS / "plotjuggler.xml").getroot()
    curves = [str(curve.get("name")) for curve in root.iter("curve")]
    topics = [next(t for t in TOPICS if curve.startswith(f"{t}/")) for curve in curves]
    paths = [f"{t}.{c.removeprefix(t)[1:].replace('/', '.')}" for t, c in zip(topics, curves, strict=True)]
    assert [path for path in paths if not leads_to_a_field(path)] == []
    first = next(area for area in root.iter("DockArea"))
    assert len(list(first.iter("curve"))) == len(basic7().labels)
    assert all(label in str(first.get("name")) for label in basic7().labels)


def test_the_rerun_layout_names_fields() -> None:
    """Selectors are jq's, on the message of a topic: rerun.io, "Plot any scalar"."""
    text = (VIEWS / "rerun_layout.py").read_text()
    topics = {"SCORES": "/emotion/scores", "ANSWER": "/face/expression"}
    rows = re.findall(r'plot\("[^"]+", "(/[^"]+)", (SCORES|ANSWER), (\w+)', text)
    selectors = dict(re.findall(r"(\w+) = \{(.+)\}\n", text))
    assert {topic == topics[component] for topic, component, _ in rows} == {True}
    for topic, _, lines in rows:
        named = re.findall(r'"(\.[\w.\[\]{}]+)"', selectors[lines])
        assert named
        assert [s for s in named if not leads_to_a_field(topic + s.replace("{i}", "0"))] == [], lines
    states = re.findall(r'states\("[^"]+", "(/[^"]+)", "(\.\w+)"\)', text)
    assert [leads_to_a_field(topic + selector) for topic, selector in states] == [True, True]
    kinds = {EmotionScoresArray: "SCORES", FaceExpression: "ANSWER"}
    assert all(f'{name} = "emo_face_msgs.msg.{kind.__name__}:message"' in text for kind, name in kinds.items())


def test_the_rviz_view_of_people_shows_the_markers() -> None:
    view = yaml.safe_load((VIEWS / "people.rviz").read_text())["Visualization Manager"]
    shown = {display["Class"].partition("/")[2]: display for display in view["Displays"]}
    assert shown["MarkerArray"]["Topic"]["Value"] == "/views/markers"
    assert view["Global Options"]["Fixed Frame"] == load_schema("camera")["frame_id"].default


def test_the_rviz_view_shows_the_head_of_the_urdf() -> None:
    """Keys as in ros/urdf_tutorial's ``urdf.rviz``."""
    view = yaml.safe_load((VIEWS / "face.rviz").read_text())["Visualization Manager"]
    robot = ElementTree.parse(VIEWS.parent / "ros2_control" / "head_25channel.urdf").getroot()
    assert view["Global Options"]["Fixed Frame"] == robot.find("link").get("name")  # type: ignore[union-attr]
    shown = {display["Class"].partition("/")[2]: display for display in view["Displays"]}
    assert shown["RobotModel"]["Description Topic"]["Value"] == "/robot_description"
    assert shown["Image"]["Topic"]["Value"] == "/perception/debug_image"
