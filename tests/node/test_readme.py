"""The README's example and the tables that it leads to, held against the running code."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import four_nodes
import pytest
from four_nodes import NODES

from emo_face.cli.main import verbs

DIRECTIONS = {"publish": "out", "subscribe": "in", "reply": "service"}
ROOT = Path(__file__).resolve().parents[2]
README, TOPICS, VERBS = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/ros.md", "docs/cli.md")
)
REMAPPED = re.compile(r"`([\w/]+)` \(→ `([\w/]+)`\)")
PLUMBING = re.compile(
    r"rosout|parameter|transition|get_state|get_available|change_state|describe|list_|set_|type_description|logger"
)


def documented() -> set[tuple[str, str, str, str]]:
    """(node, direction, full name, type) of every row of the table in docs/ros.md; "every node" is spelled out."""
    rows = set()
    for line in TOPICS.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 4 or cells[1] not in DIRECTIONS.values():
            continue
        name = REMAPPED.sub(r"`\2`", cells[2]).strip("`")
        nodes = NODES if cells[0] == "every node" else [cells[0].strip("`")]
        for node in nodes:
            full = name.replace("<node>", node)
            rows.add((node, cells[1], full if full.startswith("/") else f"/{full}", cells[3].strip("`")))
    return rows


def running(graph) -> set[tuple[str, str, str, str]]:
    """The same of nodes that really run, without ROS's own plumbing."""
    return {
        (node, DIRECTIONS[rule], name, kind)
        for node, rule, name, kind in four_nodes.done(graph)
        if rule in DIRECTIONS and not PLUMBING.search(name.split("/")[-1]) and name != "/clock"
    }


def test_topics_and_services_are_those_of_the_code(graph):
    four_nodes.start(graph, publish="both")
    graph.until(lambda: len({row[0] for row in running(graph)}) == len(NODES), why="nodes not discovered")
    deadline = time.monotonic() + 5.0
    while documented() - running(graph) and time.monotonic() < deadline:
        graph.executor.spin_once(timeout_sec=0.1)
    assert running(graph) == documented()


def test_every_verb_is_in_the_table():
    named = set(re.findall(r"`emo-face ([\w|-]+)", VERBS)) | set(re.findall(r"/ `([\w-]+)`", VERBS))
    assert {verb for verb in verbs() if verb not in named} == set()


def test_the_example_prints_what_it_hears_and_ends_quietly(graph):
    from emo_face_msgs.msg import EmotionScores, EmotionScoresArray

    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    assert len([line for line in code.splitlines() if line]) <= 16
    script = code.replace("rclpy.init()", f"rclpy.init(domain_id={graph.domain})").replace(
        ':.2f}")', ':.2f}", flush=True)'
    )
    publisher = graph.helper.create_publisher(EmotionScoresArray, "/emotion/scores", 5)
    for end in (signal.SIGINT, signal.SIGTERM):
        listener = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            graph.until(lambda: publisher.get_subscription_count() > 0, 20.0, "the example does not subscribe")
            labels = {"labels": ["Happy", "Sad"], "probabilities": [0.75, 0.25]}
            seen = EmotionScores(person_id="p00001", top="Happy", quality=0.5, **labels)
            unknown = EmotionScores(person_id="p00002", labels=["Happy", "Sad"], probabilities=[0.5, 0.5])
            publisher.publish(EmotionScoresArray(people=[seen, unknown]))
            assert listener.stdout.readline().strip() == "p00001: Happy 75%, quality 0.50"
            assert listener.stdout.readline().strip() == "p00002: unknown, quality 0.00"
            listener.send_signal(end)
            said = listener.communicate(timeout=10)[1]
            assert "Traceback" not in said, said
            graph.until(lambda: publisher.get_subscription_count() == 0, 20.0, "the example did not go")
        finally:
            listener.kill()
            listener.communicate()


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists(), f"README links to {target}"


def test_the_readme_fits_two_screens():
    assert len(README.splitlines()) <= 120
