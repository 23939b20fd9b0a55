"""`emo-face up` as a process, and an observer of its graph in a domain of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

rclpy = pytest.importorskip("rclpy", reason="run scripts/setup.sh")

DOMAIN = 61


@pytest.fixture(autouse=True)
def on_this_machine(monkeypatch) -> None:
    """The observer and the nodes: two ranges of discovery do not meet."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


@pytest.fixture
def node(on_this_machine) -> Iterator[object]:
    """A node in a context and domain of its own."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = rclpy.create_node("observer", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    node.executor_for_test = executor
    yield node
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)
    context.destroy()


@pytest.fixture
def up(process) -> Callable[..., subprocess.Popen]:
    """Starts `emo-face up` with words."""
    return partial(process, DOMAIN, "emo_face.cli.main", "up")


@pytest.fixture
def spin_until(node) -> Callable[..., None]:
    """``spin_until(condition, seconds)``: let ROS work until it holds; fails after so long."""

    def spin(condition: Callable[[], object], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"{condition.__name__} not within {seconds} s")
            node.executor_for_test.spin_once(timeout_sec=0.1)

    return spin
