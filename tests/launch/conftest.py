"""`emo-face up` as a process, and an observer of its graph in a domain of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="run scripts/setup.sh")

DOMAIN = 61


@pytest.fixture
def node(monkeypatch) -> Iterator[object]:
    """A node in a context and domain of its own."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")  # as the nodes: the two ranges do not meet
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
def up() -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts `emo-face up` with words; whatever is left is killed at the end."""
    started = []

    def start(*words: str, **popen: Any) -> subprocess.Popen:
        env = {**os.environ, "ROS_DOMAIN_ID": str(DOMAIN), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        process = subprocess.Popen(
            [sys.executable, "-m", "emo_face.cli.main", "up", *words],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **popen,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


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
