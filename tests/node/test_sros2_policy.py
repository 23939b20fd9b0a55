"""The SROS 2 policy allows what the nodes do, and beyond that only what their options add."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import four_nodes
from four_nodes import NODES

from emo_face.core.paths import share_dir

# (node, rule, name) of things that a parameter, or simulated time, adds to the graph.
OPTIONAL = {
    ("camera", "publish", "/camera/image_raw/compressed"),
    ("perception", "publish", "/humans/*"),
    ("perception", "publish", "/tf"),
    ("perception", "subscribe", "/humans/*"),
    ("perception", "subscribe", "/camera/camera_info"),
    ("perception", "reply", "/perception/ask"),
    ("perception", "execute", "/perception/ask"),
    ("expression", "subscribe", "/camera/image_raw"),
    ("expression", "publish", "/robot_face/expression"),
    ("expression", "subscribe", "/humans/*"),
    ("expression", "reply", "/expression/ask"),
    ("expression", "execute", "/expression/ask"),
    ("face_driver", "publish", "/face/joint_trajectory"),
    ("face_driver", "subscribe", "/robot_face/expression"),
    ("face_driver", "subscribe", "/robot_face/look_at"),
    ("face_driver", "subscribe", "/tts/visemes"),
}
EVERYWHERE = {"/clock", "/parameter_events"}  # heard where use_sim_time is set


def allowed() -> set[tuple[str, str, str]]:
    policy = ElementTree.parse(share_dir() / "config" / "sros2_policy.xml").getroot()
    return {
        (profile.attrib["node"], rule, item.text.replace("~", f"/{profile.attrib['node']}"))
        for profile in policy.iter("profile")
        for group in profile
        for rule in group.attrib
        for item in group
    }


def done(graph: Any) -> set[tuple[str, str, str]]:
    return {row[:3] for row in four_nodes.done(graph)}


def test_the_policy_allows_what_runs_and_no_more(graph: Any) -> None:
    four_nodes.start(graph)
    rules = {row for row in allowed() if row[0] in NODES}
    needed = {row for row in rules - OPTIONAL if row[1] != "subscribe" or row[2] not in EVERYWHERE}
    needed = {row for row in needed if not row[2].endswith("/get_type_description")}  # from Iron on
    graph.until(lambda: needed <= done(graph), why="not everything in the policy runs")
    assert done(graph) - rules == set()


def test_a_manager_may_take_the_nodes_through_their_lifecycle() -> None:
    asked = {name for node, rule, name in allowed() if (node, rule) == ("lifecycle_manager", "request")}
    assert asked == {f"/{node}/{service}" for node in NODES for service in ("change_state", "get_state")}
