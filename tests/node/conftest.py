"""A ROS graph of its own for every test file: own context, own domain, spun with deadlines."""

from __future__ import annotations

import fcntl
import gc
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # helpers beside the tests
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="emo_face_state_")  # no stop of a run before
rclpy = pytest.importorskip("rclpy", reason="needs ROS 2: run scripts/setup.sh")

FIRST_DOMAIN, DOMAINS = 10, 50  # tests/launch has 61; from 102 on the ports are Linux's own


class Graph:
    """Nodes under test and helpers beside them, all on one executor."""

    def __init__(self, domain: int) -> None:
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor

        self.domain = domain
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.helper = rclpy.create_node("helper", context=self.context)
        self.executor.add_node(self.helper)
        self.nodes: list[Any] = []
        self.at_end: list[Callable[[], Any]] = []

    def start(self, create: Callable[..., Any], *, remap: dict[str, str] | None = None, **params: Any) -> Any:
        """Make a node of ours; ``__`` in a parameter name stands for the dot."""
        from rclpy.parameter import Parameter

        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in params.items()]
        rules = [word for a, b in (remap or {}).items() for word in ("-r", f"{a}:={b}")]
        cli = ["--ros-args", *rules] if rules else None
        node = create(context=self.context, parameter_overrides=overrides, cli_args=cli)
        self.executor.add_node(node)
        self.nodes.append(node)
        return node

    def up(self, node: Any) -> Any:
        """Configure and activate."""
        assert node.trigger_configure().name == "SUCCESS", node.health.report("", time.monotonic()).message
        assert node.trigger_activate().name == "SUCCESS", node.health.report("", time.monotonic()).message
        return node

    def until(self, done: Callable[[], Any], seconds: float = 20.0, why: str = "") -> Any:
        """Spin until ``done()`` is true; fails after ``seconds``."""
        deadline = time.monotonic() + seconds
        while not (value := done()):
            assert time.monotonic() < deadline, f"not within {seconds} s: {why or done}"
            self.executor.spin_once(timeout_sec=0.02)
        return value

    def hear(self, kind: Any, topic: str, qos: Any = 10) -> list[Any]:
        """A list that fills with what is published."""
        heard: list[Any] = []
        self.helper.create_subscription(kind, topic, heard.append, qos)
        return heard

    def talk(self, kind: Any, topic: str, qos: Any = 10, readers: int = 1) -> Any:
        """A publisher that already has its readers."""
        publisher = self.helper.create_publisher(kind, topic, qos)
        self.until(lambda: publisher.get_subscription_count() >= readers, why=f"nobody reads {topic}")
        return publisher

    def call(self, kind: Any, service: str, **fields: Any) -> Any:
        """Call a service and return its answer."""
        client = self.helper.create_client(kind, service)
        self.until(client.service_is_ready, why=f"no service {service}")
        future = client.call_async(kind.Request(**fields))
        self.until(future.done, why=f"no answer from {service}")
        self.helper.destroy_client(client)
        return future.result()

    def now(self) -> float:
        """The helper's clock, seconds."""
        return self.helper.get_clock().now().nanoseconds * 1e-9

    def remove(self, node: Any) -> None:
        """Take a node to its end."""
        from emo_face.ros.run import end

        self.executor.remove_node(node)
        self.nodes.remove(node)
        end(node)

    def close(self) -> None:
        for call in self.at_end:
            call()
        for node in list(self.nodes):
            self.remove(node)
        self.executor.remove_node(self.helper)
        self.executor.shutdown()
        self.helper.destroy_node()
        rclpy.shutdown(context=self.context)
        # Else its DDS participant lives until the garbage collector comes; discovery on one host reaches 32 of them.
        self.context.destroy()


@pytest.fixture(scope="module")
def domain(request: pytest.FixtureRequest) -> Iterator[int]:
    """A ROS domain that no other test process uses now, and no other test file lately.

    A killed process' participant is remembered by others for 20 s (DDS lease), with its nodes' names.
    """
    folder = Path(tempfile.gettempdir())
    first = zlib.crc32(request.module.__name__.encode())
    for number in (FIRST_DOMAIN + (first + i) % DOMAINS for i in range(DOMAINS)):
        with open(folder / f"emo_face_test_domain_{number}.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            yield number
            gc.collect()  # nodes are full of cycles, and each keeps its DDS participant's sockets
            return
    pytest.fail(f"every ROS domain from {FIRST_DOMAIN} to {FIRST_DOMAIN + DOMAINS - 1} is in use by other tests")


@pytest.fixture
def graph(domain: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    """A fresh graph for one test, which remembers no stop of a test before."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    made = Graph(domain)
    yield made
    made.close()
