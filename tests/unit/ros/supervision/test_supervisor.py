"""Order, words and summaries of the supervisor, over fake processes."""

from __future__ import annotations

import pytest
from managed_world import Fake, World

from emo_face.ros.supervision.managed import Phase
from emo_face.ros.supervision.supervisor import SLOW, Supervisor


class Log(list):
    def info(self, message):
        self.append(("info", message))

    def warning(self, message):
        self.append(("warning", message))

    def error(self, message):
        self.append(("error", message))


class Graph:
    """A driver and a camera, each a process."""

    def __init__(self) -> None:
        self.log, self.worlds, self.now = Log(), {"driver": World("driver"), "camera": World("camera")}, 0.0

        def start(command, output) -> Fake:
            world = self.worlds[command[0]]
            world.now = self.now
            return world.start()

        self.supervisor = Supervisor([(("driver",), ["driver"]), (("camera",), ["camera"])], self.log, start=start)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            for world in self.worlds.values():
                if world.started:
                    world.started[-1].live(self.now)
            self.supervisor.tick(self.now)

    def phase(self, name: str) -> Phase:
        return next(node.phase for node in self.supervisor.nodes if node.name == name)

    def said(self, level: str) -> list[str]:
        return [text for kind, text in self.log if kind == level]


@pytest.fixture
def graph() -> Graph:
    return Graph()


def test_one_line_when_all_are_active_and_again_after_an_outage(graph):
    graph.run(6.0)
    assert graph.said("info")[-1] == "all 2 nodes active"
    graph.run(60.0)
    assert graph.said("info").count("all 2 nodes active") == 1
    graph.worlds["camera"].started[-1].code = 1
    graph.run(10.0)
    assert graph.said("info").count("all 2 nodes active") == 2
    assert "camera: waiting: exited with code 1; restart in 0.5 s" in graph.said("warning")


def test_the_camera_starts_when_the_driver_is_active(graph):
    graph.worlds["driver"].failing = {"activate": ("error", "not yet")}
    graph.run(5.0)
    assert graph.phase("camera") is Phase.READY
    graph.worlds["driver"].failing = {}
    graph.run(10.0)
    assert graph.phase("camera") is Phase.ACTIVE


def test_one_that_waits_for_something_outside_holds_nobody_up_and_is_spoken_of(graph):
    graph.worlds["driver"].failing = {"configure": ("unavailable", "port 8765 is in use")}
    graph.run(6.0 + SLOW)
    assert graph.phase("camera") is Phase.ACTIVE
    assert graph.said("warning")[-1] == "1 of 2 nodes active; driver waiting (port 8765 is in use)"
    graph.run(100.0)
    assert len(graph.said("warning")) == 2


def test_the_end_of_a_film_is_said(graph):
    graph.run(6.0)
    graph.worlds["camera"].started[-1].code = 0
    graph.run(1.0)
    assert graph.supervisor.ended("camera")
    assert graph.said("info")[-1] == "1 nodes active; camera has ended"
